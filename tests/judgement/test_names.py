"""A loader is called what the program calls it."""

from __future__ import annotations

import pytest

from bessemer.judgement.names import name_on_line, split_names, stem


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("    test_loader = run.loader(data, batch_size=2)", "test_loader"),
        ("test_loader: Loader = run.loader(", "test_loader"),
        ("self.valid_dl = run.loader(data)", "valid_dl"),
        ('loaders["val"] = run.loader(data)', "val"),
        ('    loaders = {"train": run.loader(a),', "train"),
        ('    "test": run.loader(b)}', "test"),
        ("    return run.loader(data)", ""),
        ("    for x, y in run.loader(data, batch_size=2):", ""),
        ("    a, b = run.loader(x), run.loader(y)", ""),
    ],
)
def test_a_name_is_read_from_its_line(line: str, name: str) -> None:
    assert name_on_line(line) == name


def test_a_key_that_is_a_variable_has_its_value() -> None:
    line = "    loaders = {x: run.loader(sets[x]) for x in ['train', 'val']}"
    assert name_on_line(line, {"x": "val"}) == "val"


@pytest.mark.parametrize(
    ("name", "short"),
    [("test_loader", "test"), ("loader", ""), ("valLoader", "val"), ("dl_valid", "valid"), ("val", "val")],
)
def test_what_says_that_it_is_a_loader_is_left_out(name: str, short: str) -> None:
    assert stem(name) == short


def test_every_loader_has_a_name_of_its_own() -> None:
    names = split_names({0: "", 1: "test", 2: "test", 3: ""}, [0])
    assert names == {0: "train", 1: "test", 2: "loader-2", 3: "loader-3"}
