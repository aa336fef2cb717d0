"""What follows when workers die, fail, are told to go, or come and go, on a real Ray head."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from bessemer.drill.heads import end_tree, started_head, started_node
from bessemer.training.positions import read_position
from integration.workplaces import BIN, CALL, Workplace, environment_with
from runs import run_program

pytestmark = pytest.mark.timeout(600)

PROGRAM = """
import os, signal, sys, time
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

settings = Settings(
    scaling={"num_workers": 2, **SCALING},
    tracking={"run_name": NAME, "log_model": False},
    data={"source": "inline"},
    checkpoint=CHECKPOINT,
)
PROJECT = "struck"
"""


def run_struck(
    workplace: Workplace, name: str, strike: str, scaling: str = "{}", checkpoint: str = "{}"
) -> tuple[int, str, Path]:
    path = workplace.folder / f"{name}.py"
    path.write_text(
        f"NAME = {name!r}\nSCALING = {scaling}\nCHECKPOINT = {checkpoint}\n{strike}\n{PROGRAM}{CALL}"
    )
    return *workplace.run_script(path, timeout_s=400), workplace.folder / "runs" / "struck" / name


def test_a_worker_that_is_killed_at_the_same_step_again_and_again_ends_the_run_with_its_samples(
    workplace: Workplace,
) -> None:
    strike = """
def strike(run, epoch, number):
    if epoch == 1:
        # On a busy machine the checkpoint of the first epoch is written later than this.
        until = time.monotonic() + 30
        while not list(run.output_dir.glob("checkpoints/*/manifest.json")) and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    status, printed, run_dir = run_struck(
        workplace, "killed", strike, '{"max_failures": 9, "backoff_s": 0.5}'
    )
    assert status == 1, printed
    assert "attempt 2: workers restarted, training goes on from" in printed
    assert "attempt 3: workers restarted after a wait of 0.5 s, training goes on from" in printed
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
    assert f'File "{workplace.folder}/crashed.py", line ' in printed


def test_sigterm_to_a_worker_takes_a_checkpoint_and_ends_nothing(workplace: Workplace) -> None:
    strike = """
def strike(run, epoch, number):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2)
"""
    status, printed, run_dir = run_struck(
        workplace, "told", strike, '{"max_failures": 0}', '{"every_epochs": 1000, "every_s": 0}'
    )
    assert status == 0, printed
    assert "SIGTERM to worker process" in printed
    assert "attempt 2" not in printed
    steps = [int(path.name.split("-")[1]) for path in (run_dir / "checkpoints").glob("step-*")]
    assert len(steps) == 2, steps
    assert 6 < min(steps) <= 13
    assert max(steps) == 18


SLOW = """
import os, sys, time
import torch
from torch import nn
from bessemer import Settings, fit
from bessemer.errors import BessemerError

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 65
    def __getitem__(self, index):
        x = torch.arange(3, dtype=torch.float64) + index % 7
        return x, x.sum() + index % 5

def train(run, settings):
    torch.manual_seed(0)
    model = run.place(nn.Linear(3, 1, dtype=torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.5)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Rows(), batch_size=10, shuffle=True)
    for epoch in run.epochs(60):
        for x, y in loader:
            optimizer.zero_grad()
            loss = (model(x).squeeze(1) - y).square().mean()
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()})
            if FLAG and not os.path.exists(FLAG):
                time.sleep(0.3)

settings = Settings(
    scaling=SCALING,
    tracking={"run_name": NAME, "flush_every_s": 0.2},
    data={"source": "inline"},
    checkpoint={"every_epochs": 1000, "every_s": 0, **CHECKPOINT},
)
if __name__ == "__main__":
    try:
        outcome = fit(train, settings, project="slow")
    except BessemerError as error:
        print(error)
        sys.exit(error.exit_code)
"""
NUM_STEPS = 60 * 7

DRAIN = """
import subprocess, sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
(node,) = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["NodeManagerAddress"] == sys.argv[2]]
drain = [sys.argv[3], "drain-node", "--address", sys.argv[1], "--node-id", node]
drain += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
sys.exit(subprocess.run([*drain, "--deadline-remaining-seconds", "60"]).returncode)
"""


class Slow:
    """A run of `SLOW` on a head of its own that takes 0.3 s a step until it is let go."""

    def __init__(self, folder: Path, name: str, address: str, scaling: str, checkpoint: str = "{}") -> None:
        self.run_dir = folder / "runs" / "slow" / name
        self.folder = folder
        self.flag = folder / f"{name}.fast"
        self.log = folder / f"{name}.log"
        script = folder / f"{name}.py"
        head = f"NAME = {name!r}\nSCALING = {scaling}\nCHECKPOINT = {checkpoint}\nFLAG = {str(self.flag)!r}\n"
        script.write_text(head + SLOW)
        self.environment = environment_with({"RAY_ADDRESS": address})
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(script)],
                cwd=folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    @property
    def printed(self) -> str:
        return self.log.read_text()

    def wait_for(self, what: Callable[[], bool], limit_s: float = 240) -> None:
        deadline = time.monotonic() + limit_s
        while not what():
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.1)

    def finish(self) -> str:
        self.flag.touch()
        status = self.process.wait(timeout=300)
        assert status == 0, self.printed
        return self.printed

    def steps(self) -> list[int]:
        folder = self.run_dir / "checkpoints"
        return sorted(int(path.parent.name.split("-")[1]) for path in folder.glob("step-*/manifest.json"))

    def losses(self) -> list[float]:
        run_id = json.loads((self.run_dir / "run.json").read_text())["run_id"]
        client = MlflowClient(f"sqlite:///{self.folder / 'runs' / 'mlflow.db'}")
        history = client.get_metric_history(run_id, "train/loss")
        assert sorted(point.step for point in history) == list(range(1, NUM_STEPS + 1))
        return [point.value for point in sorted(history, key=lambda point: point.step)]


def undisturbed_losses(folder: Path) -> list[float]:
    """The losses of one worker whom nobody disturbs, in this process."""
    names: dict[str, Any] = {"SCALING": {}, "NAME": "alone", "CHECKPOINT": {}, "FLAG": ""}
    exec(compile(SLOW, "slow", "exec"), names)
    return run_program(lambda run: names["train"](run, None), folder).values("train/loss")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Callable[..., Slow]]:
    started: list[Slow] = []

    def start(*arguments: str) -> Slow:
        started.append(Slow(tmp_path, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            end_tree(one.process.pid)
            one.process.wait()


@pytest.mark.timeout(900)
def test_a_node_that_is_drained_is_left_with_a_checkpoint_and_costs_no_failure(
    slow: Callable[..., Slow], tmp_path: Path
) -> None:
    environment = environment_with({"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})
    with started_head(1, environment) as head, contextlib.ExitStack() as nodes:
        # The head has one CPU, so one of the two workers is on the other node.
        raylet = nodes.enter_context(started_node(head, 1, environment, tmp_path / "node-1.log"))
        run = slow("drained", head.address, '{"num_workers": 2, "max_failures": 0}')
        run.wait_for(lambda: (run.run_dir / "positions").is_dir())
        drain = [sys.executable, "-c", DRAIN, head.address, "127.0.0.2", str(BIN / "ray")]
        assert subprocess.run(drain, env=environment, timeout=100, check=False).returncode == 0
        run.wait_for(lambda: bool(run.steps()))
        assert "is about to be taken away: a checkpoint at the next step" in run.printed
        (step,) = run.steps()
        end_tree(raylet)
        nodes.enter_context(started_node(head, 1, environment, tmp_path / "node-2.log"))
        run.wait_for(lambda: "attempt 2" in run.printed)
        printed = run.finish()
    assert f"a node was taken away, workers restarted, training goes on from step {step}" in printed
    np.testing.assert_allclose(run.losses(), undisturbed_losses(tmp_path), rtol=1e-9)


@pytest.mark.timeout(900)
def test_a_run_follows_what_the_cluster_has_and_its_losses_do_not_change(
    slow: Callable[..., Slow], tmp_path: Path
) -> None:
    environment = environment_with({"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})
    with started_head(1, environment) as head, contextlib.ExitStack() as nodes:
        scaling = '{"num_workers": [1, 3], "resize_every_s": 2, "max_failures": 1}'
        run = slow("elastic", head.address, scaling, '{"every_steps": 5}')
        run.wait_for(lambda: bool(run.steps()))
        assert "training on 1 x cpu" in run.printed
        raylet = nodes.enter_context(started_node(head, 2, environment, tmp_path / "node.log"))
        run.wait_for(lambda: "attempt 2: training on 3 x cpu now, training goes on from step " in run.printed)
        before = run.steps()[-1]
        run.wait_for(lambda: run.steps()[-1] > before)
        end_tree(raylet)
        run.wait_for(lambda: "attempt 3" in run.printed)
        printed = run.finish()
    assert "attempt 3: workers restarted, now 1 x cpu, training goes on from step " in printed
    assert "attempt 4" not in printed
    np.testing.assert_allclose(run.losses(), undisturbed_losses(tmp_path), rtol=1e-9)
