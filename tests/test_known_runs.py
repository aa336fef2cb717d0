"""How runs stand is read from what they leave, also where some of it is missing or damaged."""

from __future__ import annotations

import fcntl
import socket
from pathlib import Path
from typing import Any

import pytest

from bessemer.errors import ProjectError
from bessemer.observation.runs import (
    SILENT_S,
    find_run_folder,
    is_locked,
    known_run,
    run_folders,
    state_of,
)
from left_runs import checkpoint, made

HERE, ELSEWHERE = socket.gethostname(), "another-machine"


@pytest.mark.parametrize(
    ("has_result", "locked", "beat", "state"),
    [
        (False, True, {}, "running"),
        (False, True, {"state": "failed", "node": HERE, "at": 0.0}, "running"),
        (True, False, {}, "complete"),
        (False, False, {"state": "failed"}, "failed"),
        (False, False, {"state": "stopped"}, "stopped"),
        (False, False, {}, "died"),
        (False, False, {"state": "running", "node": HERE, "at": 1000.0}, "died"),
        (False, False, {"state": "running", "node": ELSEWHERE, "at": 1000.0 - SILENT_S / 2}, "running"),
        (False, False, {"state": "running", "node": ELSEWHERE, "at": 1000.0 - 2 * SILENT_S}, "died"),
    ],
)
def test_a_run_is_what_its_lock_its_result_and_its_heartbeat_say(
    has_result: bool, locked: bool, beat: dict[str, Any], state: str
) -> None:
    assert state_of(has_result, locked, beat, 1000.0) == state


def test_whether_a_driver_lives_is_told_by_who_holds_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "run.lock"
    assert not is_locked(file)
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert is_locked(file)
    assert not is_locked(file)


def test_each_fact_is_where_it_is_written(tmp_path: Path) -> None:
    beat = {"state": "failed", "node": HERE, "began_at": 100.0, "at": 160.0, "attempts": 3, "step": 40}
    beat |= {"turn": 4, "num_turns": 9, "metrics": {"loss": 0.5}, "reason": "TrainingError: no"}
    settings = '[checkpoint]\nbest_metric = "loss"\nbest_mode = "min"\n'
    record = {"run_id": "abc", "began_at": 100.0}
    folder = made(tmp_path, "digits", "a", heartbeat=beat, settings=settings, run=record)
    for step, metric in ((10, 0.5), (20, 0.25), (30, None)):
        checkpoint(folder, step, metric)
    run = known_run("digits", folder)
    assert (run.state, run.attempts, run.step, run.turn, run.num_turns) == ("failed", 3, 40, 4, 9)
    assert (run.checkpoint_step, run.best_metric, run.best) == (30, "loss", 0.25)
    assert (run.mlflow_run, run.duration_s, run.reason) == ("abc", 60.0, "TrainingError: no")
    assert (run.metrics, run.damaged) == ({"loss": 0.5}, ())


def test_a_run_of_before_there_were_heartbeats_is_read_from_the_rest(tmp_path: Path) -> None:
    folder = made(tmp_path, "digits", "a", result={"step": 12, "num_attempts": 2, "metrics": {"loss": 1.0}})
    run = known_run("digits", folder)
    assert (run.state, run.step, run.attempts, run.metrics) == ("complete", 12, 2, {"loss": 1.0})


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"step": "many", "attempts": null, "metrics": 3}', "\x00"])
def test_a_damaged_file_ends_nothing_and_is_named(tmp_path: Path, text: str) -> None:
    folder = made(tmp_path, "digits", "a", heartbeat=text, result=text, run=text, settings=text)
    checkpoint(folder, 10, None)
    (folder / "checkpoints" / "step-0000000010" / "manifest.json").write_text(text)
    run = known_run("digits", folder)
    assert run.state in ("complete", "died")
    if not text.startswith('{"'):
        assert {"heartbeat.json", "result.json", "run.json", "step-0000000010/manifest.json"} <= set(
            run.damaged
        )


def test_runs_are_found_newest_first_and_nothing_else_is_one(tmp_path: Path) -> None:
    made(tmp_path, "digits", "old", age_s=50)
    made(tmp_path, "spirals", "middle", age_s=30)
    made(tmp_path, "digits", "new", age_s=10)
    (tmp_path / "mlflow-artifacts" / "1").mkdir(parents=True)
    (tmp_path / "mlflow.db").touch()
    assert [(project, run.name) for project, run in run_folders(tmp_path)] == [
        ("digits", "new"),
        ("spirals", "middle"),
        ("digits", "old"),
    ]
    assert [run.name for _, run in run_folders(tmp_path, "digits")] == ["new", "old"]
    assert run_folders(tmp_path / "nothing") == []


def test_a_search_is_one_line_and_its_trials_are_found_by_name(tmp_path: Path) -> None:
    made(tmp_path, "digits/search", "trial-0001")
    (tmp_path / "digits" / "search" / "journal.jsonl").touch()
    ((_, folder),) = run_folders(tmp_path)
    assert known_run("digits", folder).kind == "search"
    assert find_run_folder(tmp_path, "digits", "search/trial-0001")[1].name == "trial-0001"


def test_a_run_is_found_by_its_name_with_or_without_its_project(tmp_path: Path) -> None:
    made(tmp_path, "digits", "first", age_s=20)
    made(tmp_path, "digits", "second")
    for name in ("first", "digits/first"):
        assert find_run_folder(tmp_path, name=name) == ("digits", tmp_path / "digits" / "first")
    assert find_run_folder(tmp_path)[1].name == "second"


def test_an_unknown_run_gets_the_nearest_one(tmp_path: Path) -> None:
    made(tmp_path, "digits", "20260518-101112")
    with pytest.raises(ProjectError, match="did you mean 20260518-101112") as caught:
        find_run_folder(tmp_path, "digits", "20260518-10111")
    assert "no run '20260518-10111'" in caught.value.found


def test_a_name_that_two_projects_have_is_refused_with_both(tmp_path: Path) -> None:
    for project in ("digits", "spirals"):
        made(tmp_path, project, "same")
    with pytest.raises(ProjectError, match="one of: "):
        find_run_folder(tmp_path, name="same")
    assert find_run_folder(tmp_path, "spirals", "same")[0] == "spirals"


def test_where_there_are_no_runs_it_says_how_one_begins(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="bessemer train --project digits"):
        find_run_folder(tmp_path, "digits")
