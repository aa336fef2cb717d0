"""The outer iterator of a training program: `run.epochs` and `run.steps`.

Between two turns nothing is half done, so this is where a turn's row is written and a checkpoint may
be taken. In a restart an outer loop that was complete at the checkpoint yields nothing, and one that
was active goes straight to the turn that it was in, or to the next one if that turn was complete.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sized
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
        counts_steps: whether its turns are steps, made by `run.steps`, and not epochs.
        first_step: optimizer steps before it began (count).
        left_at: the item at which the loop was left early, or None.
    """

    def __init__(
        self,
        items: Iterable[Item],
        number: int,
        observer: TurnObserver,
        counts_steps: bool = False,
        condition: Callable[[], Any] = lambda: True,
    ) -> None:
        self.number = number
        self.turns = 0
        self.num_turns = len(items) if isinstance(items, Sized) else None
        self.counts_steps = counts_steps
        self.left_at: str | None = None
        self.first_step = 0
        self._items = items
        self._observer = observer
        self._condition = condition

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
            if not self._condition():
                break
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
