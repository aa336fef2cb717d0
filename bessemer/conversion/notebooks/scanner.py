"""Where the statements of a cell begin, found without parsing, so that it works on what is not Python.

A line is a magic or a shell line only if a statement may begin on it: not inside brackets, not inside a
string, not after a backslash. `% (epoch, loss)` on a line of its own is the rest of an expression. Nothing
that begins a statement of Python is ever taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

_HELP = re.compile(r"%{0,2}[A-Za-z_*][\w.*]*(\[[^\]]*\])?(\.[\w*]+)*\?{1,2}\s*;?\s*$")
_ASSIGNED = re.compile(
    r"(?P<targets>[A-Za-z_][\w.]*(\s*,\s*[A-Za-z_][\w.]*)*)\s*=\s*(?P<mark>[!%])(?P<rest>.*)$"
)
# What `pip` and a few others are to people who leave out the mark: IPython runs these lines all the same.
_UNMARKED = re.compile(
    r"(pip3?|conda|mamba)\s+(install|uninstall|list)\b"
    r"|(cd|ls|mkdir|matplotlib|load_ext)\s+(?!(if|in|is|and|or|not)\b)[\w~]"
)
_OPEN, _CLOSE = "([{", ")]}"


class Kind(Enum):
    """What a line that is not Python is."""

    CELL_MAGIC = "%%"
    MAGIC = "%"
    SHELL = "!"
    HELP = "?"
    ASSIGNED_SHELL = "= !"
    ASSIGNED_MAGIC = "= %"


@dataclass(frozen=True)
class Special:
    """A line that IPython reads, and Python does not.

    Attributes:
        kind: what it is.
        first: its first line in the cell, from 0.
        last: its last line: a line that ends in a backslash goes on, a cell magic takes the whole cell.
        indent: the blanks in front of it.
        text: what follows the mark, continued lines joined.
        targets: what is assigned to, as written.
    """

    kind: Kind
    first: int
    last: int
    indent: str
    text: str
    targets: str = ""


def specials(text: str) -> Iterator[Special]:
    """Yield the lines of a cell that are not Python, from the first to the last."""
    lines = text.split("\n")
    state = _State()
    index = 0
    begun = False
    while index < len(lines):
        line = lines[index]
        body = line.strip()
        if state.at_statement and body and not body.startswith("#"):
            found = _special(lines, index, begun)
            begun = True
            if found is not None:
                yield found
                if found.kind is Kind.CELL_MAGIC:
                    return
                if not _runs_python(found.text) or found.kind is not Kind.MAGIC:
                    index = found.last + 1
                    continue
                # What `%time` runs is Python and may go on for several lines.
                line = found.text.partition(" ")[2]
        state.read(line)
        index += 1


def _special(lines: list[str], index: int, begun: bool) -> Special | None:
    line = lines[index]
    body = line.lstrip(" \t")
    indent = line[: len(line) - len(body)]
    if body.startswith("%%") and not begun:
        rest = body[2:].strip()
        return Special(Kind.CELL_MAGIC, index, len(lines) - 1, indent, rest)
    if body.startswith("?") or _HELP.match(body):
        return Special(Kind.HELP, index, index, indent, body.strip())
    last, joined = _continued(lines, index)
    if body[0] == "%" and _runs_python(body[1:]):
        last, joined = index, line
    joined = joined.lstrip(" \t")
    if body[0] in "%!":
        kind = Kind.MAGIC if body[0] == "%" else Kind.SHELL
        return Special(kind, index, last, indent, joined.lstrip("%!" if body[0] == "%" else "!").strip())
    assigned = _ASSIGNED.match(joined)
    if assigned is not None and not assigned["rest"].startswith("="):
        kind = Kind.ASSIGNED_SHELL if assigned["mark"] == "!" else Kind.ASSIGNED_MAGIC
        return Special(kind, index, last, indent, assigned["rest"].strip(), assigned["targets"].strip())
    if _UNMARKED.match(body):
        return Special(Kind.MAGIC, index, last, indent, joined.strip())
    return None


def _runs_python(magic: str) -> bool:
    return magic.split(None, 1)[:1] == ["time"]


def _continued(lines: list[str], index: int) -> tuple[int, str]:
    """Join a line with those that its backslashes continue it with."""
    parts = [lines[index]]
    while parts[-1].endswith("\\") and index + 1 < len(lines):
        parts[-1] = parts[-1][:-1]
        index += 1
        parts.append(lines[index])
    return index, " ".join(part.strip() if place else part for place, part in enumerate(parts))


class _State:
    """What a line leaves open for the next: brackets, a string, a continuation."""

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""
        self._goes_on = False

    @property
    def at_statement(self) -> bool:
        return self._depth == 0 and not self._quote and not self._goes_on

    def read(self, line: str) -> None:
        place = 0
        while place < len(line):
            char = line[place]
            if self._quote:
                if char == "\\":
                    place += 2
                    continue
                if line.startswith(self._quote, place):
                    place += len(self._quote)
                    self._quote = ""
                    continue
            elif char == "#":
                break
            elif char in "'\"":
                self._quote = char * 3 if line.startswith(char * 3, place) else char
                place += len(self._quote)
                continue
            elif char in _OPEN:
                self._depth += 1
            elif char in _CLOSE:
                self._depth = max(0, self._depth - 1)
            place += 1
        commented = not self._quote and place < len(line)
        self._goes_on = line.endswith("\\") and not commented
        if len(self._quote) == 1 and not self._goes_on:
            self._quote = ""  # a string that is not closed ends with its line; parsing says so
