"""With one worker, a project prints what its research code prints."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bessemer.conversion import sources
from conversion.converted_projects import CASES, DIGITS, Project

# One fixture runs every program.
pytestmark = pytest.mark.timeout(400)

ARGUMENTS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "odd_options": (["here", "--steps", "2", "--no-bias"], {"folder": "here", "steps": 2, "bias": False}),
    "digits": (["--epochs", "1", "--save-model"], {"epochs": 1, "save_model": True}),
    "best_model": (["--epochs", "3"], {"epochs": 3}),
    "click_options": (
        ["--rounds", "3", "-b", "10", "--no-shuffle", "--wide", "--act", "relu", "--note", "done"],
        {"rounds": 3, "batch_size": 10, "shuffle": False, "wide": True, "act": "relu", "note": "done"},
    ),
    "configurator": (
        ["small.py", "--batch_size=5", "--decay_lr=False", "--max_iters=4"],
        {"ring_size": 5, "learning_rate": 0.005, "batch_size": 5, "decay_lr": False, "max_iters": 4},
    ),
    "plain_arguments": (["4"], {"steps": 4}),
}
NEEDED = {"batch_scheduler": "tqdm"}
NAMES = ["digits", *sorted(path.name for path in CASES.iterdir() if path.is_dir())]
RUNNABLE = [name for name in NAMES if importlib.util.find_spec(NEEDED.get(name, "sys"))]


def runnable(program: Path, folder: Path) -> Path:
    """Return a program's script; of one with old forms that fail today, a modernised copy."""
    script = program / "train.py"
    source = sources.parse(script, program)
    if source.modern.changes:
        script = folder / "modernised.py"
        script.write_text(sources.as_script(source))
    return script


@pytest.fixture(scope="module")
def outputs(
    digits: Project, converted: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Run all programs in one process; starting torch is what takes the time."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("output")
    jobs = []
    for name in RUNNABLE:
        project = digits if name == "digits" else converted(name)
        (folder / name).mkdir()
        for file in (CASES / name).glob("*.*") if name != "digits" else ():
            if file.name != "train.py":
                shutil.copy(file, folder / name)  # what it reads from the folder that it is run in
        table = tomllib.loads((project.root / "pyproject.toml").read_text())["tool"]["bessemer"]
        arguments, settings = ARGUMENTS.get(name, ([], {}))
        jobs.append(
            {
                "name": name,
                "script": str(runnable(DIGITS if name == "digits" else CASES / name, folder / name)),
                "project": str(project.root),
                "folder": str(folder / name),
                "entry": table["entry"],
                "arguments": arguments,
                "settings": settings,
            }
        )
    (folder / "jobs.json").write_text(json.dumps(jobs))
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("same_output.py")), "jobs.json", "results.json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return {job["name"]: job for job in json.loads((folder / "results.json").read_text())}


@pytest.mark.parametrize("name", RUNNABLE)
def test_it_prints_the_same(outputs: dict[str, dict[str, Any]], name: str) -> None:
    before, after = outputs[name]["before"], outputs[name]["after"]
    # Only the device is the run's to choose, and options are shown as settings.
    assert after == before


@pytest.mark.parametrize(
    "name", [name for name in RUNNABLE if name not in ("odd_options", "batch_scheduler")]
)
def test_every_program_that_prints_metrics_logs_them(outputs: dict[str, dict[str, Any]], name: str) -> None:
    assert outputs[name]["logged"]
    assert outputs[name]["tracked"]
