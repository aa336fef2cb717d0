"""Where a program failed, from what Python printed: the line of the research code, and the exception."""

from __future__ import annotations

import re
from pathlib import Path

from bessemer.conversion.sources import Source
from bessemer.proof.original import Original

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+)(?:, in .*)?$', re.MULTILINE)
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:: .*)?$", re.MULTILINE)


def failed_at(original: Original, area: Path, printed: str) -> str | None:
    """Say where research code failed and how: `train.py:7: IndexError: ...`; None if it cannot be seen.

    Args:
        original: what was run.
        area: the copy that it was run in.
        printed: all that it printed.
    """
    begin = printed.rfind(_TRACEBACK)
    last = printed[begin if begin >= 0 else 0 :]
    frames = [(Path(x["file"]), int(x["line"])) for x in _FRAME.finditer(last)]
    files = _files(original, area)
    known = [(files[x], line) for x, line in frames if x in files]
    if not known:
        return None
    file, line = known[-1]
    after = last[[x.end() for x in _FRAME.finditer(last)][-1] :]
    exception = _EXCEPTION.search(after)
    left = "".join(f"; {x.reason}" for x in file.modern.left if x.line == line)
    return f"{file.where(line)}: {exception.group() if exception else 'an exception'}{left}"


def _files(original: Original, area: Path) -> dict[Path, Source]:
    """Return the files of a program by where they are in the copy."""
    found: dict[Path, Source] = {}
    for file in original.files:
        place = original.ground.place_of(original.root / file.path, area)
        if file.notes is not None:
            place = place.with_name(f"{place.stem}_cells.py")
        found[place] = found[place.resolve()] = file
    return found
