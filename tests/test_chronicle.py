"""What the driver writes down of a run, and how attempts are said to have ended."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from bessemer.errors import TrainingError
from bessemer.training import chronicle as module
from bessemer.training.attempts import Limits, Report
from bessemer.training.chronicle import Chronicle, read_heartbeat
from bessemer.training.folders import HEARTBEAT_FILE
from bessemer.training.monitor import Mailbox
from bessemer.utils.events import (
    AttemptEnded,
    AttemptStarted,
    CheckpointSaved,
    Note,
    Tally,
    TurnEnded,
)


def said(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "logs" / "driver.jsonl").read_text().splitlines()]


def beat(run_dir: Path) -> dict[str, Any]:
    return read_heartbeat(run_dir / HEARTBEAT_FILE)


def test_the_log_of_the_driver_tells_what_became_of_the_run(tmp_path: Path) -> None:
    kept = Chronicle(tmp_path, "today")
    with kept.kept():
        kept.take(AttemptStarted(1, "2 x cpu", None, num_workers=2))
        kept.take(TurnEnded("0", 1, 4, 6, 1.5, 10.0, 0.1, {"train/loss": 0.25}))
        kept.take(CheckpointSaved(6, 2**20, 0.5, time.time()))
        kept.take(AttemptEnded(1, "failure", "died", "a worker was lost", 8, 1))
        kept.take(AttemptStarted(2, "1 x cpu", 6, "failure", 2.0, 1))
    kept.end("complete")
    lines = said(tmp_path)
    assert [(line["event"], line["level"]) for line in lines] == [
        ("run_began", "INFO"),
        ("attempt_began", "INFO"),
        ("turn", "INFO"),
        ("checkpoint", "INFO"),
        ("attempt_ended", "ERROR"),
        ("attempt_began", "INFO"),
        ("run_ended", "INFO"),
    ]
    assert [line["message"] for line in lines][1:6] == [
        "attempt 1 begins on 2 x cpu, from the start",
        "epoch 1 of 4 took 1.5 s: train/loss 0.2500",
        "the checkpoint of step 6 is saved: 1 MiB in 0.5 s",
        "attempt 1 ended: failure (died), worker 1 after step 8: a worker was lost",
        "attempt 2 begins on 1 x cpu, from step 6, after a wait of 2 s",
    ]
    assert [(line["attempt"], line["step"], line["epoch"]) for line in lines][2] == (1, 6, 2)


def test_a_resize_is_said(tmp_path: Path) -> None:
    kept = Chronicle(tmp_path, "today")
    kept.take(AttemptStarted(2, "4 x cpu", 6, "resize", num_workers=4))
    assert [line["event"] for line in said(tmp_path)] == ["resized", "attempt_began"]


def test_a_note_is_written_once(tmp_path: Path) -> None:
    kept = Chronicle(tmp_path, "today")
    for _ in range(2):
        kept.take(Note("mind this"))
    assert [(line["level"], line["message"]) for line in said(tmp_path)] == [("WARNING", "mind this")]


def test_the_error_that_ends_a_run_is_written_with_its_traceback(tmp_path: Path) -> None:
    kept = Chronicle(tmp_path, "today")
    try:
        raise TrainingError("it failed", todo="look")
    except TrainingError as error:
        kept.failed(error)
    kept.end("failed")
    line = said(tmp_path)[0]
    assert (line["event"], line["level"]) == ("error", "ERROR")
    assert "in test_the_error_that_ends_a_run" in line["exception"]
    assert beat(tmp_path)["state"] == "failed"
    assert beat(tmp_path)["reason"] == "TrainingError: it failed"


def test_the_heartbeat_says_how_the_run_stands(tmp_path: Path) -> None:
    kept = Chronicle(tmp_path, "today")
    with kept.kept():
        kept.take(AttemptStarted(1, "2 x cpu", None, num_workers=2))
        now = beat(tmp_path)
        assert (now["state"], now["attempts"], now["workers"]) == ("running", 1, 2)
        kept.take(TurnEnded("0", 1, 4, 6, 1.5, 10.0, 0.1, {"train/loss": 0.25}))
        kept.take(Tally(1, 0.0, 0.0, step=9))
    kept.end("stopped")
    now = beat(tmp_path)
    assert (now["state"], now["workers"], now["step"], now["turn"], now["num_turns"]) == (
        "stopped",
        0,
        9,
        1,
        4,
    )
    assert now["metrics"] == {"train/loss": 0.25}


def test_the_heart_beats_while_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_EVERY_S", 0.02)
    with Chronicle(tmp_path, "today").kept():
        first, deadline = beat(tmp_path)["at"], time.monotonic() + 20
        while beat(tmp_path)["at"] == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert beat(tmp_path)["at"] > first


def test_attempts_are_counted_over_all_drivers_of_a_run(tmp_path: Path) -> None:
    first = Chronicle(tmp_path, "today")
    first.take(AttemptStarted(1, "cpu", None))
    first.take(AttemptStarted(2, "cpu", None))
    began_at = beat(tmp_path)["began_at"]
    second = Chronicle(tmp_path, "today")
    assert second.attempts_before == 2
    second.take(AttemptStarted(1, "cpu", 5))
    assert beat(tmp_path)["attempts"] == 3
    assert beat(tmp_path)["began_at"] == began_at
    assert said(tmp_path)[-1]["attempt"] == 3


def test_a_damaged_heartbeat_is_as_none(tmp_path: Path) -> None:
    (tmp_path / HEARTBEAT_FILE).write_text("[1")
    assert Chronicle(tmp_path, "today").attempts_before == 0


# How attempts end


def ends_of(mailbox: Mailbox) -> list[AttemptEnded]:
    return [event for event in mailbox.read().events if isinstance(event, AttemptEnded)]


def test_the_first_cause_of_a_failure_is_told_once() -> None:
    mailbox = Mailbox(Limits(max_failures=5))
    mailbox.begin_attempt()
    lost = TrainingError("a connection was lost")
    mailbox.failed_at(7, lost, rank=0, collateral=True)
    mailbox.ended([Report(1, "died", TrainingError("it was killed"), 6)], "caller")
    mailbox.ended([Report(1, "died", TrainingError("it was killed"), 6)], "caller")
    mailbox.begin_attempt()
    assert ends_of(mailbox) == [AttemptEnded(1, "failure", "died", "it was killed", 6, 1)]


def test_a_preemption_and_a_resize_are_told_as_such() -> None:
    mailbox = Mailbox()
    mailbox.begin_attempt()
    mailbox.ended([Report(0, "died", TrainingError("its node is gone"), 3, preempted=True)])
    mailbox.begin_attempt()
    mailbox.begin_attempt()
    assert ends_of(mailbox) == [
        AttemptEnded(1, "preemption", "preemption", "its node is gone", 3, 0),
        AttemptEnded(2, "resize", "resize"),
    ]


def test_the_failure_that_ends_the_run_is_told_too() -> None:
    mailbox = Mailbox(Limits(max_failures=0))
    mailbox.begin_attempt()
    assert mailbox.ended([Report(0, "program", TrainingError("bad"), 3)]) is not None
    assert [end.kind for end in ends_of(mailbox)] == ["program"]
