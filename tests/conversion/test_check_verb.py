"""`bessemer check`: which programs are clean, what is said of the others, and with which exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bessemer.cli import entry
from bessemer.conversion import convert
from bessemer.conversion.checking import check

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CASES = sorted(HERE.glob("cases/*/train.py"))
PROGRAMS = sorted((ROOT / "tests" / "programs").glob("*/pyproject.toml"))

LOSING = """
def train(run, settings):
    loader = run.loader(settings.data)
    total = 0.0
    for epoch in run.epochs(3):
        for i, x in enumerate(loader):
            total += x.sum()
    print(total)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "losing.py").write_text(LOSING)
    return tmp_path


@pytest.mark.parametrize(
    "source", [ROOT / "src" / "digits", *CASES], ids=lambda x: x.parent.name if x.suffix else x.name
)
def test_what_the_converter_writes_loses_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "converted"
    convert(source, out)
    checked = check(out)
    assert checked.findings == ()
    assert checked.num_loops > 0


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda x: x.parent.name)
def test_programs_that_survive_the_drill_are_clean(file: Path) -> None:
    checked = check(file.parent)
    assert checked.findings == ()
    assert checked.num_loops > 0


@pytest.mark.parametrize(
    ("kept", "plain", "name"),
    [
        ("totals = run.totals(test_loss=0, correct=0)", "totals = Sums()", "totals.test_loss"),
        ("run.track(model=model, optimizer=optimizer, scheduler=scheduler)", "", "optimizer"),
        ("train_loader.enumerate()", "enumerate(train_loader)", "enumerate(train_loader)"),
    ],
)
def test_a_converted_project_that_is_changed_by_hand_is_not_clean(
    kept: str, plain: str, name: str, tmp_path: Path
) -> None:
    out = tmp_path / "digits"
    convert(ROOT / "src" / "digits", out)
    for file in (out / "digits" / "training").glob("*.py"):
        file.write_text(file.read_text().replace(kept, plain))
    assert name in {x.name for x in check(out).findings}


def test_findings_end_with_status_1_and_name_file_line_reason_and_remedy(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry(["check", "losing.py"]) == 1
    said = capsys.readouterr().out
    assert "losing.py:7: loses: total lives on" in said
    assert "to do: totals = run.totals(total=0.0)" in said
    assert "losing.py:6: warning: enumerate(loader)" in said
    assert "1 finding, 1 warning: 2 loops checked" in said


def test_a_clean_program_ends_with_status_0(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "clean.py").write_text("def train(run, loader):\n    for x in loader:\n        print(x)\n")
    assert entry(["check", "clean.py"]) == 0
    assert capsys.readouterr().out == "nothing is lost: 1 loop checked\n"


def test_a_warning_alone_ends_with_status_0(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "warned.py").write_text(
        "def train(run, loader):\n    for i, x in enumerate(loader):\n        print(i)\n"
    )
    assert entry(["check", "warned.py"]) == 0
    assert "nothing is lost, 1 warning: 1 loop checked" in capsys.readouterr().out


def test_findings_are_given_to_other_programs_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry(["check", "losing.py", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["loses"] is True
    assert said["num_loops"] == 2
    assert [(x["rule"], x["where"]) for x in said["findings"]] == [
        ("counting", "losing.py:6"),
        ("kept", "losing.py:7"),
    ]


def test_a_project_is_found_by_its_name_and_its_jobs_are_left_out(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = here / "projects" / "waves"
    (root / "waves").mkdir(parents=True)
    (root / "pyproject.toml").write_text(
        '[tool.bessemer]\nname = "waves"\nentry = "waves.main:train"\nsettings = "waves.main:S"\n'
    )
    (root / "other.py").write_text(LOSING)
    (root / "waves" / "__init__.py").write_text('"""Waves."""\n')
    (root / "waves" / "data.py").write_text('def make(run):\n    """Make."""\n    return run.loader(1), 2\n')
    (root / "waves" / "main.py").write_text(
        "from waves.data import make as a\nfrom .data import make as b\n"
        "def train(run, settings):\n    first, _ = a(run)\n    second, _ = b(run)\n    n = m = 0\n"
        "    for x in first:\n        n += x\n    for x in second:\n        m += x\n    print(n, m)\n"
    )
    assert entry(["check", "waves"]) == 1
    said = capsys.readouterr().out
    assert "projects/waves/waves/main.py:8: loses: n " in said
    assert "projects/waves/waves/main.py:10: loses: m " in said
    assert "2 findings: 2 loops checked" in said


def test_what_does_not_exist_and_what_does_not_parse_is_a_users_mistake(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry(["check", "nothing"]) == 2
    (here / "broken.py").write_text("def train(:\n")
    assert entry(["check", "broken.py"]) == 2
    assert "broken.py:1" in capsys.readouterr().err
