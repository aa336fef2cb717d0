"""An emitted project is clean to others' eyes: deptry, ruff, mypy; its Makefile and papers hold."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bessemer.conversion import convert
from bessemer.conversion.plan import Rewrite
from bessemer.conversion.writing.kept_style import accept_kept_style
from bessemer.conversion.writing.papers import changes
from conversion.converted_projects import CASES, DIGITS, ROOT, Project

BIN = Path(sys.executable).parent
SOURCES = [ROOT / "src" / "spirals.ipynb", ROOT / "src" / "charlm", DIGITS, *sorted(CASES.glob("*"))]
# Runs what a module does when it is imported, and nothing else, may stand at its top level.
_HARMLESS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.Try)


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Project]:
    made: dict[Path, Project] = {}

    def project(source: Path) -> Project:
        if source not in made:
            made[source] = Project(convert(source, tmp_path_factory.mktemp("emitted") / source.stem))
        return made[source]

    return project


def run(project: Project, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    # What the tests themselves were made with is not for the project's own Makefile.
    inherited = {name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS")}
    environment = {**inherited, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}
    return subprocess.run(
        command, cwd=project.root, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda x: x.stem)
def test_no_dependency_is_missing_and_none_is_unused(
    source: Path, emitted: Callable[[Path], Project]
) -> None:
    done = run(emitted(source), str(BIN / "deptry"), ".")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda x: x.stem)
def test_ruff_finds_nothing(source: Path, emitted: Callable[[Path], Project]) -> None:
    project = emitted(source)
    for command in (["check", "--no-cache", "."], ["format", "--no-cache", "--check", "."]):
        done = run(project, str(BIN / "ruff"), *command)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("source", SOURCES, ids=lambda x: x.stem)
def test_importing_runs_nothing(source: Path, emitted: Callable[[Path], Project]) -> None:
    project = emitted(source)
    for path in project.package.rglob("*.py"):
        body = ast.parse(path.read_text()).body
        assert ast.get_docstring(ast.Module(body, []))
        for node in body[1:]:
            assert isinstance(node, _HARMLESS), f"{path}:{node.lineno}"
            values = [node.value] if isinstance(node, ast.Assign | ast.AnnAssign) and node.value else []
            assert not [x for value in values for x in ast.walk(value) if isinstance(x, ast.Call)]


def test_the_types_of_settings_are_right(emitted: Callable[[Path], Project], tmp_path: Path) -> None:
    for source in (DIGITS, CASES / "odd_options"):
        project = emitted(source)
        config = tmp_path / "mypy.ini"
        rules = "strict = True\nwarn_redundant_casts = False\nfollow_imports = silent\n"
        config.write_text(f"[mypy]\nplugins = pydantic.mypy\n{rules}")
        command = ("-m", "mypy", "--config-file", str(config), "--cache-dir", str(tmp_path / "cache"))
        file = f"{project.conversion.package}/config/settings.py"
        done = run(project, sys.executable, *command, file)
        assert done.returncode == 0, done.stdout


def test_make_lists_its_targets_and_says_what_it_lacks(emitted: Callable[[Path], Project]) -> None:
    project = emitted(DIGITS)
    listed = run(project, "make", "help").stdout
    targets = re.findall(r"^([a-z-]+):.*## ", (project.root / "Makefile").read_text(), re.MULTILINE)
    assert {"install", "train", "test", "lint", "verify", "check", "download-data", "mlflow"} <= set(targets)
    assert all(f"  {target} " in listed for target in targets)
    done = run(project, "make", "train", "BESSEMER=/nowhere/bessemer")
    assert done.returncode == 2
    assert "/nowhere/bessemer is not there: make install" in done.stderr


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("lint", "All checks passed"),
        ("check", "nothing is lost"),
        ("config", "batch_size"),
        ("download-data", "download of digits is done: 1 file fetched"),
        ("preprocess-data", "DigitsDataset: made; samples: all 360"),
        ("validate-data", "1,437 samples"),
    ],
)
def test_a_target_of_make_does_what_it_says(
    emitted: Callable[[Path], Project], target: str, said: str
) -> None:
    given = (f"BESSEMER={BIN / 'bessemer'}", f"PYTHON={sys.executable}")
    done = run(emitted(DIGITS), "make", target, *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout


def test_the_projects_own_tests_pass_and_say_what_was_not_tried(emitted: Callable[[Path], Project]) -> None:
    project = emitted(ROOT / "src" / "charlm")
    given = (f"BESSEMER={BIN / 'bessemer'}", f"PYTHON={sys.executable}")
    done = run(project, "make", "test", *given, "ARGS=-rs -p no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "nothing is recorded yet: make verify" in done.stdout
    assert "1 skipped" in done.stdout


def test_the_projects_own_tests_fail_when_its_training_is_broken(tmp_path: Path) -> None:
    project = Project(convert(CASES / "single_function", tmp_path / "broken"))
    trainer = project.package / "training" / "trainer.py"
    code = trainer.read_text()
    assert ".step()" in code
    trainer.write_text(code.replace("optimizer.step()", "optimizer.zero_grad()"))
    done = run(project, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 1, done.stdout
    assert "test_two_steps_change_the_weights" in done.stdout


def test_readme_names_every_setting_and_every_target(emitted: Callable[[Path], Project]) -> None:
    project = emitted(DIGITS)
    text = (project.root / "README.md").read_text()
    for option in json.loads((project.root / "conversion.json").read_text())["options"]:
        assert f"| `--{option['field'].replace('_', '-')}` | `{option['annotation']}` |" in text
    for line in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE):
        assert f"\n{line}:" in (project.root / "Makefile").read_text()


def test_conversion_json_has_what_the_report_says_it_has(emitted: Callable[[Path], Project]) -> None:
    project = emitted(ROOT / "src" / "charlm")
    data = json.loads((project.root / "conversion.json").read_text())
    report = (project.root / "CONVERSION.md").read_text().partition("## conversion.json")[2]
    documented = {
        x for row in re.findall(r"^\| (`.*?) \|", report, re.MULTILINE) for x in re.findall(r"`(\w+)`", row)
    }
    assert documented == set(data)


def test_rewrites_of_one_place_are_shown_once_and_shortly() -> None:
    loop = "\n".join(["while True:", *(f"    line({x})" for x in range(30))])
    same = [Rewrite("a.py:1", "carry", loop, "carry = ...", f"kept over restarts: {x}") for x in "xy"]
    (shown,) = changes(same)
    assert shown.reason == "kept over restarts: x, y"
    assert shown.before.splitlines() == [
        *("while True:", "    line(0)", "    line(1)", "... (27 lines)", "    line(29)"),
    ]
    assert len(changes([*same, Rewrite("a.py:2", "carry", loop, "", "other")])) == 2


HAND_WRITTEN = """
import no_such_package
import torch


def size(l):
    unused = len(l)
    return no_such_package.size(l)


def main():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(size([2])):
        optimizer.zero_grad()
        model(torch.zeros(1, 2)).sum().backward()
        optimizer.step()


if __name__ == "__main__":
    main()
"""


def test_style_that_was_kept_and_versions_that_were_asked_for_are_said_by_name(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "train.py").write_text(HAND_WRITTEN)
    (source / "requirements.txt").write_text("torch<1\nno-such-package==3.1\n")
    project = Project(convert(source, tmp_path / "kept"))
    table = tomllib.loads((project.root / "pyproject.toml").read_text())
    assert table["tool"]["ruff"]["lint"]["ignore"] == ["E741", "F841"]
    assert "no_such_package==3.1" in table["project"]["dependencies"]
    assert run(project, str(BIN / "ruff"), "check", "--no-cache", ".").returncode == 0
    report = (project.root / "CONVERSION.md").read_text()
    assert "`no_such_package` is not installed here: `==3.1`, as requirements.txt:2 says" in report
    assert "requirements.txt:1 asks for `<1`" in report


def test_a_name_that_is_not_there_is_never_taken_for_style(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.ruff.lint]\nselect = ["E", "F"]\nignore = []\n')
    (tmp_path / "a.py").write_text("def f(l):\n    return not_there(l)\n")
    accept_kept_style(tmp_path)
    lint = tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert lint["ignore"] == ["E741"]
