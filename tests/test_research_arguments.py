"""The command line of the research code means in a project what it meant to argparse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bessemer.config.literals import literal
from bessemer.config.research_arguments import research_values, split
from bessemer.errors import ProjectError, SettingsError


def option(name: str, *flags: str, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"action": "store", "type": "", "nargs": None, "choices": [], "required": False}
    field = more.pop("field", name)
    return {"name": name, "field": field, "spelling": {"flags": list(flags), **plain, **more}}


OPTIONS = [
    option("folder", "folder", type="Path"),
    option("epochs", "--epochs", "-e", type="int"),
    option("lr", "--lr", type="float"),
    option("data", "--data", type="str", field="data_arg"),
    option("accel", "--no-accel", action="store_false"),
    option("save_model", "--save-model", action="store_true"),
    option("amp", "--amp", action="boolean"),
    option("flag", "--flag", type="bool"),
    option("scale", "--scale"),
    option("sizes", "--sizes", type="int", nargs="+"),
    option("tag", "--tag", action="append", type="str"),
    option("level", "--level", type="int", choices=[1, 2]),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "conversion.json").write_text(json.dumps({"options": OPTIONS}))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("d", {"folder": Path("d")}),
        ("d --epochs 2", {"folder": Path("d"), "epochs": 2}),
        ("-e2 d", {"folder": Path("d"), "epochs": 2}),
        ("--ep=2 d", {"folder": Path("d"), "epochs": 2}),
        ("d --lr -1", {"folder": Path("d"), "lr": -1.0}),
        ("d --data 'a b'", {"folder": Path("d"), "data_arg": "a b"}),
        ("d --no-accel --save-model", {"folder": Path("d"), "accel": False, "save_model": True}),
        ("d --no-amp", {"folder": Path("d"), "amp": False}),
        ("d --flag False", {"folder": Path("d"), "flag": True}),
        ("d --scale 3", {"folder": Path("d"), "scale": "3"}),
        ("--sizes 1 2 --lr 1 d", {"folder": Path("d"), "sizes": [1, 2], "lr": 1.0}),
        ("d --tag a --tag b", {"folder": Path("d"), "tag": ["a", "b"]}),
    ],
)
def test_it_means_what_it_meant_to_argparse(root: Path, text: str, values: dict[str, Any]) -> None:
    assert research_values(root, split(text)) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("d --epoch-s 2", "did you mean --epochs?"),
        ("d --epochs two", "invalid int value: 'two'"),
        ("d --level 3", "invalid choice: 3"),
        ("--lr 1", "the following arguments are required: folder"),
        ("d e", "no option 'e'"),
        ("d '", "cannot be split"),
    ],
)
def test_what_argparse_refuses_is_a_mistake_of_the_user(root: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        research_values(root, split(text))
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_project_without_a_record_of_options_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="does not say how the options"):
        research_values(tmp_path, ["--lr", "1"])


@pytest.fixture
def with_files(tmp_path: Path) -> Path:
    options = [option(x, f"--{x}", type="float", in_files=True) for x in ("lr", "decay")]
    (tmp_path / "conversion.json").write_text(json.dumps({"options": options}))
    return tmp_path


def test_a_file_of_assignments_is_read_where_it_stands_on_the_command_line(with_files: Path) -> None:
    (with_files / "small.py").write_text("# small\nlr = 1e-3 * 2\ndecay = -1\n")
    values = research_values(with_files, split("--lr=5 small.py --decay=0.5"), with_files)
    assert values == {"lr": 0.002, "decay": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width = 3\n", "small.py:1 sets width, which is no option"),
        ("import time\nlr = time.time()\n", r"small.py:2 computes lr: time.time\(\)"),
        ("lr = (\n", "small.py, which cannot be read"),
    ],
)
def test_a_file_of_assignments_that_cannot_be_followed_is_named(
    with_files: Path, text: str, message: str
) -> None:
    (with_files / "small.py").write_text(text)
    with pytest.raises(SettingsError, match=message):
        research_values(with_files, ["small.py"], with_files)
    with pytest.raises(SettingsError, match="cannot be read"):
        research_values(with_files, ["none.py"], with_files)


def test_a_file_may_compute_what_the_command_line_gives(with_files: Path) -> None:
    (with_files / "small.py").write_text("import time\nlr = time.time()\n")
    assert research_values(with_files, split("small.py --lr=2"), with_files) == {"lr": 2.0}


def test_a_program_that_reads_its_command_line_itself_gets_all_of_it(tmp_path: Path) -> None:
    options = [option("arguments", "arguments", type="str", nargs="...")]
    (tmp_path / "conversion.json").write_text(json.dumps({"options": options}))
    words = split("--lr=2 -x out --lr 3")
    assert research_values(tmp_path, words) == {"arguments": list(words)}


@pytest.mark.parametrize("code", ["5 * 8", "-(2 ** 10) + 1", "1e-3 / 2", "7 // 2", "'a'", "(1, 2)"])
def test_a_literal_is_what_python_makes_of_it(code: str) -> None:
    assert literal(code) == eval(code)


@pytest.mark.parametrize("code", ["x", "f(1)", "1 / 0", "9 ** 9 ** 9", "'a' * 3", "1 +", "[].append(1)"])
def test_what_is_no_literal_is_refused(code: str) -> None:
    with pytest.raises(ValueError):
        literal(code)
