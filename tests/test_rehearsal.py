"""What the tests of a project rest on: a rehearsal sees that training works, and what of it is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from bessemer.config.project import read_project
from bessemer.errors import ProjectError
from bessemer.proof.command import REPORT_FILE, code_fingerprint
from bessemer.proof.record import recorded_proof
from bessemer.proof.rehearsal import Rehearsal, rehearse

GOOD = """
    import torch
    from torch.utils.data import TensorDataset

    def train(run, settings):
        model = run.place(torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.randn(32, 3)
        loader = run.loader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
        run.track(model=model, optimizer=optimizer)
        for epoch in run.epochs(1000):
            for inputs, wanted in loader:
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(model(inputs), wanted)
                loss.backward()
                optimizer.step()
"""
BY_HAND = """
    import torch

    def train(run, settings):
        w = torch.zeros(3, requires_grad=True)
        x = torch.randn(32, 3)
        for turn in run.epochs(1000):
            loss = (x @ w - x.sum(1)).square().mean()
            loss.backward()
            with torch.no_grad():
                w -= 0.1 * w.grad
                w.grad.zero_()
"""


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    def write(program: str) -> Path:
        root = tmp_path / "tiny"
        package = root / "tiny_rehearsed"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text("")
        (package / "program.py").write_text(dedent(program))
        (package / "settings.py").write_text(
            "import bessemer\n\n\nclass Settings(bessemer.Settings):\n    lr: float = 0.1\n"
        )
        (root / "pyproject.toml").write_text(
            '[tool.bessemer]\nname = "tiny"\nentry = "tiny_rehearsed.program:train"\n'
            'settings = "tiny_rehearsed.settings:Settings"\n'
        )
        files = {"pyproject.toml": "", "tiny_rehearsed/program.py": ""}
        (root / "conversion.json").write_text(json.dumps({"files": files}))
        return root

    return write


def tried(root: Path, **more: float) -> Rehearsal:
    return rehearse(root, steps=2, **more)


def test_a_project_that_trains_is_seen_to_train(project: Callable[[str], Path]) -> None:
    found = tried(project(GOOD))
    assert (found.steps, found.error, found.missing) == (2, "", "")
    assert found.num_changed == found.num_parameters == 4
    assert len(found.losses) == 2
    (call,) = found.calls
    assert (call.model, call.inputs, call.outputs) == ("Sequential", ("float32[8, 3]",), ("float32[8, 1]",))
    assert call.is_finite


def test_updates_by_hand_are_seen(project: Callable[[str], Path]) -> None:
    found = tried(project(BY_HAND))
    assert found.error == ""
    assert (found.steps, found.num_changed, found.num_parameters) == (0, 1, 1)
    assert len(found.losses) >= 2


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ("optimizer.step()", "pass"),
        ("lr=0.1", "lr=0.0"),
        ("loss.backward()", "loss.detach().requires_grad_().backward()"),
    ],
)
def test_weights_that_stay_as_they_are_are_seen(
    project: Callable[[str], Path], line: str, broken: str
) -> None:
    program = GOOD.replace(line, broken).replace("epochs(1000)", "epochs(2)")
    found = tried(project(program))
    assert found.error == ""
    assert not found.num_changed


def test_what_fails_is_an_error_with_its_traceback(project: Callable[[str], Path]) -> None:
    found = tried(project(GOOD.replace("Linear(5, 1)", "Linear(6, 1)")))
    assert "mat1 and mat2" in found.error
    assert "program.py" in found.error
    assert not found.missing


def test_infinite_outputs_are_seen(project: Callable[[str], Path]) -> None:
    found = tried(project(GOOD.replace("torch.randn(32, 3)", "torch.full((32, 3), float('inf'))")))
    assert not found.calls[0].is_finite


def test_data_that_are_not_here_are_named(project: Callable[[str], Path]) -> None:
    found = tried(project(GOOD.replace("torch.randn(32, 3)", "torch.load('no_such_file.pt')")))
    assert "no_such_file.pt" in found.missing
    assert not found.error


def test_a_file_that_is_missed_after_a_step_is_an_error(project: Callable[[str], Path]) -> None:
    program = GOOD.replace("optimizer.step()", "optimizer.step(); open('no_such_file.txt')")
    assert "no_such_file.txt" in tried(project(program)).error


def test_what_lies_in_the_project_is_found_and_left_as_it_is(project: Callable[[str], Path]) -> None:
    program = GOOD.replace(
        "x = ", "open('data/x.txt', 'a').write('more'); assert open('data/x.txt').read(); x = "
    )
    root = project(program)
    (root / "data").mkdir()
    (root / "data" / "x.txt").write_text("here")
    assert tried(root).error == ""
    assert (root / "data" / "x.txt").read_text() == "here"


def test_one_that_takes_too_long_is_ended(project: Callable[[str], Path]) -> None:
    program = GOOD.replace("x = ", "import time; time.sleep(600); x = ")
    assert "still ran after" in tried(project(program), limit_s=8).error


def test_settings_that_must_be_given_are_named(project: Callable[[str], Path]) -> None:
    root = project(GOOD)
    settings = root / "tiny_rehearsed" / "settings.py"
    settings.write_text(settings.read_text().replace("lr: float = 0.1", "lr: float"))
    found = tried(root)
    assert "lr" in found.missing
    assert not found.error


def test_a_proof_is_of_the_code_that_it_was_made_for(project: Callable[[str], Path]) -> None:
    root = project(GOOD)
    assert recorded_proof(root) is None
    record = {
        "verdict": "equal",
        "reason": "every bit",
        "code_sha256": code_fingerprint(read_project(root)),
    }
    (root / REPORT_FILE).write_text(json.dumps(record))
    proof = recorded_proof(root)
    assert proof is not None
    assert (proof.verdict, proof.is_of_this_code) == ("equal", True)
    code = root / "tiny_rehearsed" / "program.py"
    code.write_text(code.read_text() + "# another\n")
    proof = recorded_proof(root)
    assert proof is not None
    assert not proof.is_of_this_code
    (root / REPORT_FILE).write_text("[]")
    with pytest.raises(ProjectError, match="cannot be read"):
        recorded_proof(root)
