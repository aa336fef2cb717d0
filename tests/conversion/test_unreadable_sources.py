"""Sources that cannot be read: with the place, the reason and what to do, and with nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.conversion import convert
from bessemer.errors import BessemerError, ConversionError, SourceError
from conversion.small_programs import program, snapshot

SOURCES = {
    "missing": (SourceError, "there is no such file or folder"),
    "empty folder": (SourceError, "no Python file in this folder"),
    "empty file": (SourceError, "the file is empty"),
    "syntax": (SourceError, "train.py:2: "),
    "python 2": (SourceError, "train.py:1: a print statement of Python 2"),
    "binary": (SourceError, "binary data"),
    "latin-1": (SourceError, "train.py:2: byte 8 is not UTF-8"),
    "link": (SourceError, "a link that leads out of"),
    "not python": (SourceError, "not a Python file"),
    "notebook": (SourceError, "JSON, but not a notebook"),
    "folder of notebooks": (SourceError, "several notebooks: a.ipynb, b.ipynb"),
    "two entry points": (SourceError, "several entry points: a.py, b.py"),
    "a name that a module beside has not": (ConversionError, "model.py has no y"),
    "a module as a value": (ConversionError, "the local module model is used as a value"),
}


def make_source(kind: str, folder: Path) -> Path:
    file = folder / "train.py"
    match kind:
        case "missing":
            return folder / "nowhere"
        case "empty folder":
            return folder
        case "empty file":
            file.write_text("\n")
        case "syntax":
            file.write_text("x = 1\ndef broken(:\n")
        case "python 2":
            file.write_text('print "hello"\n')
        case "binary":
            file.write_bytes(b"\x00\x01\x02")
        case "latin-1":
            file.write_bytes(b"x = 1\n# \xe9\n")
        case "link":
            outside = folder.parent / "outside.py"
            outside.write_text(program())
            file.symlink_to(outside)
            return folder
        case "not python":
            file = folder / "train.txt"
            file.write_text("hello")
        case "notebook":
            file = folder / "train.ipynb"
            file.write_text("{}")
        case "folder of notebooks":
            (folder / "a.ipynb").write_text("{}")
            (folder / "b.ipynb").write_text("{}")
            return folder
        case "two entry points":
            (folder / "a.py").write_text(program())
            (folder / "b.py").write_text(program())
            return folder
        case "a name that a module beside has not":
            file.write_text("from model import y\n" + program())
            (folder / "model.py").write_text("x = 1\n")
        case "a module as a value":
            file.write_text("import model\nprint(vars(model))\n" + program())
            (folder / "model.py").write_text("x = 1\n")
    return file


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_that_cannot_be_read_is_refused(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    source = make_source(kind, folder)
    before = snapshot(tmp_path)
    expected, message = SOURCES[kind]
    with pytest.raises(BessemerError) as caught:
        convert(source, tmp_path / "out")
    assert type(caught.value) is expected
    assert message in caught.value.found
    assert caught.value.todo
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "out").exists()
