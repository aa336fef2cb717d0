"""A checkpoint becomes a version with all that belongs to it, or nothing; a gate decides who is champion."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.cli import entry
from bessemer.config.judgement_settings import Evaluation
from bessemer.config.loading import to_toml
from bessemer.config.project import Project, read_project, resolve_function
from bessemer.config.settings import Settings
from bessemer.errors import TrackingError
from bessemer.judgement.making import Judged, make_split
from bessemer.judgement.parts import joined
from bessemer.judgement.registered import as_request
from bessemer.judgement.report import CheckpointUsed
from bessemer.judgement.runs import changed_code
from bessemer.judgement.watching import Watch, Watcher
from bessemer.tracking import create_version, open_run, tracking_uri, versions
from bessemer.tracking.store import in_use
from bessemer.training.checkpoints import CheckpointStore, Saved, comparison
from bessemer.training.identity import identity_of
from bessemer.training.storage import record_run
from runs import run_program

PACKAGE = "judged_by_a_test"
PROGRAM = '''
"""Tells apart what is easy to tell apart."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

def data(num, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num, 3, generator=generator)
    return TensorDataset(x, (x.sum(1) > 0).long())

def train(run, settings):
    torch.manual_seed(0)
    model = run.place(nn.Linear(3, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    train_loader = run.loader(data(32, 0), batch_size=8, shuffle=True)
    test_loader = run.loader(data(40, 1), batch_size=16)
    for _ in run.epochs(2):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        totals = run.totals(loss=0.0)
        with torch.no_grad():
            for x, y in test_loader:
                totals.loss += float(nn.functional.cross_entropy(model(x), y, reduction="sum"))
        run.log({"test/loss": totals.loss / 40})
'''
SETTINGS = """
from pydantic import Field
from bessemer import Settings

class Own(Settings):
    lr: float = Field(0.1, description="Learning rate (1).")
"""


@dataclass(frozen=True)
class Place:
    """A folder with a project and its runs; verbs run in this process, without Ray."""

    folder: Path
    project: Project
    uri: str

    def run(self, *arguments: str) -> int:
        return entry([*arguments])

    def settings(self, **sections: Any) -> Settings:
        base = {
            "data": {"source": "inline"},
            "checkpoint": {"storage_path": str(self.folder / "runs"), "best_metric": "test/loss"},
        }
        return self.project.settings_class().model_validate({**base, **sections})

    def train(self, name: str, lr: float, tracked: bool = True) -> Path:
        run_dir = self.folder / "runs" / "judged" / name
        run_dir.mkdir(parents=True)
        settings = self.settings(lr=lr)
        (run_dir / "settings.toml").write_text(to_toml(settings))
        store = self._store(run_dir)
        run_program(self._program(settings), run_dir, settings, store=store)
        store.close()
        if tracked:
            opened = open_run(self.uri, "judged", name, {}, self.folder / "runs")
            record_run(run_dir, opened)
        return run_dir

    def evaluate(self, run_dir: Path, split: str = "") -> None:
        """What `bessemer evaluate` leaves, without Ray."""
        store = self._store(run_dir)
        saved = store.best()
        assert saved is not None
        settings = self.settings()
        parts = run_dir / "parts"
        parts.mkdir()
        watcher = Watcher(Watch(parts, split, Evaluation(num_bootstrap=50)), 0)
        ran = run_program(
            self._program(settings),
            run_dir,
            settings,
            resume=store.load(saved),
            mode="evaluate",
            observer=watcher,
        )
        store.close()
        used = CheckpointUsed(step=saved.step, sha256=saved.sha256, path=saved.path, choice="best")
        (found,) = joined(parts)
        folder = run_dir / "evaluation" / found.about.split
        folder.mkdir(parents=True)
        judged = Judged(
            "judged", run_dir.name, "", used, ran.metrics, Evaluation(num_bootstrap=50), 0, "same"
        )
        make_split(found, judged, folder)
        shutil.rmtree(parts)

    def _program(self, settings: Settings) -> Any:
        function = resolve_function(self.project.entry, [str(self.project.root)])
        return lambda run: function(run, settings)

    def _store(self, run_dir: Path) -> CheckpointStore:
        return CheckpointStore(str(run_dir / "checkpoints"), 2, comparison("test/loss", "min"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One project, with a bad run and a good one that were judged, and one that is not tracked."""
    folder = tmp_path_factory.mktemp("registry")
    root = folder / "projects" / "judged"
    (root / PACKAGE).mkdir(parents=True)
    (root / PACKAGE / "__init__.py").write_text("")
    (root / PACKAGE / "program.py").write_text(dedent(PROGRAM).lstrip())
    (root / PACKAGE / "config.py").write_text(SETTINGS)
    (root / "pyproject.toml").write_text(
        f'[tool.bessemer]\nname = "judged"\nentry = "{PACKAGE}.program:train"\n'
        f'settings = "{PACKAGE}.config:Own"\n'
    )
    (root / "settings.toml").write_text(
        '[checkpoint]\nbest_metric = "test/loss"\n[data]\nsource = "inline"\n'
        '[registry]\nmetric = "accuracy"\nmode = "max"\n'
    )
    (root / "requirements.lock").write_text("torch==2.13.0\nnumpy==2.0.0\nmlflow==3.17.0\npandas==2.0\n")
    path, modules = list(sys.path), set(sys.modules)
    place = Place(folder, read_project(root), tracking_uri("", folder / "runs"))
    place.evaluate(place.train("bad", 0.0))
    place.evaluate(place.train("good", 0.5))
    place.train("untracked", 0.1, tracked=False)
    yield place
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(PACKAGE):
            del sys.modules[name]


@pytest.fixture
def place(made: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(made.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return made


REGISTER = ("register", "--project", "judged", "--run")
PROMOTE = ("promote", "--project", "judged")


def named(registry: str) -> tuple[str, str]:
    """A registered model of the test's own."""
    return ("--registry.name", registry)


@pytest.mark.filterwarnings("ignore")  # of MLflow and torch, while a graph is exported
def test_a_version_has_all_that_is_needed_to_use_and_to_judge_it(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    import mlflow

    assert place.run(*REGISTER, "good", "--json", *named("whole")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["version"], told["aliases"], told["form"]) == (
        "whole",
        1,
        ["challenger"],
        "pt2",
    )
    (version,) = versions(place.uri, "whole")
    with in_use(place.uri):
        info = mlflow.models.get_model_info("models:/whole@challenger")
        folder = Path(mlflow.artifacts.download_artifacts("models:/whole@challenger"))
    assert info.signature is not None
    assert info.signature.inputs.inputs[0].shape == (-1, 3)
    needs = (folder / "requirements.txt").read_text().split()
    assert sorted(needs) == ["mlflow==3.17.0", "numpy==2.0.0", "torch==2.13.0"]
    assert (folder / "code" / PACKAGE / "program.py").is_file()
    assert (folder / "input_example.json").is_file()
    card = (folder / "extra_files" / "model_card.md").read_text()
    assert card == version.description
    for words in (
        "Tells apart what is easy to tell apart.",
        "40 samples of `TensorDataset`",
        "| accuracy | ",
        "- lr: `0.5`",
        "TODO: what the model must not be used for",
    ):
        assert words in card


@pytest.mark.filterwarnings("ignore")
def test_what_is_registered_predicts_what_the_checkpoint_does(place: Place) -> None:
    import mlflow

    assert place.run(*REGISTER, "good", *named("same")) == 0
    with in_use(place.uri):
        loaded = mlflow.pyfunc.load_model("models:/same@challenger")
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    store = CheckpointStore(str(place.folder / "runs" / "judged" / "good" / "checkpoints"), 2)
    saved = store.best()
    assert saved is not None
    weights = store.load(saved)["tracked"]["model"]
    store.close()
    expected = torch.nn.functional.linear(torch.from_numpy(x), weights["weight"], weights["bias"])
    assert np.array_equal(loaded.predict(x), expected.numpy())


@pytest.mark.filterwarnings("ignore")
def test_a_registered_model_is_judged_in_the_run_that_it_came_from(place: Place) -> None:
    assert place.run(*REGISTER, "good", *named("judged_again")) == 0
    place.train("newer", 0.3)
    for reference in ("judged_again", "judged_again@challenger", "judged_again/1"):
        run, request = as_request(place.settings(), "judged", reference, "", "", False)
        assert (run, request.registered) == ("good", "judged_again/1")
        assert request.weights is not None
        weights = torch.load(request.weights, weights_only=True)
        request.weights.unlink()
        store = CheckpointStore(str(place.folder / "runs" / "judged" / "good" / "checkpoints"), 2)
        saved = store.complete()[-1]
        state = store.load(saved)
        store.close()
        assert request.checkpoint == str(saved.step)
        assert torch.equal(weights["weight"], state["tracked"]["model"]["weight"])
    with pytest.raises(TrackingError, match="has no version 'judged_again/9'"):
        as_request(place.settings(), "judged", "judged_again/9", "", "", False)


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_that_is_registered_is_not_registered_again(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run(*REGISTER, "good", *named("once")) == 0
    assert place.run(*REGISTER, "good", "--if-changed", *named("once")) == 0
    assert "unchanged: once/1 is of this checkpoint" in capsys.readouterr().out
    assert len(versions(place.uri, "once")) == 1
    assert place.run(*REGISTER, "bad", "--if-changed", *named("once")) == 0
    assert [version.aliases for version in versions(place.uri, "once")] == [(), ("challenger",)]


@pytest.mark.filterwarnings("ignore")
def test_a_better_model_takes_the_champions_place_and_a_worse_one_does_not(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    name = named("gated")
    assert place.run(*REGISTER, "bad", *name) == 0
    assert place.run(*PROMOTE, *name, "--registry.threshold", "0.99") == 1
    assert "fails  accuracy >= 0.99" in capsys.readouterr().out
    assert versions(place.uri, "gated")[0].aliases == ("challenger",)
    assert place.run(*PROMOTE, *name) == 0
    assert place.run(*REGISTER, "good", *name) == 0
    assert place.run(*PROMOTE, *name, "--registry.min-improvement", "0.999") == 1
    assert place.run(*PROMOTE, *name) == 0
    assert "gated/1 is the previous one now" in capsys.readouterr().out
    assert [v.aliases for v in versions(place.uri, "gated")] == [("previous",), ("challenger", "champion")]
    assert place.run(*PROMOTE, *name, "--version", "1") == 1
    assert "not better" in capsys.readouterr().out
    assert place.run(*PROMOTE, *name, "--version", "1", "--force", "a customer waits", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["promoted"], told["forced"]) == (True, "a customer waits")
    first, second = versions(place.uri, "gated")
    assert (first.aliases, second.aliases) == (("champion",), ("challenger", "previous"))
    assert first.tags["bessemer.forced"] == "a customer waits"
    assert place.run("models", "--project", "judged", *name) == 0
    listed = capsys.readouterr().out
    assert "champion" in listed
    assert "test" in listed


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_was_never_judged_is_refused_with_the_command(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.train("fresh", 0.2)
    assert place.run(*REGISTER, "fresh", *named("unknown")) == 0
    assert "not evaluated yet" in capsys.readouterr().out
    assert "TODO: this checkpoint was not evaluated" in versions(place.uri, "unknown")[0].description
    assert place.run(*PROMOTE, *named("unknown")) == 1
    assert "bessemer evaluate --project judged --run fresh" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((*REGISTER, "nobody"), "has no run 'nobody'"),
        ((*REGISTER, "good", "--checkpoint", "999"), "has no checkpoint '999'"),
        ((*REGISTER, "good", "--registry.name", "a/b"), "registry.name is 'a/b'"),
        ((*REGISTER, "good", "--registry.model", "critic"), "registry.model is 'critic'"),
        ((*REGISTER, "untracked"), "run untracked is not recorded in MLflow"),
        ((*PROMOTE, "--registry.name", "nothing"), "no version of the model nothing is registered"),
        ((*PROMOTE, "--tracking.uri", "http://127.0.0.1:9"), "http://127.0.0.1:9 does not work"),
        (("models", "--project", "judged", "--tracking.uri", "runs"), "names a folder"),
        ((*PROMOTE, "--to", "challenger"), "challenger is given by bessemer itself"),
        (("evaluate", "--project", "judged", "--run", "nobody"), "has no run 'nobody'"),
        (("evaluate", "--project", "judged", "--checkpoint", "7"), "has no checkpoint '7'"),
        (("evaluate", "--project", "judged", "--model", "nothing"), "no model 'nothing' is registered"),
        (("evaluate", "--project", "judged", "--evaluation.task", "poetry"), "evaluation.task = 'poetry'"),
    ],
)
def test_a_mistake_is_one_message_and_exit_status_2(
    place: Place, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], found: str
) -> None:
    assert place.run(*arguments) == 2
    told = capsys.readouterr().err
    assert found in told
    assert "Traceback" not in told


def test_what_cannot_be_registered_leaves_nothing_behind(place: Place) -> None:
    client = __import__("mlflow").MlflowClient(place.uri)
    with pytest.raises(TrackingError):
        create_version(place.uri, "half", "no-such-model", "no-such-run", {}, "", "challenger")
    assert [model.name for model in client.search_registered_models() if model.name == "half"] == []


def test_a_damaged_report_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    file = place.folder / "runs" / "judged" / "good" / "evaluation" / "test" / "report.json"
    before = file.read_text()
    try:
        file.write_text(before.replace('"split": "test"', '"split": 3'))
        assert place.run(*REGISTER, "good", "--if-changed", *named("damaged")) == 1
        assert "report.json is damaged: split" in capsys.readouterr().err
    finally:
        file.write_text(before)


def test_code_that_has_changed_since_the_checkpoint_is_named(place: Place) -> None:
    settings = place.settings()
    identity = identity_of(settings, [place.project.package_dir], {})
    saved = Saved("", 1, "", None, identity)
    assert changed_code(saved, settings, place.project) == ""
    other = {**identity, f"code {PACKAGE}/program.py": "before"}
    assert changed_code(replace(saved, identity=other), settings, place.project) == (
        f"code has changed since the checkpoint was made: {PACKAGE}/program.py"
    )
