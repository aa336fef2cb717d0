"""The files of a source, each read once and quickly: what it imports, whether it does something or trains.

Python's own parser is enough for that and thirty times as fast as one that keeps every space; only files that
a training program reaches are read in depth. What cannot be read is kept with the reason.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bessemer.conversion import sources
from bessemer.conversion.survey.report import Skipped
from bessemer.errors import SourceError

_SETS_UP = frozenset(
    {"append", "insert", "basicConfig", "filterwarnings", "simplefilter", "manual_seed", "seed"}
)
_PLACE = re.compile(r"((?:\[cell \d+\])?(?::\d+)?): (.*)", re.DOTALL)
_TRAINERS = frozenset(
    {"tensorflow", "keras", "jax", "flax", "mxnet", "paddle", "pytorch_lightning", "lightning"}
)


@dataclass(frozen=True)
class Import:
    """One imported name: `from ..a import b` is (2, "a.b")."""

    num_dots: int
    name: str


@dataclass(frozen=True)
class FileFacts:
    """One file that was read.

    Attributes:
        path: relative to the root.
        num_lines: lines of its text; of a notebook those of its code cells.
        imports: what it imports; of a notebook nothing.
        guarded: whether it has a main guard.
        runs: whether running it does something.
        trains: whether it computes gradients, or imports what trains for it.
        is_notebook: whether it is a notebook.
    """

    path: str
    num_lines: int
    imports: tuple[Import, ...] = ()
    guarded: bool = False
    runs: bool = False
    trains: bool = False
    is_notebook: bool = False


def read_tree(path: Path) -> tuple[Path, dict[str, FileFacts], tuple[Skipped, ...]]:
    """Read a file, or every Python file and notebook below a folder.

    Returns:
        The root folder, what was read by path, and what was not.

    Raises:
        SourceError: there is no such file or folder.
    """
    if not path.exists() and not path.is_symlink():
        raise SourceError(
            f"{path}: there is no such file or folder",
            "a script, a notebook, or a folder with some",
            "check the path; research code usually stands under src/",
        )
    root = path.parent if not path.is_dir() else path
    found: dict[str, FileFacts] = {}
    skipped: list[Skipped] = []
    for file, reason in _files(path):
        shown = file.relative_to(root).as_posix()
        if not reason:
            try:
                found[shown] = _facts(file, root)
                continue
            except SourceError as error:
                skipped.append(not_read(file, shown, error))
                continue
        skipped.append(Skipped(shown, shown, reason))
    return root, found, tuple(skipped)


def not_read(file: Path, shown: str, error: SourceError) -> Skipped:
    """Return a file that an error is about, with the place that the error names."""
    rest = error.found.removeprefix(str(file)).removeprefix(shown)
    place = _PLACE.match(rest)
    if place is None:
        return Skipped(shown, shown, rest)
    return Skipped(shown, shown + place[1], place[2])


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield files, each with the reason why it cannot be read, if it cannot."""
    if not path.is_dir():
        is_code = path.suffix in (".py", ".ipynb")
        yield path, "" if is_code else "neither a Python file nor a notebook"
        return
    inside = path.resolve()
    for folder, names, files in os.walk(path):
        names[:] = sorted(x for x in names if not x.startswith(".") and x not in sources.SKIPPED_FOLDERS)
        for name in list(names):
            link = Path(folder) / name
            if link.is_symlink():
                names.remove(name)
                target = link.resolve()
                where = "out of the folder, " if not target.is_relative_to(inside) else ""
                yield link, f"a link to a folder, {where}to {target}; links are not followed"
        for name in sorted(files):
            file = Path(folder) / name
            if file.suffix not in (".py", ".ipynb"):
                continue
            reason = ""
            if file.is_symlink():
                target = file.resolve()
                if not target.is_relative_to(inside):
                    reason = f"a link that leads out of the folder, to {target}"
                elif not target.exists():
                    reason = f"a link to {target}, which is not there"
            yield file, reason or ("" if file.is_file() else "not a file")


def _facts(path: Path, root: Path) -> FileFacts:
    shown = path.relative_to(root).as_posix()
    if path.suffix == ".ipynb":
        return _notebook_facts(path, shown)
    text = sources.read_text(path)
    tree = sources.check_syntax(path, text)
    imports = tuple(_imports(tree))
    return FileFacts(
        shown,
        len(text.splitlines()),
        imports,
        any(map(_is_guard, tree.body)),
        any(map(_does_something, tree.body)),
        any(isinstance(x, ast.Attribute) and x.attr == "backward" for x in ast.walk(tree))
        or any(not x.num_dots and x.name.partition(".")[0] in _TRAINERS for x in imports),
    )


def _notebook_facts(path: Path, shown: str) -> FileFacts:
    sources.check_size(path)
    try:
        cells = json.loads(path.read_bytes())["cells"]
        code = ["".join(x["source"]) for x in cells if x["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, OSError):
        # What exactly is wrong is for the reader of notebooks to say.
        sources.read(path)
        raise SourceError(f"{path}: a notebook of a form that is not known") from None
    text = "\n".join(code)
    trains = ".backward(" in text or any(f"import {x}" in text for x in _TRAINERS)
    return FileFacts(shown, len(text.splitlines()), runs=bool(text.strip()), trains=trains, is_notebook=True)


def _imports(tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(0, x.name) for x in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield Import(node.level, base)
            yield from (
                Import(node.level, f"{base}.{x.name}".strip(".")) for x in node.names if x.name != "*"
            )


def _is_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(x, ast.Name) and x.id == "__name__" for x in ast.walk(node.test)
    )


def _does_something(node: ast.stmt) -> bool:
    """Tell whether a statement at module level is more than a definition, an import or a setting."""
    if isinstance(node, ast.For | ast.While | ast.With):
        return True
    if isinstance(node, ast.If | ast.Try):
        return any(map(_does_something, node.body))
    value = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    if isinstance(node, ast.Assign):
        return (
            isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id[:1].islower()
        )
    if not isinstance(value, ast.Call):
        return False
    called = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    return called not in _SETS_UP
