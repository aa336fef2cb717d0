"""Read a notebook's file: code cells as values, with what is known of how they were run.

Notebooks of the formats 2 to 4 are read, and leniently: what editors and hubs write is often not quite what
the format says. Only what makes the code unusable is an error. Outputs are looked at for one thing, whether
the cell had ended with an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.errors import SourceError

MAX_BYTES = 64 * 2**20
_OLDEST_FORMAT = 2
_NEWEST_FORMAT = 4
_CONFLICT = re.compile(r"^(<<<<<<<|=======|>>>>>>>)", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A code cell.

    Attributes:
        number: its place among the notebook's code cells, from 1.
        count: the execution count that is shown beside it, None if it was not run.
        source: its text; lines end in `\\n`, whatever the file has.
        heading: the nearest markdown heading above it, or "".
        error: the name of the exception that its last run ended with, or "".
    """

    number: int
    count: int | None
    source: str
    heading: str = ""
    error: str = ""


def place(shown: str, number: int, line: int) -> str:
    """Say where something is in a notebook: `name.ipynb[cell 3]:2`, line 2 of the third code cell."""
    return f"{shown}[cell {number}]:{line}"


def read_cells(path: Path) -> tuple[Cell, ...]:
    """Read the code cells of a notebook, in the order of the document.

    Raises:
        SourceError: the file is no notebook, is not in Python, or has no code.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SourceError(
            f"{path}: {size / 2**20:,.0f} MiB, almost all of it outputs",
            f"a notebook of at most {MAX_BYTES // 2**20} MiB",
            f"jupyter nbconvert --clear-output --inplace {path.name}",
        )
    content = _versioned(path, _parsed(path))
    _refuse_other_languages(path, content)
    cells = tuple(_code_cells(path, content))
    if not any(cell.source.strip() for cell in cells):
        raise SourceError(f"{path}: no code in this notebook", "cells that train a model", "check the path")
    return cells


def _parsed(path: Path) -> Any:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _damaged(path, line, f"byte {error.start} is not UTF-8") from error
    if not text.strip():
        raise SourceError(f"{path}: the file is empty", "a notebook", "check the path")
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        conflict = _CONFLICT.search(text)
        if conflict is not None:
            line = text.count("\n", 0, conflict.start()) + 1
            raise _damaged(path, line, f"a merge conflict of git: {conflict.group()}") from error
        raise _damaged(path, error.lineno, f"broken JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise _damaged(path, 1, "JSON nested deeper than any notebook") from error


def _damaged(path: Path, line: int, what: str) -> SourceError:
    return SourceError(
        f"{path}:{line}: {what}",
        "a notebook as Jupyter writes it, which is JSON in UTF-8",
        "open it in Jupyter and save it again, or take it from version control",
    )


def _versioned(path: Path, content: Any) -> Mapping[str, Any]:
    """Return a notebook's content in the newest format."""
    import nbformat
    from nbformat import reader

    version = content.get("nbformat") if isinstance(content, dict) else None
    held = content.get("cells", content.get("worksheets")) if isinstance(content, dict) else None
    if not isinstance(version, int) or not isinstance(held, list):
        raise _damaged(path, 1, "JSON, but not a notebook")
    if not _OLDEST_FORMAT <= version <= _NEWEST_FORMAT:
        raise SourceError(
            f"{path}: a notebook of format {version}",
            f"formats {_OLDEST_FORMAT} to {_NEWEST_FORMAT}",
            f"jupyter nbconvert --to notebook --inplace {path.name}",
        )
    if version == _NEWEST_FORMAT:
        return _table({"": content}, "")  # what follows reads more leniently than the library does
    try:
        old = reader.reads(json.dumps(content))  # type: ignore[no-untyped-call]
        converted: Mapping[str, Any] = nbformat.convert(old, to_version=_NEWEST_FORMAT)  # type: ignore[no-untyped-call]
    except Exception as error:  # the library raises what its code happens to run into
        raise _damaged(path, 1, f"not a whole notebook: {error!r}") from error
    return converted


def _refuse_other_languages(path: Path, content: Mapping[str, Any]) -> None:
    metadata = _table(content, "metadata")
    names = (
        _table(metadata, "language_info").get("name"),
        _table(metadata, "kernelspec").get("language"),
    )
    language = next((x.lower() for x in names if isinstance(x, str) and x), "python")
    if not language.startswith(("python", "ipython")):
        raise SourceError(
            f"{path}: a notebook in {language}", "a notebook in Python", "Bessemer converts PyTorch"
        )


def _table(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = holder.get(key)
    return found if isinstance(found, Mapping) else {}


def _code_cells(path: Path, content: Mapping[str, Any]) -> list[Cell]:
    found: list[Cell] = []
    heading = ""
    for place_in_file, raw in enumerate(content["cells"], 1):
        if not isinstance(raw, Mapping):
            raise _damaged(path, 1, f"entry {place_in_file} of its cells is not a cell")
        text = _text(raw.get("source", ""))
        if raw.get("cell_type") == "markdown":
            headings = _HEADING.findall(text)
            heading = headings[-1] if headings else heading
        elif raw.get("cell_type") == "code":
            number = len(found) + 1
            if "\0" in text:
                raise SourceError(
                    f"{place(str(path), number, text[: text.index(chr(0))].count(chr(10)) + 1)}: binary data",
                    "Python source text",
                    "remove the character from the cell",
                )
            count = raw.get("execution_count")
            found.append(Cell(number, count if isinstance(count, int) else None, text, heading, _error(raw)))
    return found


def _text(source: Any) -> str:
    """Return a cell's text, which is a string or a list of lines."""
    joined = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return joined.replace("\r\n", "\n").replace("\r", "\n")


def _error(raw: Mapping[str, Any]) -> str:
    outputs = raw.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        if isinstance(output, Mapping) and output.get("output_type") == "error":
            return str(output.get("ename") or "an error")
    return ""
