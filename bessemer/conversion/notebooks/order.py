"""In which order the cells of a notebook are a program, and what that order leaves unexplained.

The order of the document is what "run all" does, and is taken if every name is made before it is read. If
not, and the execution counts tell of an order in which it is, that one is taken.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bessemer.conversion.notebooks.cells import Cell, place
from bessemer.conversion.notebooks.names import Event, Known, Make, Read, events
from bessemer.conversion.notebooks.plain import Plain, parsed
from bessemer.conversion.plan import Question

_OUTPUTS = frozenset({"_", "__", "___", "In", "Out", "_i", "_ii", "_iii", "_oh", "_ih"})


@dataclass(frozen=True)
class Missing:
    """A name that is read where it does not exist.

    Attributes:
        name: the name.
        cell: the cell that needs it.
        line: the line there, from 1.
        through: the function that reads it when the cell calls it, or "".
        makers: the cells that make it, none of them before.
    """

    name: str
    cell: int
    line: int
    through: str
    makers: tuple[int, ...]


@dataclass(frozen=True)
class Orders:
    """Orders of cells, by their numbers: that of the document, that of the counts, and the one taken."""

    document: tuple[int, ...]
    counted: tuple[int, ...]
    taken: tuple[int, ...]

    @property
    def by_counts(self) -> bool:
        """Whether the order of the execution counts is taken, and is another than the document's."""
        return self.taken != self.document


def orders(plains: Sequence[Plain]) -> Orders:
    """Return the orders that a notebook's cells could be run in, and choose one."""
    document = tuple(x.cell.number for x in plains)
    counted = counted_order([x.cell for x in plains])
    steps = {x.cell.number: cell_events(x) for x in plains}
    if counted == document or _is_consistent(missing(document, steps)):
        return Orders(document, counted, document)
    taken = counted if _is_consistent(missing(counted, steps)) else document
    return Orders(document, counted, taken)


def counted_order(cells: Iterable[Cell]) -> tuple[int, ...]:
    """Return the cells as their execution counts order them; one that was not run stays where it was."""
    keyed: list[tuple[int, int]] = []
    last = -1
    for cell in cells:
        last = last if cell.count is None else cell.count
        keyed.append((last, cell.number))
    return tuple(number for _, number in sorted(keyed))


def cell_events(plain: Plain) -> tuple[Event, ...]:
    """Return what a cell does to names; lines are those of the cell."""
    tree = parsed(plain.text)
    return tuple(e for x in tree.body for e in events(x)) if isinstance(tree, ast.Module) else ()


def missing(order: Sequence[int], steps: Mapping[int, Sequence[Event]]) -> list[Missing]:
    """Return the names that do not exist when the cells are run in an order; each is named once."""
    known = Known()
    found: dict[str, Missing] = {}
    makers = _makers(steps)
    for number in order:
        for event in steps[number]:
            for name, through in known.do(event):
                made = tuple(makers.get(name, ()))
                if name not in found and (made or not known.starred):
                    found[name] = Missing(name, number, event.line, through, made)
    if not known.starred:
        found |= _never_made(order, steps, known, makers.keys() | found.keys())
    return list(found.values())


def _never_made(
    order: Sequence[int], steps: Mapping[int, Sequence[Event]], known: Known, explained: Collection[str]
) -> dict[str, Missing]:
    """Return the names that methods of classes read and that no cell makes at all."""
    found: dict[str, Missing] = {}
    for name, owner in known.later.items():
        if name not in explained:
            defined = next(
                ((x, e.line) for x in order for e in steps[x] if isinstance(e, Make) and e.name == owner),
                (order[0], 1),
            )
            found[name] = Missing(name, *defined, owner, ())
    return found


def questions(plains: Sequence[Plain], chosen: Orders, shown: str) -> list[Question]:
    """Say what the order of the cells leaves open."""
    steps = {x.cell.number: cell_events(x) for x in plains}
    asked = _asked_of_order(plains, chosen, steps, shown)
    for lost in missing(chosen.taken, steps):
        asked.append(_asked_of_name(lost, shown))
    asked += _redefined(plains, chosen, steps, shown)
    for plain in plains:
        if plain.cell.error:
            asked.append(
                Question(
                    place(shown, plain.cell.number, 1),
                    f"the cell had ended with {plain.cell.error} when the notebook was saved",
                    "run all cells from the top once; take out the cell if it is no part of the program",
                )
            )
    return asked


def _asked_of_order(
    plains: Sequence[Plain], chosen: Orders, steps: Mapping[int, Sequence[Event]], shown: str
) -> list[Question]:
    asked: list[Question] = []
    if chosen.by_counts:
        first = next(x for x in missing(chosen.document, steps) if x.makers)
        listed = ", ".join(map(str, chosen.taken))
        asked.append(
            Question(
                place(shown, first.cell, first.line),
                f"{first.name} is read before {_make(first.makers)} it; the cells are taken in the "
                f"order of their execution counts, in which every name is made first: {listed}",
                "bring the cells into that order",
            )
        )
    elif chosen.counted != chosen.document:
        counts = {x.cell.number: x.cell.count for x in plains}
        moved = [
            (a, b)
            for a, b in zip(chosen.document, chosen.document[1:], strict=False)
            if chosen.counted.index(b) < chosen.counted.index(a)
        ]
        told = ", ".join(
            f"cell {b} [{counts[b]}] before cell {a} [{counts[a]}]" for a, b in moved[:5] if counts[b]
        )
        asked.append(
            Question(
                place(shown, moved[0][1], 1),
                f"the cells were last run in another order than they stand in ({told}); they are taken "
                "as they stand",
                "run all cells from the top once, and see whether the results are still what you expect",
            )
        )
    counted = Counter(x.cell.count for x in plains if x.cell.count is not None)
    for count, number in counted.items():
        if number > 1:
            same = [x.cell.number for x in plains if x.cell.count == count]
            asked.append(
                Question(
                    place(shown, same[1], 1),
                    f"{_cells(same)} have the same execution count, {count}: they were copied, or run in "
                    "different sessions",
                    "run all cells from the top once",
                )
            )
    return asked


def _asked_of_name(lost: Missing, shown: str) -> Question:
    where = place(shown, lost.cell, lost.line)
    used = (
        f"{lost.name} is read by {lost.through}, which is used here"
        if lost.through
        else f"{lost.name} is read"
    )
    if lost.name in _OUTPUTS or lost.name.lstrip("_").isdigit():
        return Question(
            where,
            f"{used}: an earlier output of the notebook, which no program has",
            "give that value a name",
        )
    if lost.makers:
        reason = f"{used}, and only {_make(lost.makers)} it, later"
        return Question(where, reason, f"move {_cells(lost.makers[:1])} up, above cell {lost.cell}")
    return Question(
        where,
        f"{used}, and no cell makes it: one that did was deleted, or a file that was run made it",
        f"write the line that makes {lost.name} into a cell above",
    )


def _redefined(
    plains: Sequence[Plain], chosen: Orders, steps: Mapping[int, Sequence[Event]], shown: str
) -> list[Question]:
    seen: dict[str, int] = {}
    asked: list[Question] = []
    for number in chosen.taken:
        for event in steps[number]:
            if isinstance(event, Make) and event.body is not None:
                if event.name in seen and seen[event.name] != number:
                    asked.append(
                        Question(
                            place(shown, number, event.line),
                            f"{event.name} is defined again, first in cell {seen[event.name]}; from here on "
                            "the new one is meant",
                            "nothing; or give one of them another name",
                        )
                    )
                seen.setdefault(event.name, number)
    return asked


def _is_consistent(lost: Iterable[Missing]) -> bool:
    """Whether no name is read before a cell makes it; a name that no cell makes is no matter of order."""
    return not any(x.makers for x in lost)


def _makers(steps: Mapping[int, Sequence[Event]]) -> dict[str, list[int]]:
    makers: dict[str, list[int]] = {}
    for number in sorted(steps):
        for event in steps[number]:
            if isinstance(event, Read | Make):
                body = event.body if isinstance(event, Make) else None
                names = {event.name} if isinstance(event, Make) else set()
                for name in names | set(body.sets if body else ()):
                    if number not in makers.setdefault(name, []):
                        makers[name].append(number)
    return makers


def _cells(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"cell {numbers[0]}"
    return f"cells {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _make(numbers: Sequence[int]) -> str:
    return f"{_cells(numbers)} make{'s' if len(numbers) == 1 else ''}"
