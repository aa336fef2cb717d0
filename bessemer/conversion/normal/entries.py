"""Which script of a folder is the one that is run."""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.normal.locating import locator_of
from bessemer.conversion.sources import Source, Sources
from bessemer.conversion.syntax import walk
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
    if len(read.files) == 1:
        return read.files[0]
    imports = {file.path: _imported(read, file) for file in read.files}
    started = [x for x in read.files if not any(x.path in imports[y.path] for y in read.files if y is not x)]
    training = [x for x in started if any(_trains(y) for y in _reached(read, imports, x))]
    if len(training) == 1:
        return training[0]
    if not training:
        return next((x for x in read.files if _trains(x)), read.files[0])
    raise SourceError(
        f"{read.root}: several entry points: {', '.join(x.path for x in training)}",
        "one training script",
        f"choose it with --entry, for example --entry {training[0].path}",
    )


def _imported(read: Sources, file: Source) -> frozenset[str]:
    locator = locator_of(read, file)
    found: set[str] = set()
    for node in walk(file.module, cst.Import, cst.ImportFrom):
        names = [""]
        dotted, dots = "", 0
        if isinstance(node, cst.Import):
            names = [x.evaluated_name for x in node.names]
        else:
            dotted = file.module.code_for_node(node.module).strip() if node.module is not None else ""
            dots = len(node.relative)
            if not isinstance(node.names, cst.ImportStar):
                names += [x.evaluated_name for x in node.names]
        for name in names:
            full = ".".join(x for x in (dotted, name) if x)
            target = locator.relative(file, dots, full) if dots else locator.absolute(full)
            if target is not None:
                found.add(target.path)
    return frozenset(found - {file.path})


def _reached(read: Sources, imports: dict[str, frozenset[str]], start: Source) -> list[Source]:
    seen = {start.path}
    waiting = [start.path]
    while waiting:
        more = imports.get(waiting.pop(), frozenset()) - seen
        seen |= more
        waiting += more
    return [x for x in read.files if x.path in seen]


def _trains(file: Source) -> bool:
    return any(x.attr.value == "backward" for x in walk(file.module, cst.Attribute))
