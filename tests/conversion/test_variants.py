"""Programs of other shapes: what each becomes, line by line where it matters."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from conversion.converted_projects import CASES, Project

NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())
LINES = {
    "click_options": {
        "training/trainer": [
            "def main(run: Run, settings: Settings) -> None:",
            "lr = settings.lr",
            "for epoch in run.epochs(settings.rounds):",
            "print(settings.note, lr)",
        ],
        "config/settings": [
            'act: Literal["tanh", "relu"] = Field("tanh", description="What is between the layers.")',
            'note: str | None = Field(None, description="Printed at the end.")',
            'shuffle: bool = Field(True, description="Mix the points.")',
        ],
    },
    "config_objects": {
        "training/trainer": [
            '"lr": settings.lr,  # how fast it learns',
            '"optim": {"momentum": settings.momentum, "nesterov": settings.nesterov},',
            "ModelConfig(hidden=settings.hidden, dropout=settings.dropout, act=settings.act)",
            "for epoch in run.epochs(settings.epochs):",
        ],
        "config/settings": [
            'hidden: int = Field(12, description="hidden of ModelConfig")',
            'epochs: int = Field(2, description="passes")',
        ],
    },
    "cross_validation": {
        "training/trainer": [
            "def fit(run: Run, settings: Settings, model, loader, rate):",
            "last = run.last(mean=None)",
            "run.track(model=model, optimizer=optimizer)",
            "for epoch in run.epochs(settings.EPOCHS):",
            "last.mean = totals.total / len(loader.dataset)",
            "carry = run.carry(errors=errors, losses=[])",
            "for fold in range(FOLDS):",
            "carry.errors[fold] = judge(run, model, test_loader)",
        ],
    },
    "configurator": {
        "training/trainer": [
            "def get_lr(settings: Settings, step):",
            "batch_size = settings.batch_size  # pairs of a step",
            "for step in run.epochs(settings.max_iters):",
            '"ring_size": settings.ring_size,',
        ],
        "config/settings": ['max_iters: int = Field(2 * 3, description="steps")'],
    },
    "constants": {
        "training/trainer": [
            "batch_size=settings.BATCH_SIZE, shuffle=True)",
            "for epoch in run.epochs(1, settings.epochs + 1):",
            "NUM_STEPS = 64 // settings.BATCH_SIZE",
            "run.save(model.state_dict(), settings.SAVE_PATH)",
        ],
        "config/settings": [
            'BATCH_SIZE: int = Field(16, description="points of a batch")',
            'SAVE_PATH: str = Field("curve.pt", description="where the weights go")',
            'clip: float = Field(0.5, description="bound of the gradients")',
        ],
    },
    "plain_arguments": {
        "training/trainer": ["for step in run.epochs(settings.steps):"],
        "config/settings": [
            'steps: int = Field(description="how long it trains")',
            'lr: float = Field(0.05, description="argument 2 of the command line")',
        ],
    },
    "yaml_options": {
        "training/trainer": [
            '"data": {"count": settings.count, "noise": settings.noise},',
            '"layers": [4, 4],',
        ],
        "config/settings": ['noise: float = Field(0.01, description="data.noise of options.yaml")'],
    },
    "gan": {
        "training/trainer": [
            "def main(run: Run, opt: Settings) -> None:",
            "run.track(forger=forger, judge=judge, forger_step=forger_step, judge_step=judge_step)",
            "for i, (real,) in points.enumerate():",
            '{"train/loss_judge": loss_judge.detach(), "train/loss_forger": loss_forger.detach()}',
            'run.save(forger.state_dict(), "forger_%d.pt" % epoch)',
        ],
        "models/architectures": ["class Forger", "class Judge"],
    },
    "batch_scheduler": {
        "training/trainer": [
            "def fit(run: Run, net, loader, optimizer, schedule, epochs):",
            "run.track(net=net, optimizer=optimizer, schedule=schedule)",
            "for epoch in run.epochs(epochs):",
            "for x, y in loader:",
            "def main(run: Run, options: Settings) -> None:",
            "net = make_net(run)",
        ],
        "models/architectures": ["return run.place(nn.Sequential("],
        "config/settings": [
            'betas: tuple[float, ...] = Field((0.9, 0.99), description="of AdamW")',
            'norm: Literal["l1", "l2"] = Field("l2", description="which norm")',
        ],
    },
    "no_options": {
        "training/trainer": [
            "# Copyright of somebody, who wants to be named.",
            "def main(run: Run, settings: Settings) -> None:",
            "lr=settings.RATE)",
            "for step in run.epochs(settings.STEPS):",
            'run.log({"train/loss": loss.item()})',
        ],
    },
    "mean_accumulators": {
        "training/trainer": [
            "totals = run.totals(running=0.0, seen=0)",
            "carry = run.carry(num_batches=0)",
            "totals.running += loss.item() * inputs.size(0)",
            "carry.num_batches += 1",
            'run.log({"train/loss": totals.running / totals.seen})',
            'run.log({"val/loss": val_loss, "val/accuracy": val_accuracy})',
            'run.log({"test/loss": test_loss, "test/accuracy": test_accuracy})',
        ],
        "training/evaluation": [
            "@torch.no_grad()",
            "totals = run.totals(losses=0.0, hits=0.0)",
            "totals.losses += criterion(scores, labels).item() * run.share",
            "totals.hits += accuracy(scores, labels) * run.share",
            "return totals.losses / len(loader), totals.hits / len(loader)",
        ],
        "utils/metrics": ["def accuracy(scores, labels):"],
    },
    "best_model": {
        "training/trainer": [
            "carry = run.carry(best_acc=0.0, history=[])",
            "carry.history.append(acc)",
            "if acc > carry.best_acc:",
            'net.load_state_dict(torch.load(run.saved("best.pt")))',
            'print("data:", args.data_arg)',
            "net.load_state_dict(torch.load(args.resume))",
        ],
        "training/evaluation": ["totals = run.totals(correct=0, total=0)"],
        "config/settings": [
            'data_arg: str = Field("parity", description="name of the data")',
            'resume: str | None = Field(None, description="weights to begin with")',
        ],
    },
    "module_level": {
        "training/trainer": [
            "def train(run: Run, model, train_loader, optimizer, device, epoch):",
            "loss = loss_of(model, device, x, y)",
            "def main(run: Run, args: Settings) -> None:",
            "width = 2 * args.batch_size",
            "model = run.place(Net(width, device))",
            "for epoch in run.epochs(args.epochs):",
            "train(run, model, train_loader, optimizer, device, epoch)",
        ],
        "training/evaluation": ["def test(run: Run, model, test_loader, device):"],
        "models/architectures": [
            "def __init__(self, width, device):",
            "self.device = device",
            "return self.out(torch.tanh(self.hidden(x.to(self.device)))).squeeze(1)",
        ],
        "models/losses": ["def loss_of(model, device, x, y):"],
    },
    "several_files": {
        "training/trainer": ["lr=settings.RATE)", "model = run.place(Line())"],
        "training/evaluation": [
            "def accuracy(run: Run, model, loader):",
            "totals.accuracy += helper_accuracy(model(x), y)",
        ],
        "models/architectures": ["class Line(nn.Module):"],
        "data/datasets": ["class Points(Dataset):", "self.y = 2 * self.x * data_accuracy() + 1"],
        "utils/metrics": ["def helper_accuracy(output, target):"],
    },
    "guard_body": {
        "training/trainer": [
            "def train(run: Run, args: Settings, model, loader, optimizer):",
            "for step, (x, y) in loader.enumerate(start=1):",
            "def main(run: Run, args: Settings) -> None:",
            "model = run.place(model)",
            "train(run, args, model, loader, optimizer)",
        ],
    },
    "old_style": {
        "training/trainer": [
            "totals.train_loss += loss.item() * run.share",
            "x, y = Variable(on_device(run, cuda, x)), Variable(on_device(run, cuda, y))",
            'sorter = torch.load(run.saved("sorter.pt"), weights_only=False)',
        ],
        "training/evaluation": ["totals.test_loss += F.nll_loss(scores, y, size_average=False).item()"],
        "utils/metrics": ["return x.to(run.device, non_blocking=True) if cuda else x"],
    },
    "early_stopping": {
        "training/trainer": [
            "best_state = copy.deepcopy(model.state_dict())",
            'carry = run.carry(best_loss=float("inf"), best_state=best_state, bad_epochs=0)',
            "if carry.bad_epochs >= settings.PATIENCE:",
            "model.load_state_dict(carry.best_state)",
            'run.log({"val/loss": val_loss})',
        ],
        "training/evaluation": ["totals = run.totals(total=0.0)"],
    },
    "sum_loss": {
        "models/losses": ["def objective(rebuilt, x, mu, logvar):"],
        "training/trainer": [
            "totals = run.totals(train_loss=0)",
            "totals.train_loss += loss.item()",
            'run.log({"train/loss": loss.item() / len(data)})',
            'run.save(sample, f"sample_{epoch}.pt")',
        ],
        "training/evaluation": [
            "totals.test_loss += objective(rebuilt, data, mu, logvar).item()",
            'run.log({"test/loss": totals.test_loss})',
        ],
    },
    "single_function": {
        "data/loaders": ["batch_size=12, shard=False)"],
        "training/trainer": [
            "device = run.device",
            "model = run.place(model)",
            "carry = run.carry(global_step=0)",
            "totals = run.totals(total_loss=0)",
            "totals.total_loss += loss.item() * run.share",
            "carry.global_step += 1",
            "eval_carry = run.carry(psnr=0)",
            'run.log({"test/psnr": eval_carry.psnr / len(test_loader)})',
        ],
    },
    "closure": {
        "training/trainer": [
            "for i in run.epochs(5):",
            "loss = optimizer.step(closure)",
            'run.log({"train/loss": loss.item()})',
        ],
    },
    "running_window": {
        "training/trainer": [
            "carry = run.carry(running_loss=0.0)",
            "carry.running_loss += loss.item()",
            'run.log({"train/loss": carry.running_loss / 10})',
            "carry.running_loss = 0.0",
        ],
    },
    "odd_options": {
        "config/settings": [
            'folder: Path = Field(description="where things are")',
            'json_arg: str = Field("x.json", description="a name that the settings have already")',
            'steps: int = Field(description="how many; 100% of them")',
            'scale: float = Field(2.0, description="no type of its own")',
            'bias: bool = Field(True, description="leave out the bias")',
            'sizes: tuple[int, ...] = Field((), description="any number of sizes")',
            'level: Literal[1, 2, 3] = Field(2, description="option --level")',
            'default_factory=lambda: cast("int", os.cpu_count())',
            'seed: int | None = Field(None, description="none: chosen by chance")',
        ],
        "training/trainer": ["print(args.json_arg, args.folder)"],
    },
}
SETTINGS = {
    "gan": {"loss_reduction": "mean", "num_workers": 2, "best": ("train/loss_judge", "min")},
    "no_options": {"loss_reduction": "mean", "num_workers": 1, "best": ("train/loss", "min")},
    "best_model": {"loss_reduction": "mean", "num_workers": 2, "best": ("val/accuracy", "max")},
    "sum_loss": {"loss_reduction": "sum", "num_workers": 2, "best": ("test/loss", "min")},
    "mean_accumulators": {"loss_reduction": "mean", "num_workers": 2, "best": ("val/loss", "min")},
}
QUESTIONS = {
    "running_window": "running_loss is carried from batch to batch",
    "no_options": "moves nothing to a device",
}


def test_every_case_is_looked_at() -> None:
    assert set(LINES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_becomes_what_it_should(converted: Callable[[str], Project], name: str) -> None:
    project = converted(name)
    missing = {
        room: [line for line in lines if line not in project.room(room)]
        for room, lines in LINES[name].items()
    }
    assert not any(missing.values()), missing


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_follow_from_the_program(converted: Callable[[str], Project], name: str) -> None:
    settings = tomllib.loads((converted(name).root / "settings.toml").read_text())
    expected = SETTINGS[name]
    assert settings["scaling"]["num_workers"] == expected["num_workers"]
    assert settings["scaling"]["loss_reduction"] == expected["loss_reduction"]
    checkpoint = settings["checkpoint"]
    assert (checkpoint["best_metric"], checkpoint["best_mode"]) == expected["best"]


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_only_the_author_knows_is_asked(converted: Callable[[str], Project], name: str) -> None:
    asked = [question.reason for question in converted(name).conversion.plan.questions]
    assert any(QUESTIONS[name] in reason for reason in asked)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_emitted_is_clean_python(converted: Callable[[str], Project], name: str) -> None:
    project = converted(name)
    for path in project.python():
        ast.parse(path.read_text(), str(path))
    ruff = Path(sys.executable).parent / "ruff"
    command = [str(ruff), "check", "--no-cache", "--select", "F,I", str(project.root)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_rooms_import_lower_rooms_only(converted: Callable[[str], Project], name: str) -> None:
    from bessemer.conversion.roles import ROOMS

    project = converted(name)
    for height, room in enumerate(ROOMS):
        for node in ast.walk(ast.parse(project.room(room))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(project.package.name):
                target = str(node.module).partition(".")[2].replace(".", "/")
                assert target == "config/settings" or ROOMS.index(target) < height


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_counts_every_line_it_changes(converted: Callable[[str], Project], name: str) -> None:
    plan = json.loads(converted(name).conversion.plan.to_json())
    lines = (CASES / name / "train.py").read_text().splitlines()
    for change in plan["rewrites"]:
        line = int(change["where"].rpartition(":")[2])
        assert 0 < line <= len(lines)
        assert change["reason"]
