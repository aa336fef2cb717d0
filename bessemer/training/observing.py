"""The seam for whoever looks at a program while it runs: what it places, loads and loops over.

The program does not notice. What is looked for is up to the one who looks: judging watches what the
model returns for each batch. A run that is not looked at has an observer that sees nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from bessemer.data.datasets import Fetched
from bessemer.data.iteration import LoaderPass, PassObserver

if TYPE_CHECKING:
    from bessemer.data.loaders import Loader
    from bessemer.training.session import Session


class Observer:
    """Is told what a program does; this one wants to know nothing.

    All workers run the same program, so each worker's observer is told the same at the same place.
    """

    def model_placed(self, number: int, model: nn.Module) -> None:
        """The program has placed a model, its n-th."""

    def loader_made(self, loader: Loader[Any]) -> None:
        """The program has made a loader, and goes over it later."""

    def arrived(self, session: Session) -> None:
        """The checkpoint was put back: what the program does from here on is what is looked for."""

    def batch_began(self, entered: LoaderPass[Any], fetched: Fetched) -> None:
        """A batch goes to the body of a loop over a loader."""

    def batch_ended(self) -> None:
        """The body of the loop is done with the batch that came last."""

    def finish(self) -> None:
        """The program has come to its end."""

    def over(self, passes: PassObserver) -> PassObserver:
        """Return who is told of loops over loaders, and tells `passes` in turn."""
        return passes


class Watched:
    """A `PassObserver` that tells an observer of each batch, and another one of everything.

    Args:
        passes: who keeps the account of loops.
        observer: who looks at the batches.
    """

    def __init__(self, passes: PassObserver, observer: Observer) -> None:
        self._passes = passes
        self._observer = observer

    def pass_started(self, entered: LoaderPass[Any]) -> bool:
        """See `PassObserver`."""
        return self._passes.pass_started(entered)

    def between_batches(self, entered: LoaderPass[Any]) -> None:
        """See `PassObserver`."""
        self._observer.batch_ended()
        self._passes.between_batches(entered)

    def batch_ready(self, entered: LoaderPass[Any], fetched: Fetched, waited_s: float) -> None:
        """See `PassObserver`."""
        self._passes.batch_ready(entered, fetched, waited_s)
        self._observer.batch_began(entered, fetched)

    def pass_ended(self, entered: LoaderPass[Any]) -> None:
        """See `PassObserver`."""
        self._passes.pass_ended(entered)

    def pass_abandoned(self, serial: int) -> None:
        """See `PassObserver`."""
        self._observer.batch_ended()
        self._passes.pass_abandoned(serial)
