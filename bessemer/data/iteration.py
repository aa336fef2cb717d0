"""One loop over a loader: knows its position, who drives it, and tells an observer what happens."""

from __future__ import annotations

import itertools
import sys
import time
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import torch
from torch.utils._pytree import tree_map

from bessemer.data.callers import is_for_statement
from bessemer.data.datasets import Fetched

if TYPE_CHECKING:
    from bessemer.data.loaders import Loader

Batch = TypeVar("Batch")


class PassObserver(Protocol):
    """Who is told what a loader does; every worker is told the same, at the same step."""

    def pass_started(self, entered: LoaderPass[Any]) -> bool:
        """A loop over the loader begins; may move it, and returns whether it gets any batch."""

    def between_batches(self, entered: LoaderPass[Any]) -> None:
        """The loop body is done with a batch and asks for the next: nothing is half done."""

    def batch_ready(self, entered: LoaderPass[Any], fetched: Fetched, waited_s: float) -> None:
        """A batch goes to the loop body; training waited so many seconds for it."""

    def pass_ended(self, entered: LoaderPass[Any]) -> None:
        """The loop has used up the loader. Workers may talk to each other here."""

    def pass_abandoned(self, serial: int) -> None:
        """The loop was left early, maybe by an error. Workers must not talk to each other here."""


_serials = itertools.count()


class LoaderPass(Iterator[Batch]):
    """One loop over a loader, which knows its position.

    An object and not a generator: a generator is also closed while an error unwinds one worker's
    stack, and the collective operations at the end of a pass would then wait for the others for ever.

    Attributes:
        loader: what it goes over.
        serial: when it was made, among all of this process.
        number: which pass over the loader it is, from 0.
        position: batches that it has given out (count).
        state: "new" until its first batch is asked for, "running", "ended" when it is used up.
        by_for: whether a `for` statement drives it, so that a restart that comes to this statement
            again can go on inside; not so for `next(iterator)` in somebody's own loop.
        site: file and line of the code that goes over it.
    """

    def __init__(self, loader: Loader[Batch], observer: PassObserver) -> None:
        self.loader = loader
        self.serial = next(_serials)
        self.number = 0
        self.position = 0
        self.state: Literal["new", "running", "ended"] = "new"
        self.by_for = False
        self.site = ""
        self._counted: weakref.ref[Counted[Batch]] | None = None
        self._observer = observer
        self._batches: Iterator[Fetched] | None = None

    def __next__(self) -> Batch:
        return self.advance(sys._getframe(1))

    def advance(self, caller: FrameType) -> Batch:
        """Return the next batch to the code that `caller` is running."""
        if self.state == "ended":
            raise StopIteration
        if self.state == "running":
            self._observer.between_batches(self)
        elif not self._begin(caller):
            self.state = "ended"
            raise StopIteration
        begun = time.perf_counter()
        if self._batches is None:
            self._batches = self.loader.batches(self.number, self.position)
        fetched = next(self._batches, None)
        if fetched is None:
            self.state = "ended"
            self._observer.pass_ended(self)
            raise StopIteration
        if self.loader.pin_memory and torch.cuda.is_available():
            fetched = Fetched(_pinned(fetched.batch), fetched.num_samples, fetched.num_global)
        self.position += 1
        self._observer.batch_ready(self, fetched, time.perf_counter() - begun)
        batch: Batch = fetched.batch
        return batch

    def _begin(self, caller: FrameType) -> bool:
        if self.loader.silent:
            return False
        self.by_for = is_for_statement(caller)
        self.site = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        self.number, self.position = self.loader.begin_pass()
        self.state = "running"
        return self._observer.pass_started(self)

    def move(self, number: int, position: int) -> None:
        """Go on with another pass or position."""
        self.number, self.position = number, position
        self.state = "running"
        self._batches = None

    @property
    def driver(self) -> object:
        """What the program's own code holds: this, or what counts its batches."""
        return (self._counted and self._counted()) or self

    @property
    def is_at_end(self) -> bool:
        """Whether it has given out its last batch, as far as that can be known."""
        return self.position == self.loader.num_batches

    def end(self) -> None:
        """Give out nothing more."""
        self.state = "ended"

    def __del__(self) -> None:
        if self.state == "running":
            self._observer.pass_abandoned(self.serial)


class Counted(Iterator[tuple[int, Batch]]):
    """Counts the batches of a pass by its position, so that the count survives a restart."""

    def __init__(self, entered: LoaderPass[Batch], start: int) -> None:
        self._entered = entered
        self._start = start
        entered._counted = weakref.ref(self)

    def __next__(self) -> tuple[int, Batch]:
        batch = self._entered.advance(sys._getframe(1))
        return self._start + self._entered.position - 1, batch


def _pinned(batch: Any) -> Any:
    return tree_map(lambda x: x.pin_memory() if isinstance(x, torch.Tensor) else x, batch)
