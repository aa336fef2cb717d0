"""Which script of a folder is the one that is run."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.normal.locating import Locator, locator_of
from bessemer.conversion.plan import Left
from bessemer.conversion.sources import Source, Sources
from bessemer.conversion.syntax import source_module, walk
from bessemer.errors import SourceError


def pick_entry(read: Sources, wanted: str = "") -> Source:
    """Return the script that trains.

    Args:
        read: every file of the folder.
        wanted: path of the script, relative to the folder; empty to find it.

    Raises:
        SourceError: there is none, or several could be meant.
    """
    if wanted:
        found = [x for x in read.files if x.path in (wanted, f"{wanted}.py")]
        if found:
            return found[0]
        raise SourceError(
            f"{read.root}: there is no script {wanted}",
            f"one of {', '.join(x.path for x in read.files)}",
            "correct --entry",
        )
    notebooks = [x for x in read.files if x.notes is not None]
    if len(read.files) == 1 or notebooks:
        return (notebooks or read.files)[0]
    imports = {x.path: {y.path for y in _imported(locator_of(read, x), x)} for x in read.files}
    started = [x for x in read.files if not any(x.path in imports[y.path] for y in read.files if y is not x)]
    training = [x for x in started if any(map(_trains, reached(read, x)))]
    if len(training) == 1:
        return training[0]
    if not training:
        return next((x for x in read.files if _trains(x)), read.files[0])
    raise SourceError(
        f"{read.root}: several entry points: {', '.join(x.path for x in training)}",
        "one training script",
        f"choose it with --entry, for example --entry {training[0].path}",
    )


def reached(read: Sources, entry: Source) -> tuple[Source, ...]:
    """Return a script and the local files that it imports, directly or through others, by path."""
    locator = locator_of(read, entry)
    found = {entry.path: entry}
    waiting = [entry]
    while waiting:
        for file in _imported(locator, waiting.pop()):
            if file.path not in found:
                found[file.path] = file
                waiting.append(file)
    return tuple(found[path] for path in sorted(found))


def left_out(read: Sources, entry: Source) -> tuple[Left, ...]:
    """Return the files that a script does not import, directly or through others."""
    used = {x.path for x in reached(read, entry)}
    return tuple(Left(x.path, _trains(x)) for x in read.files if x.path not in used)


def _imported(locator: Locator, file: Source) -> Iterator[Source]:
    """Yield the local files that a file imports."""
    for node in walk(file.module, cst.Import, cst.ImportFrom):
        base, num_dots = "", 0
        if isinstance(node, cst.ImportFrom):
            base, num_dots = source_module(node), len(node.relative)
        aliases = [] if isinstance(node.names, cst.ImportStar) else node.names
        for name in ("", *(x.evaluated_name for x in aliases)):
            found = locator.find(file, num_dots, ".".join(x for x in (base, name) if x))
            if found is not None and found.path != file.path:
                yield found


def _trains(file: Source) -> bool:
    return any(x.attr.value == "backward" for x in walk(file.module, cst.Attribute))
