"""Which file an import means: the local modules of a program, as Python would find them when it starts.

Nothing is imported or run. A script is started in its own folder, so that comes first; then what it adds to
`sys.path` in plain sight, and the folder that was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import libcst as cst

from bessemer.conversion.sources import Source, Sources, parse
from bessemer.conversion.syntax import literal_text, walk

_ADDS = frozenset({"append", "insert", "extend"})


@dataclass(frozen=True, eq=False)
class Locator:
    """Finds local modules by their dotted names.

    Attributes:
        read: the files that are known; others beside them are read when they are first asked for.
        roots: folders, relative to the root, in which absolute imports are looked for.
    """

    read: Sources
    roots: tuple[str, ...]
    files: dict[str, Source | None]

    def file(self, path: str) -> Source | None:
        """Return the file at a path relative to the root."""
        if path not in self.files:
            place = self.read.root / path
            inside = not path.startswith("../") and place.is_file()
            self.files[path] = parse(place, self.read.root) if inside else None
        return self.files[path]

    def find(self, importer: Source, num_dots: int, name: str) -> Source | None:
        """Return the file of the module that an import in a file names, with so many dots in front."""
        return self._relative(importer, num_dots, name) if num_dots else self._absolute(name)

    def _absolute(self, name: str) -> Source | None:
        tail = name.replace(".", "/")
        for root in self.roots:
            for path in (f"{tail}.py", f"{tail}/__init__.py"):
                found = self.file(_plain(PurePosixPath(root) / path))
                if found is not None:
                    return found
        return None

    def _relative(self, importer: Source, num_dots: int, name: str) -> Source | None:
        folder = PurePosixPath(importer.path).parent
        for _ in range(num_dots - 1):
            folder = folder.parent
        tail = name.replace(".", "/")
        paths = [f"{tail}.py", f"{tail}/__init__.py"] if tail else ["__init__.py"]
        found = (self.file(_plain(folder / path)) for path in paths)
        return next((x for x in found if x is not None), None)


def locator_of(read: Sources, entry: Source) -> Locator:
    """Return what finds the local modules of a script."""
    home = PurePosixPath(entry.path).parent.as_posix()
    roots = dict.fromkeys([home, *(x for file in read.files for x in _added(file, home)), "."])
    return Locator(read, tuple(roots), {file.path: file for file in read.files})


def _added(file: Source, home: str) -> Iterator[str]:
    """Yield folders that a file adds to `sys.path`, as far as they are written out."""
    here = PurePosixPath(file.path).parent
    for call in walk(file.module, cst.Call):
        func = call.func
        if not isinstance(func, cst.Attribute) or func.attr.value not in _ADDS:
            continue
        if file.module.code_for_node(func.value).strip() not in ("sys.path", "path"):
            continue
        for text in (literal_text(x) for x in walk(call, cst.SimpleString)):
            if text is not None:
                yield _plain(PurePosixPath(home) / text)
                yield _plain(here / text)
        names = {x.value for x in walk(call, cst.Name)}
        if "__file__" in names:
            num_up = sum(x.value == "dirname" for x in walk(call, cst.Name))
            num_up = max(num_up, sum(x.attr.value == "parent" for x in walk(call, cst.Attribute)))
            folder = PurePosixPath(file.path)
            for _ in range(num_up):
                folder = folder.parent
            yield _plain(folder)


def _plain(path: PurePosixPath) -> str:
    """Return a path without `.` and `..`; one that leads out of the folder stays as it is."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts) or "."
