"""Whatever `analyze` and `convert` are given: a verdict with the place, and nothing run or overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bessemer.cli import entry
from bessemer.conversion import sources
from conversion.notebooks.making import code, written
from conversion.small_programs import BODY, HEAD, program, snapshot

MARK = "was-run"
RUNS = f"from pathlib import Path\nPath(__file__).with_name({MARK!r}).touch()\n"
"""What every program begins with: it would leave a file behind if anything ran it."""


@dataclass(frozen=True)
class Bad:
    """A bad input: how to make it, what both verbs say, the exit status of each, and the place they name."""

    make: Callable[[Path], Path]
    found: str
    analyze: int
    convert: int = 2
    place: str = ""


def _script(text: str | bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "train.py"
        path.write_bytes(text if isinstance(text, bytes) else (RUNS + text).encode())
        return path

    return make


def _huge(folder: Path) -> Path:
    path = folder / "train.py"
    path.write_bytes(b"x = 1\n" * (sources.MAX_SCRIPT_BYTES // 6 + 1))
    return path


def _outward(folder: Path) -> Path:
    outside = folder.parent / "outside.py"
    outside.write_text(RUNS + program())
    (folder / "train.py").symlink_to(outside)
    return folder


def _broken_notebook(folder: Path) -> Path:
    path = folder / "train.ipynb"
    path.write_text('{"cells": [')
    return path


def _locked(folder: Path) -> Path:
    path = folder / "train.py"
    path.mkdir()
    return path


BADS = {
    "a syntax error": Bad(_script("def broken(:\n"), "def broken(:", 2, place="train.py:3"),
    "a syntax error that only the compiler sees": Bad(
        _script("x = 1\nreturn x\n"), "outside function", 2, place="train.py:4"
    ),
    "Python 2": Bad(_script('print "epoch"\n'), "a print statement of Python 2", 2, place="train.py:3"),
    "no training": Bad(_script("def main():\n    print(1)\n\n\nmain()\n"), "no training", 0),
    "TensorFlow": Bad(_script("import tensorflow as tf\n" + program()), "Bessemer converts PyTorch", 0),
    "JAX": Bad(_script("import jax.numpy as jnp\n" + program()), "Bessemer converts PyTorch", 0),
    "TensorFlow alone": Bad(
        _script("import tensorflow as tf\nmodel = tf.keras.Sequential([])\nmodel.fit([1], [2])\n"),
        "Bessemer converts PyTorch",
        0,
    ),
    "encrypted by a tool": Bad(_script(b"\0GITCRYPT\0" + os.urandom(64)), "encrypted with git-crypt", 2),
    "encrypted": Bad(_script(b"\x93\xf1\xfe" + os.urandom(500).replace(b"\0", b"")), "is not UTF-8", 2),
    "huge": Bad(_huge, "too large for source code", 2),
    "binary": Bad(_script(b"\x7fELF\0\0\0"), "binary data", 2),
    "a link out of the tree": Bad(_outward, "a link that leads out of", 2),
    "a notebook that is none": Bad(_broken_notebook, "broken JSON", 2),
    "an empty folder": Bad(lambda folder: folder, "", 2),
    "a folder with the name of a script": Bad(_locked, "", 2),
    "a path that is not there": Bad(lambda folder: folder / "nowhere", "there is no such file", 2),
}


@pytest.mark.parametrize("verb", ["analyze", "analyze --json", "convert", "convert --plan"])
@pytest.mark.parametrize("kind", BADS)
def test_bad_input_gets_a_verdict_and_leaves_everything_as_it_was(
    kind: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = BADS[kind]
    folder = tmp_path / "source"
    folder.mkdir()
    source = bad.make(folder)
    before = snapshot(tmp_path)
    name, *options = verb.split()
    out = ["--out", str(tmp_path / "out")] if name == "convert" else []
    status = entry([name, str(source), *out, *options])
    printed = "".join(capsys.readouterr())
    assert status == (bad.analyze if name == "analyze" else bad.convert)
    assert bad.found in printed
    assert bad.place in printed
    assert printed.strip()
    assert "Traceback" not in printed
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["CONVERSION.md", "notes.txt", "train.py"])
def test_files_of_the_user_in_the_output_folder_are_not_overwritten(name: str, tmp_path: Path) -> None:
    source = tmp_path / "train.py"
    source.write_text(RUNS + program())
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    before = snapshot(tmp_path)
    assert entry(["convert", str(source), "--out", str(out)]) == 2
    assert snapshot(tmp_path) == before


def test_conversion_writes_inside_of_the_output_folder_only_and_runs_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text(program(head=RUNS))
    before = snapshot(tmp_path)
    assert entry(["analyze", str(source)]) == 0
    assert entry(["convert", str(source), "--out", str(tmp_path / "out")]) == 0
    after = snapshot(tmp_path)
    assert {x: y for x, y in after.items() if not x.startswith("out/")} == before


def test_a_notebook_without_outputs_is_analyzed_and_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = written(tmp_path / "cells.ipynb", [code(HEAD), code(BODY)])
    assert entry(["analyze", str(source), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["programs"]
    assert found["trains"]
    assert found["convertible"]
    assert {"name": "model", "role": "model"}.items() <= next(
        x for x in found["roles"] if x["name"] == "model"
    ).items()
    assert entry(["convert", str(source), "--out", str(tmp_path / "out")]) == 0


def test_a_notebook_whose_cells_lack_their_outputs_is_analyzed(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "source": HEAD + BODY, "metadata": {}}
    source = tmp_path / "cells.ipynb"
    source.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    assert entry(["analyze", str(source)]) == 0


def test_a_thousand_files_are_analyzed_and_one_program_of_them_is_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    for number in range(1000):
        folder = source / f"part{number % 40:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"module{number:03d}.py").write_text(f"def value():\n    return {number}\n")
    (source / "part00" / "broken.py").write_text("def (:\n")
    (source / "train.py").write_text(
        RUNS + "from part07.module007 import value\nprint(value())\n" + program()
    )
    assert entry(["analyze", str(source), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"]["num_read"] == 1001
    assert [x["path"] for x in found["files"]["skipped"]] == ["part00/broken.py"]
    (trained,) = (x for x in found["programs"] if x["trains"])
    assert trained["files"] == ["train.py", "part07/module007.py"]
    out = tmp_path / "out"
    assert entry(["convert", str(source / "train.py"), "--out", str(out)]) == 0
    assert not (source / MARK).exists()
