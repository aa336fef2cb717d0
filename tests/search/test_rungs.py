"""Trials end early by rules that are those of the papers, and depend on nothing but what was reported."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.search.rungs import Asha, Losses, Median, Never, quantile

LOSSES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


def at(turn: int, values: Sequence[float]) -> list[Losses]:
    return [{turn: value} for value in values]


def test_the_first_at_a_rung_goes_on() -> None:
    assert not Asha(grace=2).ends(2, {2: math.inf}, [{1: 0.0}])


@pytest.mark.parametrize(("loss", "ends"), [(0.5, False), (2.0, True), (math.nan, True), (math.inf, True)])
def test_halving_lets_the_best_third_pass(loss: float, ends: bool) -> None:
    assert Asha(reduction=3).ends(1, {1: loss}, at(1, [1.0, 2.0, 3.0])) is ends


@given(LOSSES, st.floats(-1e6, 1e6), st.integers(2, 5))
def test_halving_decides_as_ray_tune_does(losses: list[float], loss: float, reduction: int) -> None:
    # ray.tune.schedulers.async_hyperband._Bracket.cutoff, which maximises
    cutoff = np.nanpercentile([-x for x in losses], (1 - 1 / reduction) * 100)
    if not math.isclose(-loss, cutoff, rel_tol=1e-9, abs_tol=1e-9):
        assert Asha(reduction=reduction).ends(1, {1: loss}, at(1, losses)) is bool(-loss < cutoff)


@given(LOSSES, st.floats(0, 1))
def test_quantiles_are_numpys(values: list[float], share: float) -> None:
    expected = float(np.percentile(values, 100 * share))
    assert quantile(values, share) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_rungs_grow_by_the_reduction() -> None:
    deciding = Asha(grace=2, reduction=4).deciding
    assert [turn for turn in range(1, 200) if deciding.at(turn)] == [2, 8, 32, 128]


def test_the_median_ends_who_is_worse_than_most() -> None:
    others: list[Losses] = [{1: 1.0, 2: 1.0}, {1: 2.0, 2: 2.0}, {1: 3.0, 2: 3.0}]
    rule = Median(grace=1, least=3)
    assert rule.ends(2, {1: 4.0, 2: 2.5}, others)
    # It was better once, and that counts.
    assert not rule.ends(2, {1: 1.5, 2: 2.5}, others)


def test_the_median_waits_for_enough_others() -> None:
    assert not Median(least=3).ends(1, {1: 9.0}, at(1, [1.0, 1.0]))
    assert Median(least=3).ends(1, {1: 9.0}, at(1, [1.0, 1.0, 1.0]))


def test_who_is_not_as_far_is_no_measure() -> None:
    assert not Median(least=1).ends(3, {3: 9.0}, at(2, [1.0, 1.0]))


def test_never_ends_nobody() -> None:
    assert not Never().ends(1, {1: math.inf}, at(1, [0.0]))
    assert not any(Never().deciding.at(turn) for turn in range(100))
