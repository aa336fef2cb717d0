"""Notebooks to read, written as Jupyter writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

from bessemer.conversion.notebooks.cells import Cell
from bessemer.conversion.notebooks.plain import Plain, plain
from bessemer.conversion.notebooks.program import NotebookProgram, read_program


def code(source: str, count: int | None = None, **more: Any) -> dict[str, Any]:
    text = dedent(source).strip("\n")
    lines = text.splitlines(keepends=True)
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": {},
        "outputs": [],
        "source": lines,
        **more,
    }


def heading(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": [f"## {text}\n", "\n", "Words."]}


def written(path: Path, cells: Sequence[dict[str, Any]], **metadata: Any) -> Path:
    content = {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def program(folder: Path, *cells: str | dict[str, Any], run: int | None = None) -> NotebookProgram:
    """Read a notebook of these cells; of a text the execution counts are those of Run all."""
    made = [code(x, number) if isinstance(x, str) else x for number, x in enumerate(cells, 1)]
    path = written(folder / "nb.ipynb", made)
    return read_program(path, path.name, run)


def one(source: str) -> Plain:
    """One cell as plain Python."""
    return plain(Cell(1, None, source))
