"""Suggested search ranges: what looks tunable gets one that `bessemer tune` takes, and nothing else does."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.config.settings import Settings
from bessemer.conversion.ranges import Range, suggest
from bessemer.search.population import drawn
from bessemer.search.space import parsed, space_of
from conversion.converted_projects import Project

SUGGESTED = {
    ("lr", "float", "1e-3"): "{low = 0.0001, high = 0.01, log = true}",
    ("LEARNING_RATE", "float", "3e-4"): "{low = 3e-05, high = 0.003, log = true}",
    ("learningRate", "float", "0.01"): "{low = 0.001, high = 0.1, log = true}",
    ("lr_d", "float", "0.1"): "{low = 0.01, high = 1.0, log = true}",
    ("weight_decay", "float", "0.0001"): "{low = 1e-05, high = 0.001, log = true}",
    ("weight_decay", "float", "0.0"): "{low = 0.0, high = 0.01}",
    ("BATCH_SIZE", "int", "64"): "{choices = [16, 32, 64, 128, 256]}",
    ("batch_size", "int", "100"): "{choices = [16, 32, 64, 100, 128, 256]}",
    ("hidden_size", "int", "32"): "{choices = [8, 16, 32, 64, 128]}",
    ("dropout", "float", "0.2"): "{low = 0.0, high = 0.9}",
    ("momentum", "float", "0.9"): "{low = 0.8, high = 0.999}",
    ("beta1", "float", "0.5"): "{low = 0.5, high = 0.999}",
    ("num_layers", "int", "2"): "{low = 1, high = 4}",
    ("grad_clip", "float", "1.0"): "{low = 0.1, high = 10.0, log = true}",
    ("cell", 'Literal["GRU", "LSTM"]', '"GRU"'): '{choices = ["GRU", "LSTM"]}',
}
LEFT_ALONE = [
    ("epochs", "int", "10"),
    ("seed", "int", "1"),
    ("log_interval", "int", "10"),
    ("num_workers", "int", "4"),
    ("data_path", "str", '"here"'),
    ("port", "int", "8080"),
    ("test_batch_size", "int", "1000"),
    ("num_classes", "int", "10"),
    ("lr_step_size", "int", "30"),
    ("lr_decay", "float", "0.5"),
    ("lr", "float", None),
    ("lr", "float", "0.0"),
    ("lr", "int", "1"),
    ("lr", "float | None", "None"),
    ("device", 'Literal["cpu", "cuda"]', '"cpu"'),
    ("cell", 'Literal["GRU"]', '"GRU"'),
    ("cell", 'Literal["GRU", "LSTM"]', '"other"'),
    ("momentum", "float", "1.5"),
    ("kernel_size", "int", "3"),
    ("use_batch_norm", "bool", "True"),
]
NAMES = st.sampled_from(
    ["lr", "LR", "weight_decay", "dropout", "momentum", "beta2", "gamma", "clip", "label_smoothing", "wd"]
)
SIZES = st.sampled_from(["batch_size", "BATCH_SIZE", "hidden_dim", "n_layers", "depth", "latent_dim", "bs"])


def holds(found: Range, value: float) -> bool:
    if found.choices:
        return value in found.choices
    assert found.low is not None
    assert found.high is not None
    return found.low <= value <= found.high and found.low < found.high


@pytest.mark.parametrize("option", SUGGESTED)
def test_what_looks_tunable_gets_a_range(option: tuple[str, str, str]) -> None:
    found = suggest(*option)
    assert found is not None
    assert found.toml == SUGGESTED[option]


@pytest.mark.parametrize("option", LEFT_ALONE)
def test_what_does_not_look_tunable_gets_none(option: tuple[str, str, str | None]) -> None:
    assert suggest(*option) is None


@given(NAMES, st.floats(0, 1e6, allow_subnormal=False))
def test_the_default_of_a_fraction_lies_in_its_range(name: str, value: float) -> None:
    found = suggest(name, "float", repr(value))
    if found is not None:
        assert holds(found, value)
        assert isinstance(found.low, float)
        assert isinstance(found.high, float)
        assert not found.log or found.low > 0


@given(SIZES, st.integers(-5, 2**20))
def test_the_default_of_a_count_lies_in_its_range(name: str, value: int) -> None:
    found = suggest(name, "int", repr(value))
    if found is not None:
        assert holds(found, value)
        assert all(isinstance(x, int) and x >= 1 for x in (found.low, found.high, *found.choices) if x)


@given(NAMES, st.floats(1e-9, 10), st.integers(0, 1000))
def test_what_is_drawn_lies_in_the_range(name: str, value: float, seed: int) -> None:
    found = suggest(name, "float", repr(value))
    if found is not None:
        bounds = tomllib.loads(f"x = {found.toml}")["x"]
        assert holds(found, drawn(parsed("x", bounds), np.random.default_rng(seed)))


@pytest.fixture
def settings_of(digits: Project) -> Iterator[type[Settings]]:
    sys.path.insert(0, str(digits.root))
    yield importlib.import_module(f"{digits.package.name}.config.settings").Settings
    sys.path.remove(str(digits.root))


def test_a_project_searches_the_suggestions_that_are_named_and_no_others(
    digits: Project, settings_of: type[Settings]
) -> None:
    written = tomllib.loads((digits.root / "settings.toml").read_text())
    tuning = written["tuning"]
    names = list(tuning["suggestions"])
    assert len(names) == 5
    for chosen in (*([name] for name in names), names):
        settings = settings_of(**{**written, "tuning": {**tuning, "space": {}, "search": chosen}})
        assert set(space_of(settings)) == set(chosen)


@pytest.mark.parametrize("paper", ["README.md", "CONVERSION.md"])
def test_the_suggestions_are_in_the_papers(digits: Project, paper: str) -> None:
    assert "{low = 0.1, high = 10.0, log = true}" in (digits.root / paper).read_text()
