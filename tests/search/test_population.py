"""A population replaces its worst by its best, with settings that stay in the space."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bessemer.search.population import compared, drawn, explored
from bessemer.search.space import Choices, Range, Space, contains

SPACE: Space = {"lr": Range(0.01, 1.0, log=True), "kind": Choices(("a", "b", "c")), "width": Range(2, 64)}
MIDDLE = {"lr": 0.1, "kind": "b", "width": 8}


def copies_of(losses: dict[int, float], share: float = 0.25, seed: int = 0) -> dict[int, int]:
    values = {number: dict(MIDDLE) for number in losses}
    found = compared(SPACE, losses, values, share, 0.25, seed, 3)
    return {number: copy.source for number, copy in found.items()}


def test_the_worst_take_over_the_best() -> None:
    assert copies_of({0: 1.0, 1: 3.0, 2: 0.5, 3: 2.0}) == {1: 2}
    assert copies_of({0: 1.0, 1: 3.0, 2: 0.5, 3: 2.0}, share=0.5).keys() == {1, 3}


def test_a_loss_that_is_no_number_is_the_worst() -> None:
    assert copies_of({0: math.nan, 1: 3.0, 2: 4.0, 3: 5.0}) == {0: 1}


def test_equals_are_left_alone() -> None:
    assert copies_of({0: 1.0, 1: 1.0, 2: 1.0}) == {}
    assert copies_of({0: 1.0}) == {}
    assert copies_of({}) == {}


@given(st.dictionaries(st.integers(0, 20), st.floats(-10, 10), min_size=2), st.floats(0.01, 0.5))
def test_nobody_is_both_copied_and_replaced(losses: dict[int, float], share: float) -> None:
    copies = copies_of(losses, share)
    assert not copies.keys() & set(copies.values())
    assert all(losses[source] < losses[number] for number, source in copies.items())


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.25, 1.0]))
def test_explored_settings_stay_in_the_space(seed: int, resample: float) -> None:
    values = explored(SPACE, MIDDLE, resample, np.random.default_rng(seed))
    assert contains(SPACE, values)
    assert values.keys() == SPACE.keys()


def test_a_nudge_is_a_fifth_or_a_neighbour() -> None:
    seen = [explored(SPACE, MIDDLE, 0.0, np.random.default_rng(seed)) for seed in range(40)]
    assert {round(values["lr"], 6) for values in seen} == {0.08, 0.12}
    assert {values["kind"] for values in seen} == {"a", "c"}
    assert {values["width"] for values in seen} == {6, 10}


def test_the_same_round_of_the_same_search_decides_the_same() -> None:
    losses = {number: float(number) for number in range(8)}
    values = {number: dict(MIDDLE) for number in losses}
    first = compared(SPACE, losses, values, 0.5, 0.5, 7, 3)
    assert first == compared(SPACE, losses, values, 0.5, 0.5, 7, 3)
    assert first != compared(SPACE, losses, values, 0.5, 0.5, 7, 4)


def test_both_ends_of_whole_numbers_are_drawn_as_often_as_others() -> None:
    generator = np.random.default_rng(0)
    counts = np.bincount([drawn(Range(1, 4), generator) for _ in range(4000)], minlength=5)
    assert counts[0] == 0
    assert (abs(counts[1:] - 1000) < 120).all()


def test_small_whole_numbers_are_nudged_too() -> None:
    space: Space = {"layers": Range(1, 4)}
    seen = {explored(space, {"layers": 2}, 0.0, np.random.default_rng(seed))["layers"] for seed in range(20)}
    assert seen == {1, 3}
