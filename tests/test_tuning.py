"""A search space is checked before anything is trained, and drawn from the same way each time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import assume, example, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from pydantic import Field

from bessemer.config.settings import Settings
from bessemer.errors import SettingsError
from bessemer.training.tuning import Study, Trial, check_space, draw, tune, with_values


class Digits(Settings):
    lr: float = Field(0.5, gt=0, le=10, description="Learning rate (1).")
    epochs: int = Field(10, ge=1, description="Turns (epochs).")
    optimizer: Literal["sgd", "adam"] = Field("sgd", description="Which optimizer.")
    augment: bool = Field(False, description="Whether images are changed.")
    sizes: list[int] = Field([1], description="Widths (count).")


def searching(space: dict[str, Any], **tuning: Any) -> Digits:
    return Digits.model_validate({"tuning": {"space": space, **tuning}})


def refused(space: dict[str, Any]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        check_space(searching(space))
    return caught.value


# The space


def test_a_space_that_can_be_drawn_from_is_accepted() -> None:
    check_space(
        searching(
            {
                "lr": {"low": 0.1, "high": 2.0, "log": True},
                "epochs": {"low": 1, "high": 5},
                "optimizer": {"choices": ["sgd", "adam"]},
                "augment": {"choices": [True, False]},
                "data.seed": {"choices": [1, 2, 3]},
                "scaling.num_workers": {"low": 1, "high": 4},
            }
        )
    )


def test_an_empty_space_is_refused_with_an_example() -> None:
    error = refused({})
    assert "nothing to search" in error.found
    assert "[tuning.space]" in error.todo


def test_a_misspelt_setting_gets_the_nearest_one() -> None:
    error = refused({"epoch": {"low": 1, "high": 2}})
    assert "tuning.space has epoch" in error.found
    assert error.expected == "did you mean epochs?"


@pytest.mark.parametrize(
    "bounds",
    [
        {},
        {"low": 0.1},
        {"high": 0.1},
        {"low": 2.0, "high": 1.0},
        {"low": 1.0, "high": 1.0},
        {"low": 0.0, "high": 1.0, "log": True},
        {"low": -1.0, "high": 1.0, "log": True},
        {"low": "a", "high": "b"},
        {"low": True, "high": False},
        {"low": 0.1, "high": 1.0, "logs": True},
        {"low": 0.1, "high": 1.0, "choices": [0.5]},
        {"choices": []},
        {"choices": 0.5},
        {"choices": [0.5], "log": True},
        {"low": float("nan"), "high": 1.0},
        {"low": 0.1, "high": float("inf")},
    ],
    ids=str,
)
def test_bounds_that_cannot_be_drawn_from_are_refused(bounds: dict[str, Any]) -> None:
    error = refused({"lr": bounds})
    assert "tuning.space" in error.found
    assert "lr" in error.found


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("lr", {"low": 0.1, "high": 20.0}),
        ("lr", {"low": -1.0, "high": 1.0}),
        ("lr", {"choices": [0.1, "big"]}),
        ("epochs", {"low": 0, "high": 5}),
        ("epochs", {"low": 1.5, "high": 5.5}),
        ("optimizer", {"choices": ["sgd", "rmsprop"]}),
        ("scaling.num_workers", {"choices": [0, 1]}),
    ],
    ids=str,
)
def test_values_that_the_setting_does_not_take_are_found_before_the_first_trial(
    name: str, bounds: dict[str, Any]
) -> None:
    assert name in refused({name: bounds}).found


def test_a_search_without_a_metric_is_refused(tmp_path: Path) -> None:
    settings = searching({"lr": {"low": 0.1, "high": 1.0}})
    with pytest.raises(SettingsError, match="no metric to judge trials by"):
        tune("nowhere:train", settings, project="digits")


# Drawing

REALS = st.floats(-1e6, 1e6)


@bounded(max_examples=150, deadline=None)
@given(REALS, REALS, st.integers())
def test_a_real_number_is_drawn_within_its_bounds(low: float, high: float, seed: int) -> None:
    assume(low < high)
    value = draw({"low": low, "high": high}, random.Random(seed))
    assert isinstance(value, float)
    assert low <= value <= high


@bounded(max_examples=150, deadline=None)
@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12), st.integers())
@example(1e-12, 1.0000000000000002e-12, 0)
def test_a_logarithmic_number_is_drawn_within_its_bounds(low: float, high: float, seed: int) -> None:
    assume(low < high)
    assert low <= draw({"low": low, "high": high, "log": True}, random.Random(seed)) <= high


@bounded(max_examples=150, deadline=None)
@given(st.integers(-1000, 1000), st.integers(1, 1000), st.booleans(), st.integers())
def test_a_whole_number_is_drawn_within_its_bounds(low: int, width: int, log: bool, seed: int) -> None:
    assume(low > 0 or not log)
    value = draw({"low": low, "high": low + width, "log": log}, random.Random(seed))
    assert isinstance(value, int)
    assert low <= value <= low + width


def test_both_ends_of_a_whole_range_are_drawn_as_often_as_the_others() -> None:
    generator = random.Random(1)
    drawn = [draw({"low": 1, "high": 4}, generator) for _ in range(4000)]
    counts = [drawn.count(value) for value in (1, 2, 3, 4)]
    assert min(counts) > 850


def test_a_logarithmic_range_is_drawn_evenly_over_its_decades() -> None:
    generator = random.Random(1)
    drawn = [draw({"low": 1e-4, "high": 1.0, "log": True}, generator) for _ in range(4000)]
    decades = [sum(10.0**-n <= value < 10.0 ** (1 - n) for value in drawn) for n in (1, 2, 3, 4)]
    assert min(decades) > 850


def test_every_choice_is_drawn_as_it_was_given() -> None:
    generator = random.Random(1)
    choices = [1, 2.5, True, "x"]
    drawn = [draw({"choices": choices}, generator) for _ in range(200)]
    assert {(type(value), value) for value in drawn} == {(type(value), value) for value in choices}


def test_what_is_drawn_depends_on_the_seed_alone() -> None:
    def drawn(seed: int) -> list[Any]:
        generator = random.Random(seed)
        return [draw({"low": 0.1, "high": 1.0, "log": True}, generator) for _ in range(20)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


# Trials


def test_drawn_values_replace_settings_and_sections_keep_the_rest() -> None:
    settings = Digits.model_validate({"lr": 0.25, "scaling": {"num_workers": 3, "max_failures": 9}})
    tried = with_values(settings, {"lr": 0.125, "scaling.num_workers": 2})
    assert isinstance(tried, Digits)
    assert tried.lr == 0.125
    assert (tried.scaling.num_workers, tried.scaling.max_failures) == (2, 9)
    assert (settings.lr, settings.scaling.num_workers) == (0.25, 3)


def test_a_drawn_value_out_of_range_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"lr = -1\.0"):
        with_values(Digits(), {"lr": -1.0})


@pytest.mark.parametrize(("smaller_is_better", "names"), [(True, "bacd"), (False, "cabd")])
def test_trials_are_ranked_best_first_and_failed_ones_last(smaller_is_better: bool, names: str) -> None:
    values = {"d": None, "a": 0.5, "b": 0.25, "c": 0.75}
    trials = tuple(Trial(name, {}, value, "done") for name, value in values.items())
    study = Study("loss", smaller_is_better, (), trials, Path("best.toml"))
    assert [trial.name for trial in study.ranked()] == list(names)


@pytest.mark.parametrize("smaller_is_better", [True, False])
def test_a_trial_that_diverged_is_ranked_behind_all_that_did_not(smaller_is_better: bool) -> None:
    values = {"a": 0.5, "nan": float("nan"), "b": 0.25, "c": 0.75}
    trials = tuple(Trial(name, {}, value, "done") for name, value in values.items())
    ranked = Study("loss", smaller_is_better, (), trials, Path("best.toml")).ranked()
    assert [trial.name for trial in ranked] == [*("bac" if smaller_is_better else "cab"), "nan"]
