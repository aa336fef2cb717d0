"""A run whose worker is killed: its logs, what MLflow has of them, its metrics, and how it is seen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from bessemer.drill.heads import Head
from bessemer.observation.cluster_probe import _jobs
from bessemer.training.chronicle import BEAT_EVERY_S
from integration.workplaces import CALL, Workplace

pytestmark = pytest.mark.timeout(400)

PROGRAM = """
import logging, os, signal, sys, time
import torch
from torch import nn
from bessemer import Settings, fit
from bessemer.errors import BessemerError

log = logging.getLogger("research")
GO = "go-on"

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 60
    def __getitem__(self, index):
        x = torch.full((3,), float(index))
        return x, x.sum()

def train(run, settings):
    os.environ["RESEARCH_TOKEN"] = "a-token-of-research"
    torch.manual_seed(0)
    print("before the loop")
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Rows(), batch_size=10, shuffle=True)
    for epoch in run.epochs(3):
        if epoch == 1:
            # The checkpoint of the first epoch, which the restart goes on from.
            until = time.monotonic() + 60
            while not list(run.output_dir.glob("checkpoints/*/manifest.json")) and time.monotonic() < until:
                time.sleep(0.05)
        for number, (x, y) in loader.enumerate():
            optimizer.zero_grad()
            loss = (model(x).squeeze(1) - y).square().mean()
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()})
            if epoch == 2:
                time.sleep(0.3)  # what is counted is told every half a second
            if epoch == 1 and number == 2 and run.rank == 1 and not (run.output_dir / "killed").exists():
                (run.output_dir / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        print(f"printed {epoch} by {run.rank}")
        log.info("logged %d with %s", epoch, os.environ["RESEARCH_TOKEN"])
        until = time.monotonic() + 90
        while epoch == 2 and not os.path.exists(GO) and time.monotonic() < until:
            time.sleep(0.05)

settings = Settings(
    scaling={"num_workers": 2},
    tracking={"run_name": "watched", "log_model": False},
    data={"source": "inline"},
)
PROJECT = "watched"
"""


@dataclass
class Seen:
    """What was seen of the run while it waited in its last epoch, and when it was over.

    Attributes:
        run_dir: its folder.
        status: what the command ended with.
        printed: by the command.
        metrics: Ray's page for Prometheus.
        standing: by `bessemer status`, while it trained.
        followed: lines that `bessemer logs --follow` printed.
    """

    run_dir: Path
    status: int = -1
    printed: list[str] = field(default_factory=list)
    metrics: str = ""
    standing: dict[str, Any] = field(default_factory=dict)
    followed: str = ""

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.run_dir / "logs" / name).read_text().splitlines()]

    def value(self, name: str, **labels: str) -> float:
        """The value of a metric of this run, which must be there once."""
        found = self.values(name, **labels)
        assert len(found) == 1, (name, labels, found)
        return found[0]

    def values(self, name: str, **labels: str) -> list[float]:
        """The values of a metric of this run, one of each process that has shown it lately."""
        labels = {"project": "watched", "run": "watched", **labels}
        found = []
        for line in re.findall(rf"^ray_bessemer_{name}{{.*$", self.metrics, re.MULTILINE):
            if all(f'{label}="{value}"' in line for label, value in labels.items()):
                found.append(float(line.rpartition(" ")[2]))
        return found


def page(head: Head, is_enough: Callable[[str], bool]) -> str:
    """Return what Ray serves to Prometheus, once it has what is asked for."""
    text, deadline = "", time.monotonic() + 60
    while time.monotonic() < deadline and not is_enough(text):
        time.sleep(0.5)
        with urlopen(f"{head.dashboard}/api/prometheus/sd", timeout=10) as answer:
            places = [place for group in json.load(answer) for place in group["targets"]]
        parts = []
        for place in places:
            try:
                with urlopen(f"http://{place}/metrics", timeout=10) as answer:
                    parts.append(answer.read().decode())
            except OSError:
                continue  # one of the processes of the head may not serve yet
        text = "\n".join(parts)
    return text


def has_all(text: str) -> bool:
    """Whether the page has the last turn, and the wait of both workers in the second attempt."""
    mine = [line for line in text.splitlines() if 'run="watched"' in line]
    told = {(line.partition("{")[0].removeprefix("ray_bessemer_"), line.rpartition(" ")[2]) for line in mine}
    ranks = {rank for line in mine for rank in re.findall(r'loader_wait_seconds_total{.*rank="(\d)"', line)}
    wanted = {("epoch", "2.0"), ("checkpoint_step", "12.0"), ("last_step", "18.0")}
    return wanted <= told and ranks == {"0", "1"}


def standing(workplace: Workplace) -> dict[str, Any]:
    """Return what `bessemer status` says, once the driver has written down the last step."""
    deadline = time.monotonic() + 4 * BEAT_EVERY_S
    while True:
        found: dict[str, Any] = json.loads(workplace.run("status", "--json", "-p", "watched").stdout)
        if found["runs"][0]["step"] == 18 or time.monotonic() > deadline:
            return found


@pytest.fixture(scope="module")
def seen(workplace: Workplace, head: Head) -> Seen:
    script = workplace.folder / "watched.py"
    script.write_text(f"{PROGRAM}{CALL}")
    found = Seen(workplace.folder / "runs" / "watched" / "watched")
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=workplace.folder,
        env=workplace.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout
    reader = threading.Thread(target=lambda: found.printed.extend(output), daemon=True)
    reader.start()
    follower = None
    try:
        file, deadline = found.run_dir / "logs" / "driver.jsonl", time.monotonic() + 120
        while not (file.exists() and "attempt 2 begins" in file.read_text()) and time.monotonic() < deadline:
            assert process.poll() is None, "".join(found.printed)
            time.sleep(0.2)
        follower = workplace.start("logs", "watched", "-p", "watched", "--follow", "--json")
        found.metrics = page(head, has_all)
        found.standing = standing(workplace)
        (workplace.folder / "go-on").touch()
        found.status = process.wait(timeout=120)
        found.followed = follower.communicate(timeout=60)[0]
    finally:
        for each in (process, follower):
            if each is not None and each.poll() is None:
                each.kill()
                each.wait()
        reader.join(timeout=10)
        output.close()
    return found


def test_the_run_came_to_its_end(seen: Seen) -> None:
    assert seen.status == 0, "".join(seen.printed)
    assert sum("printed 0 by" in line for line in seen.printed) == 0  # prints are the worker's


def test_the_log_of_the_driver_has_both_attempts_and_why_the_first_ended(seen: Seen) -> None:
    lines = seen.lines("driver.jsonl")
    events = [line["event"] for line in lines if line["logger"] == "bessemer"]
    assert events[0] == "run_began"
    assert events[-1] == "run_ended"
    assert Counter(events)["attempt_began"] == 2
    (ended,) = [line for line in lines if line.get("event") == "attempt_ended"]
    assert (ended["level"], ended["attempt"]) == ("ERROR", 1)
    assert "failure (died), worker 1 after step " in ended["message"]
    saved = [line["message"] for line in lines if line.get("event") == "checkpoint"]
    assert [re.findall(r"step (\d+)", message)[0] for message in saved] == ["6", "12", "18"]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_log_of_each_worker_has_attempts_steps_and_nothing_twice(seen: Seen, rank: int) -> None:
    lines = seen.lines(f"worker-{rank}.jsonl")
    assert {line["rank"] for line in lines} == {rank}
    assert {line["attempt"] for line in lines} == {1, 2}
    assert len({line["pid"] for line in lines}) == 2
    own = [
        (line["attempt"], line["step"], line["epoch"], line["message"])
        for line in lines
        if line["logger"] in ("print", "research") and line.get("stream") != "stderr"
    ]
    said = [
        (attempt, step, epoch, text.format(epoch - 1, rank) if epoch else text)
        for attempt, step, epoch, texts in (
            (1, 0, None, ["before the loop"]),
            (1, 6, 1, ["printed {} by {}", "logged {} with ***"]),
            (2, 12, 2, ["printed {} by {}", "logged {} with ***"]),
            (2, 18, 3, ["printed {} by {}", "logged {} with ***"]),
        )
        for text in texts
    ]
    assert own == said


def test_only_the_main_worker_prints(seen: Seen) -> None:
    text = (seen.run_dir / "logs" / "train.log").read_text()
    assert "printed 0 by 0" in text
    assert "by 1" not in text


def test_the_logs_are_with_the_mlflow_run_as_they_are_on_disk(seen: Seen, tmp_path: Path) -> None:
    record = json.loads((seen.run_dir / "run.json").read_text())
    client = MlflowClient(record["uri"])
    names = {Path(item.path).name for item in client.list_artifacts(record["run_id"], "logs")}
    assert {"driver.jsonl", "worker-0.jsonl", "worker-1.jsonl", "error-worker-1.log", "ray.log"} <= names
    for name in ("driver.jsonl", "worker-0.jsonl", "worker-1.jsonl"):
        place = client.download_artifacts(record["run_id"], f"logs/{name}", str(tmp_path))
        assert Path(place).read_bytes() == (seen.run_dir / "logs" / name).read_bytes()


def test_no_file_of_the_run_has_the_token_of_the_research_code(seen: Seen) -> None:
    for file in (seen.run_dir / "logs").glob("*.jsonl"):
        assert "a-token-of-research" not in file.read_text()


def test_status_sees_the_run_and_the_cluster_while_it_trains(seen: Seen) -> None:
    (run,) = seen.standing["runs"]
    assert (run["name"], run["state"], run["attempts"], run["workers"]) == ("watched", "running", 2, 2)
    assert (run["step"], run["turn"], run["num_turns"], run["checkpoint_step"]) == (18, 2, 3, 12)
    cluster = seen.standing["cluster"]
    assert (cluster["nodes"], cluster["total"]["CPU"], cluster["free"]["CPU"]) == (1, 2, 0)
    assert isinstance(cluster["jobs"], list)


def test_status_sees_that_the_run_is_complete(seen: Seen, workplace: Workplace) -> None:
    (run,) = json.loads(workplace.run("status", "--json", "-p", "watched").stdout)["runs"]
    assert (run["state"], run["step"], run["workers"]) == ("complete", 18, 0)


def test_following_ended_with_the_run_and_missed_no_line(seen: Seen) -> None:
    files = (seen.run_dir / "logs").glob("*.jsonl")
    written = [line for file in files for line in file.read_text().splitlines()]
    assert Counter(seen.followed.splitlines()) == Counter(written)


def test_ray_serves_the_metrics_with_their_names_labels_and_values(seen: Seen) -> None:
    again = seen.value("steps_again_total")
    # The main worker may have been ahead of what it told when the attempt was ended.
    assert 0 <= again <= 3
    assert seen.value("last_step") == 18
    assert seen.value("steps_total") == 18 + again
    assert seen.value("samples_total") == 10 * seen.value("steps_total")
    assert seen.value("epoch") == 2
    assert seen.value("workers") == 2
    assert seen.value("attempts_total") == 2
    assert seen.value("failures_total", kind="died") == 1
    assert seen.value("failures_total", kind="program") == 0
    assert seen.value("checkpoint_step") == 12
    assert seen.value("checkpoint_bytes") > 1000
    assert abs(seen.value("checkpoint_timestamp_seconds") - time.time()) < 300
    assert 0 <= seen.value("checkpoint_age_seconds") < 300
    for rank in ("0", "1"):
        # Of the first attempt's worker, too, until Ray forgets it.
        waits = seen.values("loader_wait_seconds_total", rank=rank)
        assert 1 <= len(waits) <= 2
        assert all(0 <= waited < 60 for waited in waits)
    # The first step of each attempt is no sample; on a busy machine Ray may send some twice.
    assert seen.value("step_duration_seconds_count") >= 10
    assert seen.value("step_duration_seconds_bucket", le="+Inf") == seen.value("step_duration_seconds_count")
    assert seen.value("checkpoint_seconds_count") >= 2
    assert seen.value("checkpoint_stall_seconds_count") >= 2
    assert re.search(r"^# TYPE ray_bessemer_step_duration_seconds histogram$", seen.metrics, re.MULTILINE)


def test_jobs_are_read_as_ray_has_them(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert isinstance(_jobs(head.address), list)


FAILING = """
import sys
import torch
from bessemer import Settings, fit
from bessemer.errors import BessemerError

def train(run, settings):
    optimizer = torch.optim.SGD(run.place(torch.nn.Linear(1, 1)).parameters(), lr=0.1)
    run.track(optimizer=optimizer)
    for epoch in run.epochs(2):
        raise ValueError("it never works")

settings = Settings(tracking={"run_name": "failing"}, scaling={"num_workers": 1}, data={"source": "inline"})
PROJECT = "failing"
"""


def test_a_run_that_fails_has_its_logs_in_mlflow_with_the_traceback(
    workplace: Workplace, tmp_path: Path
) -> None:
    script = workplace.folder / "failing.py"
    script.write_text(f"{FAILING}{CALL}")
    status, printed = workplace.run_script(script)
    assert status == 1, printed
    record = json.loads((workplace.folder / "runs" / "failing" / "failing" / "run.json").read_text())
    client = MlflowClient(record["uri"])
    assert client.get_run(record["run_id"]).info.status == "FAILED"
    place = client.download_artifacts(record["run_id"], "logs/driver.jsonl", str(tmp_path))
    *_, error, ended = [json.loads(line) for line in Path(place).read_text().splitlines()]
    assert "it never works" in error["exception"]
    assert ended["message"] == "run failing ended: failed, after step 0"
    shown = workplace.run("status", "-p", "failing").stdout
    assert "failing failed: TrainingError: the program failed at " in shown
