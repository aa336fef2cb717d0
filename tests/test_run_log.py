"""What a worker writes to the log of its run, and what not while a restart replays."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from torch.utils.data import TensorDataset

from bessemer.config.settings import Settings
from bessemer.errors import TrainingError
from bessemer.training.placement import Placement
from bessemer.training.run import Run
from bessemer.training.run_log import RunLog
from bessemer.training.worker import Job, run_job
from bessemer.utils.collectives import Group
from bessemer.utils.events import CheckpointSaved
from runs import Line, settings_with

log = logging.getLogger("research")


def program(run: Run, _settings: Any) -> None:
    print("before the loop")
    log.info("before the loop")
    model = run.place(torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(TensorDataset(torch.ones(8, 3)), batch_size=2)
    for turn in run.epochs(3):
        for (x,) in loader:
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        print(f"turn {turn}")
        if turn == 1 and not (run.output_dir / "failed").exists():
            (run.output_dir / "failed").touch()
            raise ValueError("no more")


def job_in(folder: Path, settings: Settings | None = None, **more: Any) -> Job:
    settings = settings or settings_with(tracking={"log_model": False})
    return Job(
        search_path=(),
        program=cloudpickle.dumps(program),
        settings=cloudpickle.dumps(settings),
        run_dir=folder,
        placement=Placement(1, False, 1.0, 0.0, 1, 1.0),
        tracked=None,
        monitor=Line(),
        **more,
    )


def said(folder: Path, rank: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "logs" / f"worker-{rank}.jsonl").read_text().splitlines()]


def attempts(job: Job, number: int) -> None:
    for _ in range(number):
        with contextlib.suppress(TrainingError):
            run_job(job, Group(), torch.device("cpu"), None)


def test_prints_and_records_are_lines_with_attempt_and_step(tmp_path: Path) -> None:
    attempts(job_in(tmp_path, attempts_before=4), 1)
    lines = said(tmp_path)
    assert [line["message"] for line in lines][:5] == [
        "worker 0 of 1 begins, from step 0",
        "before the loop",
        "before the loop",
        "turn 0",
        "turn 1",
    ]
    assert [(line["logger"], line.get("stream")) for line in lines[1:3]] == [
        ("print", "stdout"),
        ("research", None),
    ]
    assert [(line["attempt"], line["step"], line["epoch"]) for line in lines[2:5]] == [
        (5, 0, None),
        (5, 4, 1),
        (5, 8, 2),
    ]


def test_an_error_of_the_program_is_a_line_with_its_traceback(tmp_path: Path) -> None:
    attempts(job_in(tmp_path), 1)
    (line,) = [line for line in said(tmp_path) if line["level"] == "ERROR"]
    assert line["message"] == "ValueError: no more"
    assert 'raise ValueError("no more")' in line["exception"]


def test_a_replay_says_nothing_twice(tmp_path: Path) -> None:
    attempts(job_in(tmp_path), 2)
    printed = [(line["attempt"], line["message"]) for line in said(tmp_path) if line["logger"] != "bessemer"]
    # What stands before the loop is replayed; turn 1, whose checkpoint was not taken, is computed again.
    assert printed == [
        (1, "before the loop"),
        (1, "before the loop"),
        (1, "turn 0"),
        (1, "turn 1"),
        (2, "turn 1"),
        (2, "turn 2"),
    ]
    events = [(line["attempt"], line["event"]) for line in said(tmp_path) if line["logger"] == "bessemer"]
    assert events == [(1, "worker_began"), (1, "error"), (2, "worker_began"), (2, "worker_ended")]


def test_the_level_is_that_of_the_settings(tmp_path: Path) -> None:
    attempts(job_in(tmp_path, settings_with(tracking={"log_model": False, "log_level": "ERROR"})), 1)
    assert [line["level"] for line in said(tmp_path)] == ["ERROR"]


def test_checkpoints_are_told_of_when_they_are_whole(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    attempts(job, 1)
    assert isinstance(job.monitor, Line)
    saved = [event for event in job.monitor.mailbox.read().events if isinstance(event, CheckpointSaved)]
    file = tmp_path / "checkpoints" / "step-0000000004" / "state.pt"
    assert [(event.step, event.size_bytes) for event in saved] == [(4, file.stat().st_size)]


def test_bessemers_own_words_are_written_while_the_program_is_mute(tmp_path: Path) -> None:
    written = RunLog(tmp_path, "today", 3)
    written.is_muted = lambda: True
    with written.hearing():
        log.warning("mute")
        written.stdout.write("mute\n")
        written.say("error", "heard")
    assert [line["message"] for line in said(tmp_path, 3)] == ["heard"]
