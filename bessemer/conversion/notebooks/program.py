"""One program from the cells of a notebook: joined in order, every line with the place it came from."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bessemer.conversion.modernise.base import Noted
from bessemer.conversion.modernise.keywords import without_keywords
from bessemer.conversion.notebooks.cells import place, read_cells
from bessemer.conversion.notebooks.display import without_display
from bessemer.conversion.notebooks.notes import Notes
from bessemer.conversion.notebooks.order import Orders, orders, questions
from bessemer.conversion.notebooks.plain import Failure, Plain, Written, parsed, plain
from bessemer.conversion.notebooks.runs import TrainingRun, described, find_runs, question
from bessemer.errors import SourceError

Place = tuple[int, int]


@dataclass(frozen=True)
class NotebookProgram:
    """A notebook as one Python program.

    Attributes:
        text: the program; it compiles.
        places: for each of its lines, `name.ipynb[cell 3]:2`.
        modules: the Python files that the notebook writes.
        keywords: what was changed so that its cells parse, by the lines of the program.
        notes: everything else that is known of the notebook.
    """

    text: str
    places: tuple[str, ...]
    modules: tuple[Written, ...]
    keywords: tuple[Noted, ...]
    notes: Notes


@dataclass(frozen=True)
class _Joined:
    """The cells as one text. The first `num_added` lines are in no cell: what must stand at the top."""

    text: str
    places: tuple[Place, ...]
    num_added: int = 0


def read_program(path: Path, shown: str, run: int | None = None) -> NotebookProgram:
    """Read a notebook as a program.

    Args:
        path: the notebook's file.
        shown: what messages call it.
        run: the training run that it is cut after, from 1; None for the whole notebook.

    Raises:
        SourceError: the notebook cannot be read, a cell is not Python, or there is no such run.
    """
    read = [(cell, *without_keywords(cell.source)) for cell in read_cells(path)]
    cells = [replace(cell, source=source) for cell, source, _ in read]
    plains = [plain(x) for x in cells]
    chosen = orders(plains)
    joined = _joined(plains, chosen.taken)
    text, shown_only = without_display(joined.text, _tree(joined.text), joined.places)
    joined = replace(joined, text=text)
    runs = find_runs(_tree(text), text, joined.places, cells)
    if run is not None:
        joined = _cut(joined, _picked(runs, run, shown), runs, shown)
    kept = {cell for cell, _ in joined.places}
    plains = [x for x in _as_joined(plains, joined) if x.cell.number in kept]
    _refuse_failures(plains, shown)
    changes = tuple(y for x in plains for y in x.changes) + shown_only
    places = set(joined.places)
    asked = questions(plains, _restricted(chosen, kept), shown)
    asked += [x for x in (question(runs, run, shown),) if x is not None]
    notes = Notes(
        shown,
        tuple(sorted((x for x in changes if (x.cell, x.line) in places), key=lambda x: (x.cell, x.line))),
        tuple(y for x in plains for y in x.requirements if (y.cell, y.line) in places),
        tuple(y for x in plains for y in x.downloads if (y.cell, y.line) in places),
        tuple(asked),
        chosen,
        runs,
        run,
    )
    return NotebookProgram(
        joined.text,
        tuple(place(shown, *x) for x in joined.places),
        tuple(y for x in plains for y in x.written),
        tuple(
            replace(change, line=joined.places.index((cell.number, change.line)) + 1)
            for cell, _, changes in read
            for change in changes
            if (cell.number, change.line) in places
        ),
        notes,
    )


def _joined(plains: Sequence[Plain], order: Sequence[int]) -> _Joined:
    """Put the cells one after the other, a blank line between them; a cell that failed is blank."""
    by_number = {x.cell.number: x for x in plains}
    lines: list[str] = []
    places: list[Place] = []
    futures = sorted({y for x in plains for y in x.futures})
    if futures:
        first = next(x for x in plains if x.futures)
        at = next(x.line for x in first.changes if "__future__" in x.before)
        lines.append(f"from __future__ import {', '.join(futures)}")
        places.append((first.cell.number, at))
    for number in order:
        current = by_number[number]
        own = (current.cell.source if current.failure else current.text).rstrip("\n").split("\n")
        lines += ["" for _ in own] if current.failure else own
        places += [(number, line) for line in range(1, len(own) + 1)]
        lines.append("")
        places.append((number, len(own)))
    return _Joined("\n".join(lines) + "\n", tuple(places), int(bool(futures)))


def _as_joined(plains: Sequence[Plain], joined: _Joined) -> list[Plain]:
    """Return the cells with their text as it is in the program."""
    rows: dict[int, dict[int, str]] = {}
    lines = list(zip(joined.text.split("\n"), joined.places, strict=False))
    for row, (number, line) in lines[joined.num_added :]:
        rows.setdefault(number, {}).setdefault(line, row)
    return [replace(x, text="\n".join(rows.get(x.cell.number, {}).values()) + "\n") for x in plains]


def _tree(text: str) -> ast.Module:
    tree = parsed(text)
    assert isinstance(tree, ast.Module), f"cells that parse do not parse together: {tree}"
    return tree


def _picked(runs: Sequence[TrainingRun], run: int, shown: str) -> TrainingRun:
    if 1 <= run <= len(runs):
        return runs[run - 1]
    listed = "".join(f"\n  {described(x, shown)}" for x in runs)
    raise SourceError(
        f"{shown}: there is no run {run}",
        f"one of the notebook's {len(runs)} training runs{listed}" if runs else "a notebook that trains",
        "correct --run",
    )


def _cut(joined: _Joined, run: TrainingRun, runs: Sequence[TrainingRun], shown: str) -> _Joined:
    """Leave out what follows a run, if another one follows it.

    Of the run's own cell everything stays up to the next run. After the last run nothing is left out: what
    follows it belongs to it.
    """
    if run.number == len(runs):
        return joined
    following = runs[run.number]
    body = _tree(joined.text).body
    mine, other = (
        next(x for x in body if x.lineno <= y.program_line <= (x.end_lineno or x.lineno))
        for y in (run, following)
    )
    if mine is other:
        raise SourceError(
            f"{place(shown, run.cell, run.line)}: run {run.number} and the next one are in one statement, "
            f"which begins in line {joined.places[mine.lineno - 1][1]} of the cell",
            "runs that stand one after the other",
            "take the other run out of the notebook, or convert the whole notebook",
        )
    end = next(
        (i for i, (cell, _) in enumerate(joined.places) if i >= mine.lineno and cell != run.cell),
        len(joined.places),
    )
    end = min(end, other.lineno - 1)
    return replace(joined, text="\n".join(joined.text.split("\n")[:end]) + "\n", places=joined.places[:end])


def _restricted(chosen: Orders, kept: set[int]) -> Orders:
    document, counted, taken = (
        tuple(x for x in order if x in kept) for order in (chosen.document, chosen.counted, chosen.taken)
    )
    return replace(chosen, document=document, counted=counted, taken=taken)


def _refuse_failures(plains: Sequence[Plain], shown: str) -> None:
    for current in plains:
        failure = current.failure
        if failure is not None:
            raise _not_python(current, failure, shown)


def _not_python(current: Plain, failure: Failure, shown: str) -> SourceError:
    lines = current.cell.source.split("\n")
    code = lines[failure.line - 1].strip() if failure.line <= len(lines) else ""
    where = place(shown, current.cell.number, failure.line)
    return SourceError(
        f"{where}: {failure.message}: {code}",
        "a cell of Python 3, with the magics of IPython",
        "correct the cell, or make it a markdown cell if it is no part of the program",
    )
