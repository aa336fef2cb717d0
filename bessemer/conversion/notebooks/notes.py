"""What reading a notebook brought up, as values, and how the plan of a conversion shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TypeVar

from bessemer.conversion.notebooks.cells import place
from bessemer.conversion.notebooks.order import Orders
from bessemer.conversion.notebooks.plain import Change, Needed
from bessemer.conversion.notebooks.runs import TrainingRun
from bessemer.conversion.plan import Plan, Question, Rewrite, Unconverted

Noted = TypeVar("Noted", Rewrite, Question, Unconverted)

_PLACE = re.compile(r"(?:\[cell (\d+)\])?:(\d+)$")


@dataclass(frozen=True)
class Notes:
    """What is known of a notebook besides its program.

    Attributes:
        path: the notebook, as messages show it.
        changes: what was changed or left out, in the order of the notebook.
        requirements: what it installs.
        downloads: the URLs that it fetches, each with the file that they are put into, or "".
        questions: what only its author can say.
        orders: the orders its cells could be run in, and which was taken.
        runs: its training runs, in the order of the program.
        run: the run that was chosen, from 1, or None for the whole notebook.
    """

    path: str
    changes: tuple[Change, ...]
    requirements: tuple[Needed, ...]
    downloads: tuple[Needed, ...]
    questions: tuple[Question, ...]
    orders: Orders
    runs: tuple[TrainingRun, ...]
    run: int | None = None

    @property
    def rewrites(self) -> tuple[Rewrite, ...]:
        """What was changed without a loss."""
        return tuple(
            Rewrite(place(self.path, x.cell, x.line), "notebook", x.before, x.after, x.reason)
            for x in self.changes
            if not x.loses
        )

    @property
    def unconverted(self) -> tuple[Unconverted, ...]:
        """What the program may miss."""
        return tuple(
            Unconverted(place(self.path, x.cell, x.line), x.before, x.reason) for x in self.changes if x.loses
        )


def with_notes(plan: Plan, notes: Notes | None) -> Plan:
    """Add to a plan what reading the notebook brought up; the plan of a script stays as it is."""
    if notes is None:
        return plan
    return replace(
        plan,
        rewrites=_sorted((*plan.rewrites, *notes.rewrites)),
        questions=_sorted((*plan.questions, *notes.questions)),
        unconverted=_sorted((*plan.unconverted, *notes.unconverted)),
    )


def _sorted(noted: tuple[Noted, ...]) -> tuple[Noted, ...]:
    return tuple(sorted(dict.fromkeys(noted), key=lambda x: _key(x.where)))


def _key(where: str) -> tuple[int, int]:
    """Order places by cell and line."""
    found = _PLACE.search(where)
    return (int(found[1] or 0), int(found[2])) if found else (0, 0)
