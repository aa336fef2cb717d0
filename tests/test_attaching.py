"""The logs of a run are kept with its MLflow run, masked and of bounded size."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from bessemer.tracking import TrackedRun, close_run, open_run
from bessemer.training import attaching
from bessemer.training.attaching import attach_logs


@pytest.fixture
def tracked(tmp_path: Path) -> TrackedRun:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    made = open_run(uri, "digits", "today", {}, tmp_path)
    close_run(made, "FAILED")
    return made


def attached(tracked: TrackedRun, folder: Path, name: str) -> str:
    place = MlflowClient(tracked.uri).download_artifacts(tracked.run_id, f"logs/{name}", str(folder))
    return Path(place).read_text()


def write(run_dir: Path, name: str, text: str) -> None:
    (run_dir / "logs").mkdir(parents=True, exist_ok=True)
    (run_dir / "logs" / name).write_text(text)


def test_logs_are_attached_to_a_closed_run_and_longer_ones_replace_them(
    tracked: TrackedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(attaching, "MOST_BYTES", 30)
    monkeypatch.setenv("SOME_PASSWORD", "hush-hush")
    for number in (1, 2):
        write(tmp_path / "run", "driver.jsonl", "a line\n" * number)
        write(tmp_path / "run", "train.log", "hush-hush\n")
        write(tmp_path / "run", "long.log", "".join(f"number {i}\n" for i in range(9)))
        attach_logs(tracked, tmp_path / "run", told.append)
    (tmp_path / "down").mkdir()
    assert attached(tracked, tmp_path / "down", "driver.jsonl") == "a line\na line\n"
    assert attached(tracked, tmp_path / "down", "train.log") == "***\n"
    # Of a long file the last whole lines are kept.
    assert attached(tracked, tmp_path / "down", "long.log") == "number 6\nnumber 7\nnumber 8\n"
    assert told == []


def test_what_prevents_it_is_told_in_one_line(tracked: TrackedRun, tmp_path: Path) -> None:
    told: list[str] = []
    attach_logs(tracked, tmp_path / "nothing", told.append)
    write(tmp_path / "run", "driver.jsonl", "a\n")
    gone = TrackedRun(tracked.uri, "0" * 32, tracked.experiment_id, "gone")
    attach_logs(gone, tmp_path / "run", told.append)
    assert len(told) == 2
    for sentence in told:
        assert sentence.startswith("the logs are not attached to the MLflow run, they are in ")
        assert "\n" not in sentence
