"""Which loops over loaders a restart can go on inside of, and the note about those that it cannot."""

from __future__ import annotations

from typing import Any

from bessemer.data.callers import wrapper_with_memory
from bessemer.data.iteration import LoaderPass
from bessemer.training.outlet import Outlet
from bessemer.utils.events import Note


class InsideLoops:
    """Judges each loop of the program once.

    Args:
        outlet: where the user is told.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._noted: set[str] = set()
        self._wrappers: dict[tuple[str, int], str | None] = {}

    def can_go_on(self, entered: LoaderPass[Any]) -> bool:
        """Tell whether a restart that comes to this loop again finds all that the loop had."""
        place = (entered.site, entered.loader.number)
        if place not in self._wrappers:
            self._wrappers[place] = wrapper_with_memory(entered.driver)
        wrapper = self._wrappers[place]
        if wrapper is not None:
            self.note(entered, f"{wrapper} around a loader")
        return entered.loader.can_seek and wrapper is None

    def note(self, entered: LoaderPass[Any], what: str) -> None:
        """Say once a place that checkpoints are taken between turns only, and why."""
        if entered.site not in self._noted:
            self._noted.add(entered.site)
            self._outlet.event(
                Note(
                    f"{entered.site}: {what} counts for itself, so checkpoints are taken between turns "
                    "of the outer loop only; `for` over the loader or loader.enumerate() survives a "
                    "restart inside"
                )
            )
