"""A search space is checked before anything is trained."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import Field

from bessemer.config.settings import Settings, of_trials
from bessemer.errors import SettingsError
from bessemer.search.space import (
    Choices,
    Range,
    contains,
    grid_points,
    grid_size,
    space_of,
    with_values,
)


class Digits(Settings):
    lr: float = Field(0.5, gt=0, le=10, description="Learning rate (1).")
    epochs: int = Field(10, ge=1, description="Turns (epochs).")
    optimizer: Literal["sgd", "adam"] = Field("sgd", description="Which optimizer.")
    augment: bool = Field(False, description="Whether images are changed.")
    sizes: list[int] = Field([1], description="Widths (count).")


def searching(space: dict[str, Any] | None = None, **tuning: Any) -> Digits:
    return Digits.model_validate({"tuning": {"space": space or {}, **tuning}})


def refused(space: dict[str, Any] | None = None, **tuning: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        space_of(searching(space, **tuning))
    return caught.value


def test_a_space_that_can_be_searched_is_read() -> None:
    space = space_of(
        searching(
            {
                "lr": {"low": 0.1, "high": 2.0, "log": True},
                "epochs": {"low": 1, "high": 5},
                "optimizer": {"choices": ["sgd", "adam"]},
                "augment": {"choices": [True, False]},
                "data.seed": {"choices": [1, 2, 3]},
            }
        )
    )
    assert space["lr"] == Range(0.1, 2.0, log=True)
    assert space["optimizer"] == Choices(("sgd", "adam"))
    assert list(space) == sorted(space)


def test_suggestions_are_searched_where_they_are_named() -> None:
    suggestions = {"lr": {"low": 0.1, "high": 2.0}, "epochs": {"low": 1, "high": 5}}
    assert list(space_of(searching(suggestions=suggestions, search=["lr"]))) == ["lr"]
    both = searching({"augment": {"choices": [True, False]}}, suggestions=suggestions, search=["epochs"])
    assert list(space_of(both)) == ["augment", "epochs"]


def test_an_unknown_suggestion_is_refused_with_the_nearest() -> None:
    error = refused(suggestions={"lr": {"low": 0.1, "high": 2.0}}, search=["lrr"])
    assert error.expected == "did you mean lr?"


def test_two_ranges_for_one_setting_are_refused() -> None:
    bounds = {"low": 0.1, "high": 2.0}
    assert "lr" in refused({"lr": bounds}, suggestions={"lr": bounds}, search=["lr"]).found


def test_an_empty_space_is_refused_with_an_example() -> None:
    assert "[tuning.space]" in refused().todo
    suggested = refused(suggestions={"lr": {"low": 0.1, "high": 2.0}})
    assert 'search = ["lr"]' in suggested.todo


def test_a_name_that_is_no_setting_is_refused_with_the_nearest() -> None:
    error = refused({"epoch": {"low": 1, "high": 2}})
    assert "epoch, which is no setting" in error.found
    assert error.expected == "did you mean epochs?"


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("lr", {"low": 2.0, "high": 0.1}),
        ("lr", {"low": 1.0, "high": 1.0}),
        ("lr", {"low": 0.0, "high": 1.0, "log": True}),
        ("lr", {"low": 0.1}),
        ("lr", {"high": 0.1}),
        ("lr", {"low": "a", "high": "b"}),
        ("lr", {"low": True, "high": 2.0}),
        ("lr", {"low": 0.1, "high": float("inf")}),
        ("lr", {"low": 0.1, "high": 1.0, "step": 2}),
        ("lr", {"low": 0.1, "high": 1.0, "num": -1}),
        ("lr", {"low": 0.1, "high": 1.0, "log": "yes"}),
        ("optimizer", {"choices": []}),
        ("optimizer", {"choices": "sgd"}),
        ("optimizer", {"choices": ["sgd", "sgd"]}),
        ("optimizer", {"choices": ["sgd"], "low": 1}),
        ("lr", {}),
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_refused(name: str, bounds: dict[str, Any]) -> None:
    assert name in refused({name: bounds}).found


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("lr", {"low": 0.1, "high": 20.0}),
        ("epochs", {"low": 0, "high": 20}),
        ("epochs", {"low": 1.0, "high": 2.5}),
        ("optimizer", {"choices": ["sgd", "adamw"]}),
        ("augment", {"choices": ["perhaps"]}),
        ("sizes", {"low": 1, "high": 2}),
    ],
)
def test_a_range_that_leaves_the_type_or_bounds_of_its_setting_is_refused(
    name: str, bounds: dict[str, Any]
) -> None:
    assert name in refused({name: bounds}).found


@pytest.mark.parametrize("name", ["tuning.seed", "tracking.retry_s", "checkpoint.storage_path"])
def test_what_changes_no_numbers_is_not_searched(name: str) -> None:
    assert "does not change what is trained" in refused({name: {"low": 1, "high": 2}}).found


def test_a_grid_needs_points() -> None:
    assert "needs points" in refused({"lr": {"low": 0.1, "high": 1.0}}, sampler="grid").found
    bounds = {"lr": {"low": 0.1, "high": 10.0, "log": True, "num": 3}, "epochs": {"low": 1, "high": 2}}
    space = space_of(searching(bounds, sampler="grid"))
    points = list(grid_points(space))
    assert [point["lr"] for point in points[:3]] == pytest.approx([0.1, 1.0, 10.0])
    assert [point["epochs"] for point in points] == [1, 1, 1, 2, 2, 2]
    assert len(points) == grid_size(space) == 6


def test_values_are_put_in_and_checked() -> None:
    settings = with_values(Digits(), {"lr": 1.5, "data.seed": 7})
    assert settings.model_dump()["lr"] == 1.5
    assert settings.data.seed == 7
    with pytest.raises(SettingsError, match="lr = 99"):
        with_values(Digits(), {"lr": 99})


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        ({"lr": 0.5, "augment": True}, True),
        ({"lr": 3.0, "augment": True}, False),
        ({"lr": 1, "augment": 1}, False),
    ],
)
def test_it_is_known_whether_values_lie_in_a_space(value: dict[str, Any], inside: bool) -> None:
    assert contains({"lr": Range(0.1, 2.0), "augment": Choices((True, False))}, value) is inside


def test_trials_have_the_workers_that_the_search_says() -> None:
    base = {"scaling": {"num_workers": [2, 4]}}
    assert of_trials(Digits.model_validate(base)).scaling.num_workers == 2
    assert (
        of_trials(Digits.model_validate({**base, "tuning": {"workers_per_trial": 1}})).scaling.num_workers
        == 1
    )
