"""Modernising: old forms that fail with the libraries of today are written as what they were.

Research code of some years ago names what NumPy, PyTorch and others have taken away since. Each file is
modernised when it is read, before anything else looks at it, and lines keep their numbers. A form is changed
only where it fails today, or warns that it will, and where the new one surely means the same. What is known
to fail and cannot be changed is said.

A rule is a module here; see `base`. `keywords` comes before all of them: it makes text that parses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import libcst as cst

from bessemer.conversion.modernise import (
    algebra,
    arguments,
    channels,
    functions,
    iterators,
    libraries,
    loading,
    masks,
    numpy_names,
    one_number,
    overloads,
    standard_library,
    tables_and_plots,
    targets,
    torch_names,
)
from bessemer.conversion.modernise.base import Ask, Change, Code, Leave, Modern, Noted
from bessemer.conversion.modernise.edits import Edit, Text, collide, is_sound
from bessemer.conversion.program import understand

__all__ = ["RULES", "Modern", "Noted", "modernised"]

RULES: tuple[ModuleType, ...] = (
    numpy_names, torch_names, algebra, arguments, overloads, masks, iterators, one_number, targets, loading,
    functions, standard_library, libraries, tables_and_plots, channels,
)  # fmt: skip
_WORD = re.compile(r"[^\W\d]\w*")
_MOST_PASSES = 8


def modernised(text: str, changes: Sequence[Noted] = (), rules: Sequence[ModuleType] = RULES) -> Modern:
    """Modernise a file.

    Args:
        text: Python that compiles.
        changes: what was changed before, so that it does.
        rules: which are asked.
    """
    result = Modern(text, tuple(changes))
    for _ in range(_MOST_PASSES):
        words = set(_WORD.findall(result.text))
        asked = [x for x in rules if not x.WORDS.isdisjoint(words)]
        if not asked:
            break
        program = understand(cst.parse_module(result.text), "", is_fresh=True)
        code = Code(program, Text(program))
        found = [y for x in asked for y in x.find(code)]
        new, made, is_whole = _made(code, [x for x in found if isinstance(x, Change)])
        result = Modern(
            new,
            (*result.changes, *made),
            _joined(result.questions, [_noted(code, x) for x in found if isinstance(x, Ask)]),
            _joined(result.left, [_noted(code, x) for x in found if isinstance(x, Leave)]),
        )
        # A change may bring up another old form, or may have to wait for one that it gets in the way of.
        brought = set(_WORD.findall(new)) - words
        if not made or (is_whole and all(x.WORDS.isdisjoint(brought) for x in rules)):
            break
    return replace(result, changes=tuple(sorted(result.changes, key=lambda x: x.line)))


def _joined(known: tuple[Noted, ...], found: Sequence[Noted]) -> tuple[Noted, ...]:
    """Add what was found in another pass; what was found before is not said again."""
    said = {(x.line, x.reason) for x in known}
    return (*known, *(x for x in found if (x.line, x.reason) not in said))


def _noted(code: Code, found: Ask | Leave) -> Noted:
    todo = found.todo if isinstance(found, Ask) else ""
    return Noted(code.program.line(found.node), code.program.code(found.node), "", found.reason, todo)


def _made(code: Code, changes: Sequence[Change]) -> tuple[str, list[Noted], bool]:
    """Make the changes that do not get into each other's way, and tell whether these are all."""
    kept: list[Change] = []
    for change in changes:
        spans = [x.span for y in kept for x in y.edits]
        if not any(collide(x.span, span) for x in change.edits for span in spans):
            kept.append(change)
    new = code.text.rendered(_edits(code, kept))
    if not is_sound(code.text.text, new):
        tried, kept = kept, []
        for change in tried:
            if is_sound(code.text.text, code.text.rendered(_edits(code, [*kept, change]))):
                kept.append(change)
        new = code.text.rendered(_edits(code, kept))
    edits = _edits(code, kept)
    shown: list[tuple[cst.CSTNode, str]] = [(x.node, x.reason) for x in kept]
    shown += [(x, f"{', '.join(y)} is used in place of old names") for x, y in _imports(kept).items()]
    noted = [
        Noted(code.program.line(node), code.program.code(node), code.text.shown(node, edits), reason)
        for node, reason in shown
    ]
    return new, noted, len(kept) == len(changes)


def _imports(changes: Sequence[Change]) -> dict[cst.Import | cst.ImportFrom, dict[str, None]]:
    """Return which statements have to import more, and what."""
    wanted: dict[cst.Import | cst.ImportFrom, dict[str, None]] = {}
    for change in changes:
        for statement, module in change.imports:
            wanted.setdefault(statement, {})[module] = None
    return wanted


def _edits(code: Code, changes: Sequence[Change]) -> list[Edit]:
    """Return the edits of changes, with one for each statement that imports more."""
    edits = [y for x in changes for y in x.edits]
    for statement, modules in _imports(changes).items():
        end = code.text.span(statement)[1]
        between = ", " if isinstance(statement, cst.Import) else "; import "
        edits.append(Edit((end, end), (between + ", ".join(modules),)))
    return edits
