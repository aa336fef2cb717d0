"""When a disturbance strikes: drawn from a seed, in steps, so that a drill can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Moment:
    """A moment in a run.

    Attributes:
        after_step: the strike waits for a checkpoint at this step or later; 0 for none (count).
        fraction: of the time between two checkpoints that it waits then, in [0, 1).
        choice: which worker it takes, as a fraction of their number, in [0, 1).
    """

    after_step: int
    fraction: float
    choice: float


def choose(generator: random.Random, num_steps: int, every_steps: int = 0) -> Moment:
    """Draw a moment of a run, early enough that there is something left to compute.

    Args:
        generator: seeded; three numbers are drawn from it.
        num_steps: steps of the undisturbed run (count).
        every_steps: steps between two checkpoints, or 0 if not known (count).
    """
    last = max(0, num_steps - max(1, every_steps, num_steps // 5))
    return Moment(generator.randint(0, last), generator.random(), generator.random())


def earlier(moment: Moment) -> Moment:
    """Return an earlier moment, for a run that ended before the strike."""
    return replace(moment, after_step=moment.after_step // 2, fraction=moment.fraction / 2)


def not_before(moment: Moment, step: int) -> Moment:
    """Return the moment, moved to a step at least."""
    return replace(moment, after_step=max(moment.after_step, step))


def chosen(moment: Moment, candidates: Sequence[T]) -> T:
    """Return the candidate that the moment takes; there must be one."""
    return candidates[int(moment.choice * len(candidates))]
