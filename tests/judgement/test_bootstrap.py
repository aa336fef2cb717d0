"""Intervals cover the truth as often as they say, also when samples are dealt to blocks."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.judgement import bootstrap
from bessemer.judgement.bootstrap import interval, resampled
from bessemer.judgement.metrics.counts import generation
from bessemer.judgement.metrics.measure import Measure

NUM_TRIALS = 400


def mean_of(values: np.ndarray) -> Measure:
    return generation(values, values)


@pytest.mark.parametrize("most_blocks", [20_000, 60])
def test_ninety_of_a_hundred_intervals_cover_the_mean(
    monkeypatch: pytest.MonkeyPatch, most_blocks: int
) -> None:
    monkeypatch.setattr(bootstrap, "_MOST_BLOCKS", most_blocks)
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(NUM_TRIALS):
        # In order, as data often are: neighbours must not end in one block.
        values = np.sort(generator.exponential(size=180))
        drawn = resampled(mean_of(values), len(values), 300, seed=trial)["reconstruction_mse"]
        ends = interval(drawn, 0.9)
        assert ends is not None
        covered += ends[0] <= 1.0 <= ends[1]
    # Three standard deviations of a binomial around 0.9, and the bootstrap's own haste at this size.
    assert 0.84 <= covered / NUM_TRIALS <= 0.945


def test_the_spread_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(size=400)
    drawn = resampled(mean_of(values), 400, 4000, seed=0)["reconstruction_mse"]
    assert drawn.std() == pytest.approx(values.std() / 20, rel=0.05)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.01)


def test_the_same_samples_are_drawn_for_two_models() -> None:
    values = np.random.default_rng(2).normal(size=100)
    first = resampled(mean_of(values), 100, 50, seed=5)["reconstruction_mse"]
    second = resampled(mean_of(values + 1), 100, 50, seed=5)["reconstruction_mse"]
    assert second - first == pytest.approx(np.ones(50), abs=1e-12)


def test_another_seed_draws_others() -> None:
    values = np.random.default_rng(2).normal(size=100)
    first = resampled(mean_of(values), 100, 50, seed=5)["reconstruction_mse"]
    assert not np.array_equal(first, resampled(mean_of(values), 100, 50, seed=6)["reconstruction_mse"])


def test_a_metric_without_a_value_in_most_resamples_has_no_interval() -> None:
    assert interval(np.array([np.nan] * 6 + [1.0] * 4), 0.95) is None
    assert interval(np.array([1.0, 2.0, 3.0, np.nan]), 0.5) is not None
