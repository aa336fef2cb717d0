"""Jobs on a cluster: submitted, followed, listed, stopped and gone on with, as a user does it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bessemer.errors import BessemerError
from bessemer.training.storage import is_complete
from integration.workplaces import Head, Workplace

pytestmark = pytest.mark.timeout(400)

_WITHIN_S = 120.0


@pytest.fixture
def cluster(head: Head) -> tuple[str, ...]:
    return ("--cluster", head.dashboard)


def training(workplace: Workplace, run: str, epochs: int, workers: int = 1) -> list[str]:
    """Return the options of a short training of digits, kept in the workplace."""
    typed = ["--project", "digits", "--epochs", str(epochs), "--tracking.run-name", run]
    typed += ["--scaling.num-workers", str(workers), "--data.source", "inline"]
    typed += ["--checkpoint.storage-path", str(workplace.folder / "runs")]
    return [*typed, "--tracking.uri", f"sqlite:///{workplace.folder}/jobs.db"]


def listed(workplace: Workplace, cluster: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    done = workplace.run("jobs", "list", *cluster, "--json")
    assert done.returncode == 0, done.stderr
    return {job["name"]: job for job in json.loads(done.stdout)}


def run_dir(workplace: Workplace, run: str) -> Path:
    return workplace.folder / "runs" / "digits" / run


def test_a_job_is_followed_to_its_end_with_the_settings_that_were_typed_here(
    workplace: Workplace, cluster: tuple[str, ...]
) -> None:
    typed = training(workplace, "followed", 2, workers=2)
    done = workplace.run("submit", "train", *cluster, *typed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training on 2 x cpu" in done.stdout
    assert done.stdout.count("epoch 2/2") == 1
    assert is_complete(run_dir(workplace, "followed"))

    jobs = listed(workplace, cluster)
    (name,) = [x for x, job in jobs.items() if job["metadata"].get("run") == "followed"]
    assert jobs[name]["status"] == "SUCCEEDED"
    logs = workplace.run("jobs", "logs", name, *cluster)
    assert "trained digits for 46 steps" in logs.stdout
    shown = workplace.run("jobs", "list", *cluster).stdout
    assert "succeeded" in shown


def test_a_job_ends_the_command_with_the_exit_status_of_what_it_ran(
    workplace: Workplace, cluster: tuple[str, ...]
) -> None:
    storage = ("--checkpoint.storage-path", str(workplace.folder / "no-runs"))
    done = workplace.run("submit", "evaluate", "--project", "digits", *cluster, "--run", "nobody", *storage)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "nobody" in done.stdout


def test_what_cannot_run_there_is_said_before_a_job_is_made(
    workplace: Workplace, cluster: tuple[str, ...]
) -> None:
    before = set(listed(workplace, cluster))
    many = workplace.run("submit", "train", *cluster, *training(workplace, "many", 1, workers=50))
    assert many.returncode == 2
    assert "50 workers of 1 CPU each" in many.stderr
    unknown = workplace.run("submit", "train", *cluster, "--project", "digits", "--no-such-thing", "1")
    assert unknown.returncode == 2
    assert "there is no setting --no-such-thing" in unknown.stderr
    assert set(listed(workplace, cluster)) == before


def test_a_job_that_is_stopped_leaves_a_checkpoint_that_another_job_goes_on_with(
    workplace: Workplace, cluster: tuple[str, ...]
) -> None:
    typed = training(workplace, "stopped", 40)
    place = typed.index("--tracking.run-name")
    del typed[place : place + 2]
    typed += ["--checkpoint.every-steps", "7", "--resume", "stopped", "--or-begin"]
    sent = workplace.run("submit", "train", *cluster, *typed, "--no-wait")
    assert sent.returncode == 0, sent.stderr
    name = sent.stdout.strip()
    wait_for(lambda: any(run_dir(workplace, "stopped").glob("checkpoints/*/manifest.json")))

    stopped = workplace.run("jobs", "stop", name, *cluster)
    assert stopped.returncode == 0, stopped.stderr
    wait_for(lambda: listed(workplace, cluster)[name]["status"] == "STOPPED")
    assert "SIGTERM: the run ends after a checkpoint" in workplace.run("jobs", "logs", name, *cluster).stdout
    assert not is_complete(run_dir(workplace, "stopped"))

    again = workplace.run("submit", "train", *cluster, *typed)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "from step" in again.stdout
    assert is_complete(run_dir(workplace, "stopped"))


def test_ctrl_c_stops_the_job_and_not_only_the_command_that_follows_it(
    workplace: Workplace, cluster: tuple[str, ...]
) -> None:
    with workplace.start("submit", "train", *cluster, *training(workplace, "interrupted", 400)) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            assert any("epoch 1/400" in line for line in lines)
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            status = process.wait(timeout=60)
        finally:
            process.kill()
    assert "Ctrl-C again leaves it running" in rest
    assert status not in (0, 1)
    jobs = listed(workplace, cluster)
    states = [x["status"] for x in jobs.values() if x["metadata"].get("run") == "interrupted"]
    assert states == ["STOPPED"]


def test_a_cluster_that_wants_no_jobs_from_here_is_said_in_one_message(workplace: Workplace) -> None:
    done = workplace.run("jobs", "list", "--cluster", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no cluster answers at http://127.0.0.1:9")
    assert "Traceback" not in done.stderr


HOLDER = """
import ray
ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
ray.get(ray.util.placement_group([{"CPU": 2}]).ready())
print("held", flush=True)
input()
"""
WAITER = """
import threading, ray
from bessemer.training.room import waiting_told
ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
told = threading.Event()
def tell(text):
    print(text, flush=True)
    told.set()
ray.util.placement_group([{"CPU": 1}] * 2)
with waiting_told(tell):
    assert told.wait(60)
"""


def test_who_waits_for_room_is_told_which_process_holds_it(workplace: Workplace) -> None:
    with python(HOLDER, workplace) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with python(WAITER, workplace) as waiter:
                said, _ = waiter.communicate(timeout=90)
            holder.communicate("\n", timeout=60)
        finally:
            holder.kill()
    assert said.startswith(f"waiting for room: 2 CPU wanted, 0 of 2 free; process {holder.pid} on ")
    assert said.endswith(" holds 2 CPU\n")


def python(code: str, workplace: Workplace) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=workplace.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (BessemerError, subprocess.TimeoutExpired):
            pass
        time.sleep(0.5)
    raise AssertionError("it did not happen in time")
