"""The outer iterator of a training program: `run.epochs` and `run.steps`.

Between two turns nothing is half done, so this is where a turn's row is written, a checkpoint is
taken and a restart finds its place: an outer loop that was complete at the checkpoint yields
nothing, one that was active puts the saved state back and goes on with the next turn, and one that
was around the active one goes straight to its current turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item")


class TurnObserver(Protocol):
    """Who is told about turns of the outer loop, and decides where a restarted one begins."""

    def loop_started(self, loop: OuterLoop[Any]) -> int | None:
        """Return how many turns to skip, or None if the loop was complete before the restart."""

    def turn_started(self, loop: OuterLoop[Any]) -> None:
        """A turn begins."""

    def turn_ended(self, loop: OuterLoop[Any], label: str) -> bool:
        """A turn is complete; return whether to go on."""

    def loop_ended(self, loop: OuterLoop[Any]) -> None:
        """The loop has no more turns."""


class OuterLoop(Generic[Item]):
    """Iterates like what it was given; knows its turn.

    Attributes:
        number: which outer loop of the program this is, by order of creation.
        turns: turns that are complete (count).
        num_turns: turns in all, or None if that is not known.
        created: what the program had created when the current turn began.
        left_at: the item at which the loop was left early, or None.
    """

    def __init__(self, items: Iterable[Item], number: int, observer: TurnObserver) -> None:
        self.number = number
        self.turns = 0
        self.num_turns = len(items) if isinstance(items, Sized) else None
        self.created: dict[str, int] = {}
        self.left_at: str | None = None
        self._items = items
        self._observer = observer

    def __len__(self) -> int:
        if self.num_turns is None:
            raise TypeError("this outer loop has no length")
        return self.num_turns

    def __iter__(self) -> Iterator[Item]:
        skipped = self._observer.loop_started(self)
        if skipped is None:
            return
        self.turns = skipped
        for item in itertools.islice(iter(self._items), skipped, None):
            self._observer.turn_started(self)
            try:
                yield item
            except GeneratorExit:
                # `break`, or an error on this worker alone: only note it, never wait for others here.
                self.left_at = str(item)
                raise
            self.turns += 1
            if not self._observer.turn_ended(self, str(item)):
                break
        self._observer.loop_ended(self)
