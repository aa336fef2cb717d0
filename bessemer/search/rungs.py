"""When a trial ends early: a pure decision on what all trials have reported so far.

Values are losses: smaller is better. Nothing is kept between two decisions, so that a search that was
interrupted decides as if it had not been.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bessemer.training.judging import Deciding

# What one trial has reported, by turn, in order; a value that is not finite counts as the worst.
Losses = Mapping[int, float]


class Scheduler(Protocol):
    """Ends trials early; another rule needs no more than this."""

    @property
    def deciding(self) -> Deciding:
        """The turns at which trials wait for a decision."""

    def ends(self, turn: int, own: Losses, others: Sequence[Losses]) -> bool:
        """Whether a trial ends.

        Args:
            turn: turns that it has completed (count).
            own: what it has reported so far, with this turn.
            others: what the other trials had reported when it did.
        """


@dataclass(frozen=True)
class Never:
    """Every trial trains to its end."""

    @property
    def deciding(self) -> Deciding:
        """No turn."""
        return Deciding()

    def ends(self, turn: int, own: Losses, others: Sequence[Losses]) -> bool:
        """Whether a trial ends: no."""
        return False


@dataclass(frozen=True)
class Asha:
    """Asynchronous successive halving.

    Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2. The rule is that
    of Ray Tune's `AsyncHyperBandScheduler` with one bracket: a trial goes on past a rung if it is among the
    best 1/reduction of those that came there before it, so the first always does.

    Attributes:
        grace: first rung (turns).
        reduction: each rung is so many times the one before (count).
    """

    grace: int = 1
    reduction: int = 3

    @property
    def deciding(self) -> Deciding:
        """The rungs."""
        return Deciding(self.grace, self.reduction)

    def ends(self, turn: int, own: Losses, others: Sequence[Losses]) -> bool:
        """Whether a trial is not among the best at its rung."""
        here = [worst_if_not_finite(other[turn]) for other in others if turn in other]
        if not here:
            return False
        return not math.isfinite(own[turn]) or own[turn] > quantile(here, 1 / self.reduction)


@dataclass(frozen=True)
class Median:
    """The median stopping rule (Golovin et al. 2017, "Google Vizier", section 3.2.2).

    A trial ends if its best loss so far is worse than the median of the running means of the others.

    Attributes:
        grace: turns that every trial is given (count).
        least: others that must have come so far (count).
    """

    grace: int = 1
    least: int = 5

    @property
    def deciding(self) -> Deciding:
        """Every turn after the first ones."""
        return Deciding(self.grace)

    def ends(self, turn: int, own: Losses, others: Sequence[Losses]) -> bool:
        """Whether a trial is worse than most."""
        means = [
            statistics.fmean(worst_if_not_finite(x) for t, x in other.items() if t <= turn)
            for other in others
            if any(t >= turn for t in other)
        ]
        if len(means) < self.least:
            return False
        best = min(worst_if_not_finite(loss) for loss in own.values())
        return not math.isfinite(best) or best > statistics.median(means)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies, interpolated as `numpy.percentile` does.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.5
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    below, above = ordered[low], ordered[min(low + 1, len(ordered) - 1)]
    return below if below == above or place == low else below + (above - below) * (place - low)


def worst_if_not_finite(loss: float) -> float:
    """Return a loss, or infinity for what is no number."""
    return loss if math.isfinite(loss) else math.inf
