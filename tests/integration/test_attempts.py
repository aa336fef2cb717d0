"""What follows when workers die, fail, are told to go, or come and go, on a real Ray head."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bessemer.training.positions import read_position
from integration.workplaces import Workplace

pytestmark = pytest.mark.timeout(300)

PROGRAM = """
import os, signal, sys
import torch
from torch import nn
from bessemer import Settings, fit
from bessemer.errors import BessemerError

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 60
    def __getitem__(self, index):
        x = torch.full((3,), float(index))
        return torch.tensor(index), x, x.sum()

def train(run, settings):
    torch.manual_seed(0)
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Rows(), batch_size=10, shuffle=True)
    for epoch in run.epochs(3):
        for number, x, y in loader:
            optimizer.zero_grad()
            loss = (model(x).squeeze(1) - y).square().mean()
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()})
            if 17 in number:
                strike(run, epoch, number)

settings = Settings(scaling={"num_workers": 2, **SCALING}, tracking={"run_name": NAME}, data={"source": "inline"})
if __name__ == "__main__":
    try:
        outcome = fit(train, settings, project="struck")
    except BessemerError as error:
        print(error)
        sys.exit(error.exit_code)
"""


def run_struck(workplace: Workplace, name: str, strike: str, scaling: str = "{}") -> tuple[int, str, Path]:
    path = workplace.folder / f"{name}.py"
    path.write_text(f"NAME = {name!r}\nSCALING = {scaling}\n{strike}\n{PROGRAM}")
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=workplace.folder,
        env=workplace.environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout + done.stderr, workplace.folder / "runs" / "struck" / name


def test_a_worker_that_is_killed_at_the_same_step_again_and_again_ends_the_run_with_its_samples(
    workplace: Workplace,
) -> None:
    strike = """
def strike(run, epoch, number):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    status, printed, run_dir = run_struck(
        workplace, "killed", strike, '{"max_failures": 9, "backoff_s": 0.5}'
    )
    assert status == 1, printed
    assert "attempt 2: workers restarted, training goes on from step 6" in printed
    assert "attempt 3: workers restarted after a wait of 0.5 s, training goes on from step 6" in printed
    assert "attempt 4" not in printed
    assert "3 attempts in a row failed after step" in printed
    assert "the process of a worker ended without a word" in printed
    assert "Connection closed" not in printed
    where = next(line for line in printed.splitlines() if line.startswith("worker "))
    rank = int(where.split()[1].rstrip(","))
    ids = [int(word) for word in where.split("samples ")[1].split(", ")]
    assert 17 in ids
    log = (run_dir / "logs" / f"error-worker-{rank}.log").read_text()
    assert f"sample ids: {' '.join(map(str, ids))}" in log
    position = read_position(run_dir / "positions" / f"worker-{rank}.bin")
    assert position is not None
    assert (position.number, position.attempt) == (1, 3)
    np.testing.assert_array_equal(position.ids, ids)


def test_an_error_of_the_program_names_its_step_its_worker_and_the_samples(workplace: Workplace) -> None:
    strike = """
def strike(run, epoch, number):
    raise ValueError(f"number {epoch} is bad")
"""
    status, printed, run_dir = run_struck(workplace, "raised", strike)
    assert status == 1, printed
    assert "ValueError: number 0 is bad" in printed
    assert "attempt 3" not in printed
    where = next(line for line in printed.splitlines() if line.startswith("worker "))
    rank = int(where.split()[1].rstrip(","))
    assert "after step " in where
    assert 17 in [int(word) for word in where.split("samples ")[1].split(", ")]
    log = (run_dir / "logs" / f"error-worker-{rank}.log").read_text()
    assert "Traceback" in log
    assert "sample ids: " in log


def test_a_worker_that_crashes_is_reported_with_the_place_in_the_program(workplace: Workplace) -> None:
    strike = """
import ctypes
def strike(run, epoch, number):
    ctypes.string_at(0)
"""
    status, printed, _ = run_struck(workplace, "crashed", strike, '{"max_failures": 1}')
    assert status == 1, printed
    assert "training failed after 1 restarts: a worker crashed: Segmentation fault" in printed
    assert 'File "' in printed
