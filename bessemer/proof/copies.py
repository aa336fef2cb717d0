"""Where a program is run: in a copy of its folder, made afresh for each run, so that none changes it.

Research code reads `../data` and writes `../results`. Files beside the folder that a string of its
code or an argument names are copied too, to the same place relative to it; of a pattern (`../data/*.txt`,
`"../data/%s.csv" % name`) the folder that it begins with.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.errors import StorageError

# What is no part of a program.
LEFT_OUT = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__"})
_GIB = 2**30
# What stands for something else in a path: of glob, of `%` and of `format`.
_PATTERN = re.compile(r"[*?\[{%]")


@dataclass(frozen=True)
class Ground:
    """What a program needs around it.

    Attributes:
        folder: where it runs, absolute.
        others: other files and folders to be copied to the same place relative to it, absolute.
    """

    folder: Path
    others: tuple[Path, ...] = ()

    @property
    def _base(self) -> Path:
        return Path(os.path.commonpath([self.folder, *(path.parent for path in self.others)]))

    def place_of(self, path: Path, area: Path) -> Path:
        """Return where a path of the ground is in a copy of it."""
        return area / path.relative_to(self._base)

    def copied(self, area: Path) -> Path:
        """Copy everything into an empty area, in place of what is there; return the working folder.

        Raises:
            StorageError: there is no room.
        """
        shutil.rmtree(area, ignore_errors=True)
        area.mkdir(parents=True)
        sources = _outermost([self.folder, *self.others])
        needed, free = sum(map(size_of, sources)), shutil.disk_usage(area).free
        if needed > free:
            raise StorageError(
                f"{self.folder} and what it reads beside it have {needed / _GIB:.1f} GiB, and "
                f"{area.parent} has room for {free / _GIB:.1f}",
                expected="room for a copy: the research code runs in one",
                todo="set TMPDIR to a larger disk, or give --cwd a folder with less data",
            )
        for source in sources:
            target = self.place_of(source, area)
            if source.is_dir():
                shutil.copytree(
                    source, target, ignore=_ignored, ignore_dangling_symlinks=True, dirs_exist_ok=True
                )
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        return self.place_of(self.folder, area)


def beside(folder: Path, programs: Iterable[bytes], arguments: Sequence[str]) -> tuple[Path, ...]:
    """Return the existing files and folders outside of a folder that relative paths lead to.

    Args:
        folder: where the program runs.
        programs: its Python source, whose strings are looked at.
        arguments: its command line.
    """
    words = {word for argument in arguments for word in (argument, argument.partition("=")[2])}
    words |= {word for program in programs for word in _strings(program)}
    found = set()
    for word in words:
        # "..", without a name, would be everything beside the folder.
        if not word.startswith("../") or len(word) > 1000 or not word.strip("./"):
            continue
        path = Path(os.path.normpath(folder / _fixed(word)))
        if path.exists() and not path.is_relative_to(folder) and not folder.is_relative_to(path):
            found.add(path)
    return tuple(sorted(found))


def _fixed(word: str) -> str:
    """Return what a path surely begins with: `../data` of `../data/*.txt` and `../data/{}.txt`."""
    return os.sep.join(itertools.takewhile(lambda part: not _PATTERN.search(part), word.split("/")))


def _strings(program: bytes) -> Iterator[str]:
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Call):  # os.path.join("..", "data", name)
            given = (x.value if isinstance(x, ast.Constant) else None for x in node.args)
            parts = list(itertools.takewhile(lambda part: isinstance(part, str), given))
            if len(parts) > 1:
                yield "/".join(map(str, parts))


def _outermost(paths: Sequence[Path]) -> list[Path]:
    return [x for x in dict.fromkeys(paths) if not any(x != y and x.is_relative_to(y) for y in paths)]


def _ignored(folder: str, names: list[str]) -> set[str]:
    """Leave out what is no part of a program, and what is neither file nor folder."""
    return {name for name in names if name in LEFT_OUT or not _is_plain(os.path.join(folder, name))}


def _is_plain(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def size_of(path: Path) -> int:
    """Return what copying a file or folder takes (bytes)."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, folders, files in os.walk(path, followlinks=True):
        ignored = _ignored(folder, folders + files)
        folders[:] = [name for name in folders if name not in ignored]
        total += sum(os.stat(os.path.join(folder, name)).st_size for name in files if name not in ignored)
    return total
