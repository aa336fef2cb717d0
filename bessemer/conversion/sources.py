"""Read research code from disk: a script, a notebook or a folder becomes values, nothing is run.

Everything that can be wrong with a file as a file is said here, as a `SourceError` with the place:
a path that does not exist, bytes that are not text, text that is not Python 3. What the code means
is for `roles` to say.
"""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst

from bessemer.conversion.modernise import modernised
from bessemer.conversion.modernise.base import Modern, Noted
from bessemer.conversion.modernise.keywords import without_keywords
from bessemer.conversion.notebooks.cells import place
from bessemer.conversion.notebooks.notes import Notes
from bessemer.conversion.notebooks.program import read_program
from bessemer.errors import SourceError

SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "venv", "build", "dist"})
"""Folders, beside those whose name begins with a dot, that hold no research code."""

MAX_SCRIPT_BYTES = 5 * 2**20
MAX_NOTEBOOK_BYTES = 100 * 2**20
_NOTEBOOK = ".ipynb"
_TRAINS = b".backward("
_NOT_CHANGED = Modern("")
_ENCRYPTED = {
    b"\0GITCRYPT": "git-crypt",
    b"$ANSIBLE_VAULT": "Ansible Vault",
    b"-----BEGIN PGP MESSAGE": "PGP",
    b"-----BEGIN AGE ENCRYPTED FILE": "age",
    b"age-encryption.org/": "age",
    b"Salted__": "OpenSSL",
}
_PRINT_STATEMENT = re.compile(r"^\s*print\s+[^=\s(]|^\s*print\s*$")


@dataclass(frozen=True, eq=False)
class Source:
    """One Python file, or a notebook as one.

    Attributes:
        path: relative to the root, as messages and reports show it.
        text: the program, modernised; of a notebook its cells, joined.
        module: the text, parsed.
        places: of a notebook, for each line its cell and the line there, as `where` shows them.
        notes: what else is known of a notebook; None for a Python file.
        modern: what modernising the text brought up.
    """

    path: str
    text: str
    module: cst.Module
    places: tuple[str, ...] = ()
    notes: Notes | None = None
    modern: Modern = _NOT_CHANGED

    def where(self, line: int) -> str:
        """Say where a line of the text stands: `file.py:7`, or `name.ipynb[cell 3]:2`."""
        return self.places[line - 1] if 0 < line <= len(self.places) else f"{self.path}:{line}"


@dataclass(frozen=True, eq=False)
class Sources:
    """What was read: the root folder, the Python files below it, and what identifies their content."""

    root: Path
    files: tuple[Source, ...]
    sha256: str


def read(path: Path, run: int | None = None) -> Sources:
    """Read a script, a notebook, or every Python file below a folder.

    The files of a notebook are its program, then the modules that it writes by `%%writefile`. A folder in
    which no Python file trains and that has one notebook is that notebook, with the Python files.

    Args:
        path: the script, notebook or folder.
        run: which training run of a notebook is wanted, from 1; None for all of them.

    Raises:
        SourceError: the path cannot be read as Python source, or there is no such run.
    """
    if not path.exists():
        raise SourceError(
            f"{path}: there is no such file or folder",
            "a Python script, or a folder that holds one",
            "check the path; research code usually stands under src/",
        )
    if path.is_file():
        if path.suffix not in (".py", _NOTEBOOK):
            raise SourceError(
                f"{path}: not a Python file",
                f"a file whose name ends in .py or {_NOTEBOOK}",
                "give the training script or the notebook itself, or the folder it is in",
            )
        root, files = path.parent, [path]
    else:
        root, files = path, _files(path)
    if not files:
        raise SourceError(
            f"{path}: no Python file in this folder",
            "a training script",
            "check the path, or put the script into the folder",
        )
    notebooks = [x for x in files if x.suffix == _NOTEBOOK]
    if len(notebooks) > 1:
        raise SourceError(
            f"{path}: several notebooks: {', '.join(x.relative_to(root).as_posix() for x in notebooks)}",
            "one notebook",
            f"give the notebook itself, for example {notebooks[0]}",
        )
    if run is not None and not notebooks:
        raise SourceError(f"{path}: not a notebook", "a notebook, whose runs have numbers", "leave out --run")
    parsed = [y for x in notebooks for y in parse_notebook(x, root, run)]
    # What a notebook writes is what it then imports, also where an older file of that name lies.
    written = {x.path for x in parsed}
    scripts = [x for x in files if x not in notebooks and x.relative_to(root).as_posix() not in written]
    parsed += [parse(x, root) for x in scripts]
    if path.is_file() and not parsed[0].text.strip():
        if written - {parsed[0].path}:
            names = ", ".join(x.path for x in parsed[1:] if x.path in written)
            raise SourceError(
                f"{path}: no cell does anything; they only write the files {names}",
                "a notebook whose cells train",
                "run these cells, and convert the file that trains",
            )
        raise SourceError(f"{path}: the file is empty", "a training script", "check the path")
    return Sources(root, tuple(parsed), fingerprint(path))


def as_script(source: Source) -> str:
    """Return a source as the script that is converted: modernised, and of a notebook its program.

    Modules that a notebook writes are sources of their own, and must lie beside it.
    """
    return source.module.code


def fingerprint(path: Path) -> str:
    """Hash the relative paths and the bytes of the files that `read` reads at `path`."""
    files = [path] if path.is_file() else _files(path)
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


def _files(folder: Path) -> list[Path]:
    """Return the Python files of a folder, and its notebooks if none of these trains."""
    files = list(_inside(folder, "*.py"))
    if any(_TRAINS in x.read_bytes() for x in files):
        return files
    notebooks = list(_inside(folder, f"*{_NOTEBOOK}"))
    training = [x for x in notebooks if _TRAINS in x.read_bytes()]
    return files + (training or ([] if files else notebooks))


def _inside(folder: Path, pattern: str) -> Iterator[Path]:
    inside = folder.resolve()
    for path in sorted(folder.rglob(pattern)):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in SKIPPED_FOLDERS for part in parts[:-1]):
            continue
        if not path.resolve().is_relative_to(inside):
            raise SourceError(
                f"{path}: a link that leads out of {folder}, to {path.resolve()}",
                "source code that lies inside the folder that is converted",
                "replace the link by a copy of the file",
            )
        if path.is_file():
            yield path


def parse_notebook(path: Path, root: Path, run: int | None) -> list[Source]:
    """Read a notebook: its program, then the modules that it writes.

    Raises:
        SourceError: it is no notebook, what it holds is no Python 3, or there is no such run.
    """
    shown = path.relative_to(root).as_posix()
    check_size(path)
    program = read_program(path, shown, run)
    sources = [_as_today(program.text, program.keywords, shown, program.places, program.notes)]
    for written in program.modules:
        lines = range(written.line, written.line + written.text.count("\n"))
        places = tuple(place(shown, written.cell, line) for line in lines)
        name = (path.parent / written.name).relative_to(root).as_posix()
        sources.append(_as_today(*without_keywords(written.text), name, places))
    return sources


def _as_today(
    text: str,
    changes: tuple[Noted, ...],
    shown: str,
    places: tuple[str, ...],
    notes: Notes | None = None,
) -> Source:
    """Return a source of a notebook, modernised; `changes` were made before, so that it parses."""
    _module(text, places)
    modern = modernised(text, changes)
    return Source(shown, modern.text, _module(modern.text, places), places, notes, modern)


def _module(text: str, places: tuple[str, ...]) -> cst.Module:
    """Parse what a notebook holds; what is wrong with it is said with the cell."""
    try:
        compile(text, "<notebook>", "exec", dont_inherit=True)
        return cst.parse_module(text)
    except (cst.ParserSyntaxError, SyntaxError, ValueError) as error:
        line = getattr(error, "raw_line", None) or getattr(error, "lineno", None) or 1
        message = str(getattr(error, "msg", getattr(error, "message", error))).splitlines()[0]
        code = text.split("\n")[line - 1].strip()
        raise SourceError(
            f"{places[min(line, len(places)) - 1]}: {message}: {code}",
            "Python 3 source that parses",
            "correct the cell",
        ) from error


def parse(path: Path, root: Path) -> Source:
    """Read one Python file.

    Raises:
        SourceError: it is no Python 3 source text.
    """
    text = read_text(path)
    shown = path.relative_to(root).as_posix()
    # LibCST accepts a little more than the language does, so Python's own parser goes first.
    text, changes = without_keywords(text)
    check_syntax(path, text)
    try:
        modern = modernised(text, changes)
        module = cst.parse_module(modern.text)
    except cst.ParserSyntaxError as error:
        raise _syntax_error(path, text, error.raw_line, error.message) from error
    return Source(shown, modern.text, module, modern=modern)


def read_text(path: Path) -> str:
    """Return the text of a Python file.

    Raises:
        SourceError: it cannot be read, is huge, encrypted, binary or not UTF-8.
    """
    check_size(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read: {error.strerror}", "a file that may be read", f"ls -l {path}"
        ) from error
    tool = next((name for start, name in _ENCRYPTED.items() if data.startswith(start)), None)
    if tool is not None:
        raise SourceError(f"{path}: encrypted with {tool}", "Python source text", "decrypt it first")
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
    return text


def check_size(path: Path) -> None:
    """Refuse a file that is too large to be written by people.

    Raises:
        SourceError: it is huge.
    """
    limit = MAX_NOTEBOOK_BYTES if path.suffix == _NOTEBOOK else MAX_SCRIPT_BYTES
    size = path.stat().st_size if path.is_file() else 0
    if size > limit:
        raise SourceError(
            f"{path}: {size / 2**20:.1f} MiB, too large for source code",
            f"at most {limit / 2**20:.0f} MiB",
            "keep data in files of its own, or clear the outputs of the notebook",
        )


def check_syntax(path: Path, text: str) -> ast.Module:
    """Return the text as Python's own parser reads it; it is not run.

    Raises:
        SourceError: it is no Python 3 source.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # such as `"\d"`: not this reader's business
            tree = ast.parse(text, str(path))
            # What the parser lets pass and the compiler does not, such as `return` outside of a function.
            compile(tree, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise _syntax_error(path, text, line, str(getattr(error, "msg", error))) from error
    return tree


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
