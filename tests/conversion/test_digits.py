"""The first program, from research code to a project."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bessemer.conversion import is_current, source_fingerprint
from conversion.converted_projects import DIGITS, Project

ROOMS = {
    "config/settings": ["class Settings(bessemer.Settings):"],
    "data/preprocessing": ["def load_scans(folder):", "scikit-learn's own copy"],
    "data/datasets": [
        "PIXEL_MAX = 16.0",
        '"""Move the picture by up to `pixels` in each direction."""',
        "class DigitsDataset(Dataset):",
        "# one channel in front, as Conv2d wants it",
    ],
    "data/loaders": [
        "def build_loaders(run: Run, args: Settings, use_cuda):",
        'train_kwargs = {"batch_size": args.batch_size, "shuffle": True}',
        "train_loader = run.loader(train_set, **train_kwargs)",
        "return train_loader, test_loader",
    ],
    "models/architectures": ["NUM_CLASSES = 10", "class Net(nn.Module):"],
    "training/evaluation": [
        "def test(run: Run, model, device, test_loader):",
        "totals = run.totals(test_loss=0, correct=0)",
        "for data, target in test_loader:",
        "totals.correct += pred.eq(target.view_as(pred)).sum().item()",
        "# sum up batch loss",
        '{"test/loss": totals.test_loss, "test/accuracy": totals.correct / len(test_loader.dataset)}',
    ],
    "training/trainer": [
        "def train(run: Run, args, model, device, train_loader, optimizer, epoch):",
        "for batch_idx, (data, target) in train_loader.enumerate():",
        'run.log({"train/loss": loss.detach()})',
        "def main(run: Run, args: Settings) -> None:",
        "device = run.device",
        "train_loader, test_loader = build_loaders(run, args, use_cuda)",
        "model = run.place(Net(args.width, args.dropout))",
        "run.track(model=model, optimizer=optimizer, scheduler=scheduler)",
        "for epoch in run.epochs(1, args.epochs + 1):",
        "train(run, args, model, device, train_loader, optimizer, epoch)",
        "test(run, model, device, test_loader)",
        'run.save(model.state_dict(), "digits_cnn.pt")',
    ],
}
EMPTY = ["models/losses", "utils/metrics"]


@pytest.mark.parametrize("room", ROOMS)
def test_each_definition_is_in_its_room(digits: Project, room: str) -> None:
    code = digits.room(room)
    missing = [line for line in ROOMS[room] if line not in code]
    assert not missing


@pytest.mark.parametrize("room", EMPTY)
def test_an_empty_room_says_that_it_is_empty(digits: Project, room: str) -> None:
    module = ast.parse(digits.room(room))
    assert len(module.body) == 1
    assert "The research code defines no" in (ast.get_docstring(module) or "")


def test_nothing_of_argparse_or_dataloader_is_left(digits: Project) -> None:
    code = "\n".join(path.read_text() for path in digits.package.rglob("*.py"))
    assert "argparse" not in code
    assert "DataLoader" not in code


def test_the_loop_is_kept_statement_for_statement(digits: Project) -> None:
    """What is inside the training loop is the research code's, but for the one line that logs."""
    before = ast.parse((DIGITS / "train.py").read_text())
    after = ast.parse(digits.room("training/trainer"))

    def body(tree: ast.Module) -> list[str]:
        train = next(x for x in tree.body if isinstance(x, ast.FunctionDef) and x.name == "train")
        loop = next(x for x in train.body if isinstance(x, ast.For))
        return [ast.unparse(x) for x in loop.body]

    kept = [line for line in body(after) if not line.startswith("run.log(")]
    assert kept == body(before)


def test_settings_have_types_defaults_and_help(digits: Project) -> None:
    code = digits.room("config/settings")
    assert 'batch_size: int = Field(64, description="training batch size")' in code
    assert 'lr: float = Field(1.0, description="learning rate of Adadelta")' in code
    assert 'no_cuda: bool = Field(False, description="train on the CPU")' in code


def test_the_project_says_what_it_is(digits: Project) -> None:
    table = tomllib.loads((digits.root / "pyproject.toml").read_text())["tool"]["bessemer"]
    assert table["entry"] == "digits.training.trainer:main"
    assert table["settings"] == "digits.config.settings:Settings"
    assert table["source_sha256"] == source_fingerprint(DIGITS)
    assert (digits.root / table["source"]).resolve() == DIGITS.resolve()
    settings = tomllib.loads((digits.root / "settings.toml").read_text())
    assert settings["scaling"] == {"num_workers": 2, "loss_reduction": "mean"}
    assert settings["checkpoint"] == {"best_metric": "test/loss", "best_mode": "min"}


def test_the_project_is_current_until_its_source_changes(digits: Project, tmp_path: Path) -> None:
    assert is_current(DIGITS, digits.root)
    changed = tmp_path / "digits"
    changed.mkdir()
    (changed / "train.py").write_text((DIGITS / "train.py").read_text() + "# more\n")
    assert not is_current(changed, digits.root)
    assert not is_current(DIGITS, tmp_path / "nowhere")


def test_the_plan_is_written_for_people_and_for_programs(digits: Project) -> None:
    report = (digits.root / "CONVERSION.md").read_text()
    data = json.loads((digits.root / "conversion.json").read_text())
    for change in data["plan"]["rewrites"]:
        assert f"{change['where']} ({change['kind']})" in report
    for move in data["plan"]["moves"]:
        assert move["name"] in report
    kinds = {change["kind"] for change in data["plan"]["rewrites"]}
    assert kinds == {
        *("device", "epochs", "extraction", "imports", "loader", "logging", "placement"),
        *("run_parameter", "saving", "settings", "totals", "tracking"),
    }


def test_every_file_of_the_house_is_there(digits: Project) -> None:
    expected = {
        *("Makefile", "README.md", "CONVERSION.md", "conversion.json", "pyproject.toml"),
        *("requirements.lock", "settings.toml", "docker/Dockerfile"),
        *("cluster/storage.yaml", "cluster/raycluster.yaml", "cluster/rayjob.yaml"),
        *("jobs/train.py", "jobs/tune.py", "jobs/evaluate.py", "tests/test_project.py"),
    }
    assert expected <= set(digits.conversion.files)
    assert all((digits.root / name).is_file() for name in digits.conversion.files)


def test_converting_twice_gives_the_same_project(digits: Project, tmp_path: Path) -> None:
    from bessemer.conversion import convert

    again = convert(DIGITS, tmp_path / "digits")
    for name in again.files:
        if name not in ("pyproject.toml", "conversion.json", "README.md", "CONVERSION.md", "Makefile"):
            first, second = (digits.root / name).read_bytes(), (again.out / name).read_bytes()
            assert first.replace(b"\n", b"") == second.replace(b"\n", b"") or name.endswith("__init__.py")


def test_the_projects_own_tests_pass(digits: Project) -> None:
    pytest.importorskip("torch")
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=digits.root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
