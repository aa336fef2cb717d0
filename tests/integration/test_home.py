"""A run at a URL of object storage: nothing of it has to be on any machine, and its numbers stay the same."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from bessemer.drill.comparison import is_of_time
from bessemer.drill.heads import Head, end_tree, started_head, started_node
from bessemer.tracking import TrackedRun, logged_points
from bessemer.training.checkpoints import CheckpointStore
from buckets import SECRET, Bucket, serving
from integration.workplaces import BIN, CALL, ROOT, Workplace, environment_with
from restarts import same

pytestmark = [
    pytest.mark.timeout(600),
    # botocore calls what newer Pythons name otherwise; the server's sockets end with the process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PROJECT = str(ROOT / "tests" / "programs" / "gan")
ARGUMENTS = (
    *("--project", PROJECT, "--epochs", "8", "--checkpoint.every_steps", "7"),
    *("--scaling.num-workers", "2", "--data.source", "inline"),
)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def cluster(bucket: Bucket) -> Iterator[tuple[Head, dict[str, str]]]:
    """A Ray head whose processes reach the bucket."""
    environment = environment_with(
        {**bucket.environment, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )
    with started_head(2, environment) as head:
        yield head, {**environment, "RAY_ADDRESS": head.address}


def wait_for(what: str, is_so: Callable[[], bool], limit_s: float = 120.0) -> None:
    until = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < until, f"no {what} within {limit_s} s"
        time.sleep(0.05)


def result_of(store: CheckpointStore, record: bytes) -> tuple[list[Any], Any]:
    """Return every point of a run, and what its newest checkpoint has of the program."""
    tracked = TrackedRun(**json.loads(record))
    newest = store.newest()
    store.close()
    assert newest is not None
    return sorted(point for point in logged_points(tracked) if not is_of_time(point[0])), newest[1]["tracked"]


def test_whatever_dies_and_with_empty_disks_a_run_at_a_url_comes_to_the_same_numbers(
    bucket: Bucket,
    cluster: tuple[Head, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head, environment = cluster
    there = Workplace(tmp_path, environment)
    done = there.run("train", *ARGUMENTS, "--tracking.run_name", "whole")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "runs" / "gan" / "whole"
    undisturbed = result_of(
        CheckpointStore(str(folder / "checkpoints"), 2), (folder / "run.json").read_bytes()
    )

    scratch = tmp_path / "scratch"
    there = Workplace(tmp_path, {**environment, "XDG_CACHE_HOME": str(scratch)})
    more = ("--checkpoint.storage-path", "s3://data/runs", "--tracking.uri", f"sqlite:///{tmp_path}/there.db")
    home = "runs/gan/torn"

    def num_manifests() -> int:
        return max([int(n.split("step-")[1][:10]) for n in bucket.names(home) if "manifest" in n], default=0)

    printed = ""
    command = there.start("train", *ARGUMENTS, *more, "--tracking.run_name", "torn")
    try:
        wait_for("checkpoint", lambda: num_manifests() >= 14)
        os.kill(head.worker_pids()[-1], signal.SIGKILL)
        at = num_manifests()
        wait_for("checkpoint of the second attempt", lambda: num_manifests() >= at + 14)
        end_tree(command.pid)
        printed += command.communicate(timeout=60)[0]
    finally:
        end_tree(command.pid)
    assert "attempt 2" in printed
    wait_for("end of the workers", lambda: not head.worker_pids())
    shutil.rmtree(scratch)

    begun = time.monotonic()
    resumed = there.run("train", *ARGUMENTS, *more, "--resume")
    printed += resumed.stdout + resumed.stderr
    assert resumed.returncode == 0, printed
    assert "has not said that it ended: its lease runs out in" in printed
    assert time.monotonic() - begun > 5
    assert f"{home}/result.json" in bucket.names(home)
    assert SECRET not in printed

    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    disturbed = result_of(
        CheckpointStore(f"s3://data/{home}/checkpoints", 2), bucket.read(f"{home}/run.json")
    )
    assert disturbed[0] == undisturbed[0]
    assert same(disturbed[1], undisturbed[1])
    assert any(n.endswith("/train.log") or n.endswith("/ray.log") for n in bucket.names(f"{home}/logs"))

    again = there.run("train", *ARGUMENTS, *more, "--resume")
    assert "is complete: there is nothing to go on with" in again.stdout
    shutil.rmtree(scratch)
    unchanged = there.run("train", *ARGUMENTS, *more, "--if-changed")
    assert "unchanged: run torn is complete" in unchanged.stdout, unchanged.stdout + unchanged.stderr


SAVING = """
import os, sys, time
import torch
from torch import nn
from bessemer import Settings, fit
from bessemer.errors import BessemerError

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, index):
        x = torch.full((3,), float(index))
        return x, x.sum()

def train(run, settings):
    torch.manual_seed(0)
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Rows(), batch_size=10, shuffle=True)
    for epoch in run.epochs(6):
        if epoch:
            # On every node, also one that came later than what is read.
            assert torch.load(run.saved(f"{epoch - 1}.pt"), weights_only=True) == {"epoch": epoch - 1}
            assert not run.is_main or (run.output_dir / f"{epoch - 1}.txt").read_text() == f"{epoch - 1}"
        for x, y in loader:
            optimizer.zero_grad()
            loss = (model(x).squeeze(1) - y).square().mean()
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()})
            time.sleep(SLOW_S)
        run.save({"epoch": epoch}, f"{epoch}.pt")
        if run.is_main:
            (run.output_dir / f"{epoch}.txt").write_text(f"{epoch}")

settings = Settings(
    scaling={"num_workers": 2, "max_failures": 3},
    tracking={"run_name": NAME, "log_model": False, "uri": URI},
    data={"source": "inline"},
    checkpoint={"storage_path": STORAGE},
)
PROJECT = "saving"
"""


def test_a_node_that_dies_is_replaced_by_one_with_an_empty_disk_of_its_own(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = environment_with(
        {**bucket.environment, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )

    def node(name: str) -> dict[str, str]:
        return {**environment, "XDG_CACHE_HOME": str(tmp_path / name)}

    def script(name: str, storage: str, slow_s: float) -> Path:
        path = tmp_path / f"{name}.py"
        uri = f"sqlite:///{tmp_path}/{name}.db"
        head = f"NAME, STORAGE, URI, SLOW_S = {name!r}, {storage!r}, {uri!r}, {slow_s}\n"
        path.write_text(head + SAVING + CALL)
        return path

    with started_head(1, node("head")) as head, contextlib.ExitStack() as nodes:
        # The head has one CPU, so one of the two workers is on the other node.
        raylet = nodes.enter_context(started_node(head, 1, node("first"), tmp_path / "first.log"))
        there = Workplace(tmp_path, {**node("head"), "RAY_ADDRESS": head.address})
        command = subprocess.Popen(
            [sys.executable, str(script("torn", "s3://data/nodes", 0.3))],
            cwd=tmp_path,
            env=there.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            home = "nodes/saving/torn"
            wait_for("checkpoint", lambda: sum("manifest" in name for name in bucket.names(home)) >= 2)
            end_tree(raylet)
            nodes.enter_context(started_node(head, 1, node("second"), tmp_path / "second.log"))
            printed = command.communicate(timeout=240)[0]
        finally:
            end_tree(command.pid)
        assert command.returncode == 0, printed
        assert "attempt 2" in printed
        assert not list((tmp_path / "first").rglob("step-*"))
        assert list((tmp_path / "second").rglob("0.pt"))
        status, printed = there.run_script(script("whole", str(tmp_path / "shared"), 0.0))
        assert status == 0, printed
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    disturbed = result_of(
        CheckpointStore(f"s3://data/{home}/checkpoints", 2), bucket.read(f"{home}/run.json")
    )
    folder = tmp_path / "shared" / "saving" / "whole"
    whole = result_of(CheckpointStore(str(folder / "checkpoints"), 2), (folder / "run.json").read_bytes())
    assert disturbed[0] == whole[0]
    assert same(disturbed[1], whole[1])
    assert bucket.read(f"{home}/5.txt") == b"5"
