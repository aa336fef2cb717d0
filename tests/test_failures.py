"""What is run of old research code, and where it failed, is said with the lines of the research code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bessemer.config.project import Project
from bessemer.proof.command import to_json
from bessemer.proof.comparison import Verdict
from bessemer.proof.failures import failed_at
from bessemer.proof.original import Original, modernise, original_of, startable
from conversion.notebooks.making import code, written

OLD = "import numpy as np\nimport helper\n\nprint(np.Inf, helper.lowest)\n"
HELPER = "import numpy as np\nlowest = np.NINF\n"


def original(root: Path, source: Path, script: str = "main.py") -> Original:
    entry = Project("p", root, "p.training.trainer:main", "p.config.settings:Settings", source, script=script)
    return original_of(entry, [], None)


@pytest.fixture
def research(tmp_path: Path) -> Path:
    folder = tmp_path / "research"
    folder.mkdir()
    (folder / "main.py").write_text(OLD)
    (folder / "helper.py").write_text(HELPER)
    (folder / "other.py").write_text("import numpy as np\nprint(np.Inf)\n")
    return folder


def run(found: Original, area: Path) -> subprocess.CompletedProcess[str]:
    folder = found.ground.copied(area)
    modernise(found, area)
    script = startable(found.ground.place_of(found.script, area), found.run)
    command = [sys.executable, str(script)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("is_file", [False, True])
def test_old_forms_are_run_as_what_they_were_in_the_copy_alone(
    research: Path, tmp_path: Path, is_file: bool
) -> None:
    found = original(tmp_path, research / "main.py" if is_file else research)
    done = run(found, tmp_path / "area")
    assert done.stdout == "inf -inf\n", done.stderr
    assert sorted(found.modernised) == [
        "helper.py:2: np.NINF -> (-np.inf)",
        "main.py:4: np.Inf -> np.inf",
    ]
    assert (research / "main.py").read_text() == OLD
    copies = {x.name: x.read_text() for x in (tmp_path / "area").rglob("*.py")}
    assert copies["other.py"] == (research / "other.py").read_text()


def test_a_program_without_old_forms_is_run_as_it_is(research: Path, tmp_path: Path) -> None:
    (research / "main.py").write_bytes(b"print(1)\r\n# \xc3\xa4")
    found = original(tmp_path, research)
    assert found.modernised == ()
    assert run(found, tmp_path / "area").stdout == "1\n"
    (copy,) = (tmp_path / "area").rglob("main.py")
    assert copy.read_bytes() == (research / "main.py").read_bytes()


def test_line_ends_of_a_modernised_file_are_kept(research: Path, tmp_path: Path) -> None:
    (research / "main.py").write_bytes(b"import numpy as np\r\n\r\nprint(np.Inf)\r\n")
    assert run(original(tmp_path, research), tmp_path / "area").stdout == "inf\n"
    (copy,) = (tmp_path / "area").rglob("main.py")
    assert copy.read_bytes() == b"import numpy as np\r\n\r\nprint(np.inf)\r\n"


def test_where_a_program_failed_is_named_by_its_own_line(research: Path, tmp_path: Path) -> None:
    (research / "helper.py").write_text("import json\n\n\ndef read():\n    return json.loads('{')\n")
    (research / "main.py").write_text("import helper\n\nprint('Traceback')\nhelper.read()\n")
    found = original(tmp_path, research)
    done = run(found, tmp_path / "area")
    said = failed_at(found, tmp_path / "area", done.stdout + done.stderr)
    assert said is not None
    assert said.startswith("helper.py:5: json.decoder.JSONDecodeError: Expecting property name")


def test_a_form_that_no_rule_converts_is_named_where_it_fails(research: Path, tmp_path: Path) -> None:
    (research / "main.py").write_text("x = 1\nfrom scipy.misc import imread\n")
    found = original(tmp_path, research)
    done = run(found, tmp_path / "area")
    said = failed_at(found, tmp_path / "area", done.stderr)
    assert said is not None
    assert said.startswith("main.py:2: ImportError: cannot import name 'imread'")
    assert said.endswith("scipy.misc.imread is gone, and nothing is the same")


def test_a_failure_in_the_course_of_another_is_the_one_that_is_named(research: Path, tmp_path: Path) -> None:
    (research / "main.py").write_text("try:\n    1 / 0\nexcept ZeroDivisionError:\n    [][1]\n")
    found = original(tmp_path, research)
    done = run(found, tmp_path / "area")
    assert (
        failed_at(found, tmp_path / "area", done.stderr) == "main.py:4: IndexError: list index out of range"
    )


def test_a_failure_outside_of_the_program_has_no_place(research: Path, tmp_path: Path) -> None:
    assert failed_at(original(tmp_path, research), tmp_path / "area", "Killed\n") is None


def test_cells_are_modernised_and_their_failures_have_their_places(tmp_path: Path) -> None:
    cells = ["import numpy as np", "%time x = np.Inf\nprint(x)\n\nprint(q_1)"]
    source = written(tmp_path / "study.ipynb", [code(x) for x in cells])
    found = original(tmp_path, source, "study.ipynb")
    done = run(found, tmp_path / "area")
    assert done.stdout == "inf\n"
    said = failed_at(found, tmp_path / "area", done.stderr)
    assert said == "study.ipynb[cell 2]:4: NameError: name 'q_1' is not defined"
    assert found.modernised == ("study.ipynb[cell 2]:1: np.Inf -> np.inf",)


def test_a_verdict_says_what_was_modernised() -> None:
    found = to_json(Verdict("equal", "all bits", modernised=("a.py:1: np.Inf -> np.inf",)))
    assert found["modernised"] == ("a.py:1: np.Inf -> np.inf",)
