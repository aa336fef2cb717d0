"""The program of several files without a loader, from research code to a project for one worker."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bessemer.conversion import convert
from bessemer.conversion.checking import check
from conversion.converted_projects import ROOT, Project

CHARLM = ROOT / "src" / "charlm"
ROOMS = {
    "config/settings": [
        'max_iters: int = Field(300, description="optimizer steps")',
        'lr: float = Field(3e-3, description="highest learning rate")',
    ],
    "data/preprocessing": ["def make_text(lines, seed):", "def prepare(folder, lines=2000, seed=11):"],
    "data/loaders": ["def get_batch(data, batch_size, block_size, device):"],
    "models/architectures": ["class Block(nn.Module):", "class CharLM(nn.Module):"],
    "training/evaluation": ["@torch.no_grad()\ndef estimate_loss(model, data, args, device):"],
    "training/trainer": [
        "def get_lr(it, args):",
        "model = run.place(model)",
        "run.track(model=model, optimizer=optimizer)",
        "for _ in run.steps():",
        'group["lr"] = lr',
        "if val_loss < carry.best_val_loss:",
        "run.save(checkpoint, path)",
        "carry.x, carry.y = get_batch(",
        "carry.iter_num += 1",
    ],
}


@pytest.fixture(scope="module")
def charlm(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(convert(CHARLM, tmp_path_factory.mktemp("projects") / "charlm"))


@pytest.mark.parametrize("room", ROOMS)
def test_each_definition_of_several_files_is_in_its_room(charlm: Project, room: str) -> None:
    code = charlm.room(room)
    assert not [line for line in ROOMS[room] if line not in code]


def test_what_draws_its_own_batches_is_for_one_worker_and_says_why(charlm: Project) -> None:
    plan = charlm.conversion.plan
    assert plan.num_workers == 1
    assert "iterates no loader" in plan.num_workers_reason
    assert plan.num_workers_reason in (charlm.root / "settings.toml").read_text()


def test_a_restart_of_it_loses_nothing(charlm: Project) -> None:
    report = check(charlm.root)
    assert report.num_loops == 1
    assert not report.findings


def test_its_metrics_have_names(charlm: Project) -> None:
    calls = [x for x in ast.walk(ast.parse(charlm.room("training/trainer"))) if isinstance(x, ast.Call)]
    logged = [x.args[0] for x in calls if ast.unparse(x.func) == "run.log"]
    names = {ast.literal_eval(key) for x in logged if isinstance(x, ast.Dict) for key in x.keys if key}
    assert {"train/loss", "val/loss", "train/lr", "val/best_loss"} <= names


def test_a_file_that_training_does_not_use_is_named_as_left(charlm: Project) -> None:
    left = json.loads((charlm.root / "conversion.json").read_text())["left"]
    assert [x["path"] for x in left] == ["sample.py"]
    assert "`sample.py`" in (charlm.root / "CONVERSION.md").read_text()


def test_the_research_code_trains_goes_on_from_its_checkpoint_and_writes(tmp_path: Path) -> None:
    def run(script: str, *arguments: str) -> str:
        command = [sys.executable, "-B", str(CHARLM / script), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    small = ("--width", "16", "--depth", "1", "--eval-interval", "5", "--eval-iters", "2")
    first = run("train.py", "--max-iters", "10", *small)
    assert "step 10: train loss" in first
    again = run("train.py", "--max-iters", "15", "--resume", *small)
    assert "going on from" in again
    assert "step 0:" not in again
    assert len(run("sample.py", "--length", "40").strip("\n")) > 20
    assert sum(x.stat().st_size for x in (tmp_path / "charlm-data").iterdir()) < 200_000
