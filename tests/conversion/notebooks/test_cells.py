"""Reading a notebook's file: what is in it, and what is wrong with it, with the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from bessemer.conversion.notebooks import cells
from bessemer.conversion.notebooks.cells import read_cells
from bessemer.errors import SourceError
from conversion.notebooks.making import code, heading, written


def test_code_cells_are_numbered_among_themselves_and_know_their_heading(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ipynb", [heading("Data"), code("x = 1", 4), heading("Model"), code("y = 2")])
    first, second = read_cells(path)
    assert (first.number, first.count, first.source, first.heading) == (1, 4, "x = 1", "Data")
    assert (second.number, second.count, second.source, second.heading) == (2, None, "y = 2", "Model")


def test_a_cell_that_ended_with_an_error_says_which(tmp_path: Path) -> None:
    failed = code(
        "y", 1, outputs=[{"output_type": "error", "ename": "NameError", "evalue": "", "traceback": []}]
    )
    assert [x.error for x in read_cells(written(tmp_path / "a.ipynb", [failed, code("x = 1")]))] == [
        "NameError",
        "",
    ]


def _written_by_the_library(version: int) -> str:
    if version == 2:
        old: Any = nbformat.v2
        cell = old.new_code_cell(input="x = 1\ny = 2", prompt_number=3)
        book = old.new_notebook(
            worksheets=[old.new_worksheet(cells=[old.new_text_cell("markdown", "hi"), cell])]
        )
        return str(old.nbjson.writes(book))
    new: Any = nbformat.v4
    writes: Any = nbformat.writes
    cells = [new.new_markdown_cell("# Début"), new.new_code_cell("x = 1\ny = 2", execution_count=3)]
    return str(writes(new.new_notebook(cells=cells), version=version))


@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_format_that_the_library_writes_is_read_alike(version: int, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(_written_by_the_library(version), encoding="utf-8")
    (cell,) = read_cells(path)
    assert (cell.number, cell.count, cell.source) == (1, 3, "x = 1\ny = 2")


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_lines_end_alike_whatever_the_file_has(end: str, tmp_path: Path) -> None:
    cell = code("x = 1")
    cell["source"] = f"x = 1{end}y = 2{end}"
    assert read_cells(written(tmp_path / "a.ipynb", [cell]))[0].source == "x = 1\ny = 2\n"


def test_what_is_not_ascii_stays_what_it_is(tmp_path: Path) -> None:
    assert read_cells(written(tmp_path / "a.ipynb", [code("größe = 'Ж字'")]))[0].source == "größe = 'Ж字'"


def test_cells_without_metadata_and_outputs_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ipynb", [{"cell_type": "code", "source": "x = 1"}])
    assert read_cells(path)[0].source == "x = 1"


def test_characters_that_json_wants_escaped_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text('{"nbformat": 4, "cells": [{"cell_type": "code", "source": "if x:\n\ty"}]}')
    assert read_cells(path)[0].source == "if x:\n\ty"


BAD: dict[str, tuple[bytes, str]] = {
    "nothing in it": (b" \n", "a.ipynb: the file is empty"),
    "broken JSON": (b'{\n "cells": [\n  {"a": }\n', "a.ipynb:3: broken JSON"),
    "a merge conflict": (b'{"cells": [\n<<<<<<< HEAD\n]}', "a.ipynb:2: a merge conflict of git"),
    "latin-1": (b'{"cells":\n "\xe9"}', "a.ipynb:2: byte 12 is not UTF-8"),
    "JSON of something else": (b"[1, 2]", "a.ipynb:1: JSON, but not a notebook"),
    "no cells": (b'{"nbformat": 4, "metadata": {}}', "a.ipynb:1: JSON, but not a notebook"),
    "a list of no cells": (b'{"nbformat": 4, "cells": [1]}', "entry 1 of its cells is not a cell"),
    "a format to come": (b'{"nbformat": 9, "cells": []}', "a notebook of format 9"),
    "an old format, broken": (b'{"nbformat": 3, "worksheets": [3]}', "not a whole notebook"),
    "deep JSON": (b"[" * 100_000, "a.ipynb:1: "),
    "no code": (b'{"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "hi"}]}', "no code in this"),
    "empty cells": (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": " "}]}', "no code in this"),
    "another language": (
        b'{"nbformat": 4, "cells": [], "metadata": {"kernelspec": {"language": "R"}}}',
        "a notebook in r",
    ),
    "binary data": (
        b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "x\\n\\u0000"}]}',
        "a.ipynb[cell 1]:2: binary data",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_no_notebook_of_python_is_refused_with_the_place(kind: str, tmp_path: Path) -> None:
    data, message = BAD[kind]
    path = tmp_path / "a.ipynb"
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        read_cells(path)
    assert message in caught.value.found
    assert caught.value.expected
    assert caught.value.todo


def test_a_huge_notebook_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.ipynb", [code("x = 1")])
    monkeypatch.setattr(cells, "MAX_BYTES", 10)
    with pytest.raises(SourceError, match="MiB"):
        read_cells(path)
