"""Decides what becomes of each file when a project is converted again, and merges lines where both changed.

Three versions of a file count: the base, which the last conversion wrote; yours, which stands in the
project now; the converted one, which this conversion would write. Nothing here reads or writes a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import merge3

START = b"<<<<<<< yours"
MIDDLE = b"======="
END = b">>>>>>> converted"


class Kind(StrEnum):
    """What became of a file.

    `DELETED`: you deleted it, conversion writes what it wrote before: it stays deleted.
    `LEFT`: conversion does not write it any more, but you changed it: it stays, and is yours from now on.
    """

    NEW = "new"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    KEPT = "kept"
    MERGED = "merged"
    CONFLICT = "conflict"
    REMOVED = "removed"
    DELETED = "deleted"
    LEFT = "left"


@dataclass(frozen=True)
class Change:
    """What became of a file of the project.

    Attributes:
        file: path inside the project.
        kind: what was done with it.
        lines: where conflicts begin in the file as it is written, from 1; none for a file that you
            deleted and conversion changed.
    """

    file: str
    kind: Kind
    lines: tuple[int, ...] = ()


@dataclass(frozen=True)
class Merge:
    """A project after a merge: content by path, and what became of each file, by path."""

    files: Mapping[str, bytes]
    changes: tuple[Change, ...]

    @property
    def conflicts(self) -> tuple[Change, ...]:
        """The files that you and conversion changed in ways that exclude each other."""
        return tuple(x for x in self.changes if x.kind is Kind.CONFLICT)


def merge(base: Mapping[str, bytes], yours: Mapping[str, bytes], converted: Mapping[str, bytes]) -> Merge:
    """Merge three versions of a project, file by file.

    Args:
        base: what the last conversion wrote.
        yours: what is there now, of the paths in `base` and `converted`.
        converted: what this conversion would write.
    """
    files: dict[str, bytes] = {}
    changes: list[Change] = []
    for name in sorted(base.keys() | yours.keys() | converted.keys()):
        content, kind, lines = merge_file(base.get(name), yours.get(name), converted.get(name))
        if content is not None:
            files[name] = content
        if kind is not None:
            changes.append(Change(name, kind, lines))
    return Merge(files, tuple(changes))


def merge_file(
    base: bytes | None, yours: bytes | None, converted: bytes | None
) -> tuple[bytes | None, Kind | None, tuple[int, ...]]:
    """Return the content of a merged file, what became of it, and the lines at which conflicts begin.

    None stands for a file that is not there. The kind is None for a file that was deleted by both.
    """
    if yours is None:
        if converted is None:
            return None, None, ()
        if base is None:
            return converted, Kind.NEW, ()
        # Written again, so that it can be seen; whoever deletes it once more has decided.
        return (None, Kind.DELETED, ()) if base == converted else (converted, Kind.CONFLICT, ())
    base, converted = _ended_as(yours, base), _ended_as(yours, converted)
    if converted is None:
        return (None, Kind.REMOVED, ()) if yours == base else (yours, Kind.LEFT, ())
    if yours == converted:
        return yours, Kind.UNCHANGED, ()
    if yours == base:
        return converted, Kind.UPDATED, ()
    if base == converted:
        return yours, Kind.KEPT, ()
    merged, lines = merge_lines(base or b"", yours, converted)
    return merged, Kind.CONFLICT if lines else Kind.MERGED, lines


def merge_lines(base: bytes, yours: bytes, converted: bytes) -> tuple[bytes, tuple[int, ...]]:
    """Merge lines that both changed; mark as git does what excludes each other.

    Returns:
        the merged text, and the numbers of its lines at which conflicts begin, from 1.
    """
    first, second, third = (x.splitlines(keepends=True) for x in (base, yours, converted))
    merger = merge3.Merge3(first, second, third, sequence_matcher=_Matcher)
    newline = b"\r\n" if yours.partition(b"\n")[0].endswith(b"\r") else b"\n"
    lines: list[bytes] = []
    conflicts: list[int] = []
    for group in merger.merge_groups():
        if group[0] != "conflict":
            lines += group[1]
            continue
        head, mine, other, tail = _differing(group[2], group[3])
        lines += head
        conflicts.append(len(lines) + 1)
        lines += [START + newline, *_ended(mine, newline), MIDDLE + newline]
        lines += [*_ended(other, newline), END + newline, *tail]
    return b"".join(lines), tuple(conflicts)


def marked_lines(yours: bytes, base: bytes = b"") -> tuple[int, ...]:
    """Return the lines at which conflicts begin (or end, if they have no beginning), from 1.

    Args:
        yours: the file to look at.
        base: as conversion wrote it; marks that stand in it are the research code's own.
    """
    own = {x.rstrip() for x in base.splitlines()}
    lines = [x.rstrip() for x in yours.splitlines()]
    found = [[i for i, x in enumerate(lines, 1) if x == mark and x not in own] for mark in (START, END)]
    return tuple(found[0] or found[1])


class _Matcher:
    """Finds equal lines, as `merge3` asks for them: what texts begin and end with alike, then difflib's.

    difflib alone looks for the longest equal part first, which in a text that repeats itself may be far
    from where it was; and in texts of 200 lines and more it leaves frequent lines out, unless told not to.
    """

    def __init__(
        self,
        isjunk: Callable[[bytes], bool] | None = None,
        a: Sequence[bytes] = (),
        b: Sequence[bytes] = (),
        autojunk: bool = False,
    ) -> None:
        start, end = _alike(a, b)
        between = difflib.SequenceMatcher(
            isjunk, a[start : len(a) - end], b[start : len(b) - end], autojunk=autojunk
        )
        blocks = [(start + x.a, start + x.b, x.size) for x in between.get_matching_blocks()[:-1]]
        last = (len(a) - end, len(b) - end, end)
        self._blocks = [x for x in [(0, 0, start), *blocks, last] if x[2]] + [(len(a), len(b), 0)]

    def get_matching_blocks(self) -> list[tuple[int, int, int]]:
        return self._blocks


def _alike(a: Sequence[bytes], b: Sequence[bytes]) -> tuple[int, int]:
    """Return how many lines two texts begin with alike, and how many of the others they end with alike."""
    shorter = min(len(a), len(b))
    start = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    rest = shorter - start
    return start, next((i for i in range(rest) if a[-1 - i] != b[-1 - i]), rest)


def _differing(
    mine: Sequence[bytes], other: Sequence[bytes]
) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[bytes], Sequence[bytes]]:
    """Return what two sides begin with alike, what is left of each, and what they end with alike."""
    start, end = _alike(mine, other)
    return (
        mine[:start],
        mine[start : len(mine) - end],
        other[start : len(other) - end],
        mine[len(mine) - end :],
    )


def _ended(lines: Sequence[bytes], newline: bytes) -> list[bytes]:
    """Give the last line an end, so that a mark can follow it."""
    if not lines or lines[-1].endswith((b"\n", b"\r")):
        return list(lines)
    return [*lines[:-1], lines[-1] + newline]


def _ended_as(yours: bytes, text: bytes | None) -> bytes | None:
    """Return a text with the ends of lines that your editor writes, if it has written them all anew."""
    if text is None or b"\r" in text or not 0 < yours.count(b"\n") == yours.count(b"\r\n"):
        return text
    return text.replace(b"\n", b"\r\n")
