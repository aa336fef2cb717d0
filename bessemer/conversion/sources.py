"""Read research code from disk: a script or a folder becomes values, nothing is imported or run.

Everything that can be wrong with a file as a file is said here, as a `SourceError` with the place:
a path that does not exist, bytes that are not text, text that is not Python 3. What the code means
is for `roles` to say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst

from bessemer.errors import ConversionError, SourceError

_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "venv", "build", "dist"})
_PRINT_STATEMENT = re.compile(r"^\s*print\s+[^=\s(]|^\s*print\s*$")


@dataclass(frozen=True, eq=False)
class Source:
    """One Python file: `path` is relative to the root, as messages and reports show it."""

    path: str
    text: str
    module: cst.Module


@dataclass(frozen=True, eq=False)
class Sources:
    """What was read: the root folder, the Python files below it, and what identifies their content."""

    root: Path
    files: tuple[Source, ...]
    sha256: str


def read(path: Path) -> Sources:
    """Read a script, or every Python file below a folder.

    Raises:
        SourceError: the path cannot be read as Python source.
        ConversionError: the path is a notebook.
    """
    if not path.exists():
        raise SourceError(
            f"{path}: there is no such file or folder",
            "a Python script, or a folder that holds one",
            "check the path; research code usually stands under src/",
        )
    if path.is_file():
        _refuse_notebook(path)
        if path.suffix != ".py":
            raise SourceError(
                f"{path}: not a Python file",
                "a file whose name ends in .py",
                "give the training script itself, or the folder it is in",
            )
        root, files = path.parent, [path]
    else:
        root, files = path, list(_python_files(path))
    if not files:
        for notebook in sorted(path.rglob("*.ipynb")):
            _refuse_notebook(notebook)
        raise SourceError(
            f"{path}: no Python file in this folder",
            "a training script",
            "check the path, or put the script into the folder",
        )
    return Sources(root, tuple(parse(file, root) for file in files), fingerprint(path))


def fingerprint(path: Path) -> str:
    """Hash the relative paths and the bytes of the Python files below `path` (or of `path` itself)."""
    files = [path] if path.is_file() else list(_python_files(path))
    root = path.parent if path.is_file() else path
    return fingerprint_of([file.relative_to(root).as_posix() for file in files], root)


def fingerprint_of(paths: Iterable[str], root: Path) -> str:
    """Hash files by their paths, relative to `root`, and their bytes."""
    digest = hashlib.sha256()
    for path in paths:
        # Lengths go in front, so that no content can imitate the next file's name.
        for part in (path.encode(), (root / path).read_bytes()):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def _python_files(folder: Path) -> Iterator[Path]:
    inside = folder.resolve()
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in _SKIPPED_FOLDERS for part in parts[:-1]):
            continue
        if not path.resolve().is_relative_to(inside):
            raise SourceError(
                f"{path}: a link that leads out of {folder}, to {path.resolve()}",
                "source code that lies inside the folder that is converted",
                "replace the link by a copy of the file",
            )
        if path.is_file():
            yield path


def _refuse_notebook(path: Path) -> None:
    if path.suffix == ".ipynb":
        raise ConversionError(
            f"{path}: a notebook; notebooks are not converted yet",
            "a Python script",
            f"jupyter nbconvert --to script {path.name}, then put the training into functions",
        )


def parse(path: Path, root: Path) -> Source:
    """Read one Python file.

    Raises:
        SourceError: it is no Python 3 source text.
    """
    data = path.read_bytes()
    shown = path.relative_to(root).as_posix()
    if b"\0" in data:
        raise SourceError(f"{path}: binary data", "Python source text", "check the path")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SourceError(
            f"{path}:{line}: byte {error.start} is not UTF-8",
            "source text in UTF-8",
            f"iconv -f latin1 -t utf-8 {path.name}",
        ) from error
    if not text.strip():
        raise SourceError(f"{path}: the file is empty", "a training script", "check the path")
    try:
        module = cst.parse_module(text)
        # LibCST accepts a little more than the language does.
        compile(text, shown, "exec", dont_inherit=True)
    except cst.ParserSyntaxError as error:
        raise _syntax_error(path, text, error.raw_line, error.message) from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise _syntax_error(path, text, line, str(getattr(error, "msg", error))) from error
    return Source(shown, text, module)


def _syntax_error(path: Path, text: str, line: int, message: str) -> SourceError:
    lines = text.splitlines()
    old = next((i for i, row in enumerate(lines, 1) if _PRINT_STATEMENT.match(row)), None)
    if old is not None:
        return SourceError(
            f"{path}:{old}: a print statement of Python 2: {lines[old - 1].strip()}",
            "Python 3",
            f"2to3 -w {path.name}, then check that it still trains",
        )
    shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    reason = message.strip().splitlines()[0] if message.strip() else "cannot be parsed"
    return SourceError(
        f"{path}:{line}: {reason}: {shown}",
        "Python 3 source that parses",
        f"python -m py_compile {path.name}",
    )
