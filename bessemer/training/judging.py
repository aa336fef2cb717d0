"""Which turns of a run somebody outside judges, and how the run hears of it.

A search stops poor trials early. Its decision must not depend on how fast news travel, so at the turns
that decide, the run waits for its verdict; at all others it only tells what it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bessemer.utils.events import TurnToJudge


@dataclass(frozen=True)
class Deciding:
    """The turns at which a run waits for a verdict.

    Attributes:
        first: the first of them (count); 0: none.
        factor: each is so many times the one before, if above 1 (count).
        every: distance between them, where `factor` is 1 (turns).

    >>> [turn for turn in range(1, 30) if Deciding(first=1, factor=3).at(turn)]
    [1, 3, 9, 27]
    >>> [turn for turn in range(1, 10) if Deciding(first=2, every=3).at(turn)]
    [2, 5, 8]
    """

    first: int = 0
    factor: int = 1
    every: int = 1

    def at(self, turn: int) -> bool:
        """Whether a run waits after so many turns (count)."""
        if self.first < 1 or turn < self.first:
            return False
        if self.factor == 1:
            return (turn - self.first) % self.every == 0
        while turn % self.factor == 0 and turn > self.first:
            turn //= self.factor
        return turn == self.first


Judge = Callable[[TurnToJudge], bool]
"""Takes a turn and returns whether the run ends after it; what it returns counts where the turn waits."""


@dataclass(frozen=True)
class Judging:
    """How a run is judged.

    Attributes:
        judge: called by the driver for each turn, in a thread of its own.
        deciding: where the workers wait for what it returns.
    """

    judge: Judge
    deciding: Deciding = Deciding()
