"""Runs at a URL are found, shown and gone on with from another machine. S3 is moto's."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from at_home import URL, elsewhere, files_of, saved_at, settings_at, written
from bessemer.errors import ProjectError, StorageError
from bessemer.judgement.runs import find_run
from bessemer.training.checkpoints import CheckpointStore
from bessemer.training.lease import Lease
from bessemer.training.storage import (
    checkpoints_of,
    home_of,
    is_complete,
    make_run_dir,
    only_driver,
    runs_at_home,
    storage_folder,
    write_record,
)
from buckets import Bucket

# botocore calls what newer Pythons name otherwise; the server's sockets end with the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def begun(name: str, complete: bool = False, steps: tuple[int, ...] = (1,)) -> Path:
    run_dir = make_run_dir(storage_folder(settings_at()), "digits", name)
    write_record(run_dir, "settings.toml", f'name = "{name}"\n')
    write_record(run_dir, "run.json", "{}")
    store = CheckpointStore(f"{URL}/digits/{name}/checkpoints", 2)
    saved_at(store, *steps)
    store.close()
    if complete:
        write_record(run_dir, "result.json", "{}")
    return run_dir


def test_another_machine_finds_the_newest_run_its_settings_and_its_checkpoints(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun("b", complete=True)
    time.sleep(1.1)  # storage counts in whole seconds
    begun("a", steps=(1, 2))
    elsewhere(monkeypatch, tmp_path)
    found = find_run(settings_at(), "digits")
    assert found.name == "a"
    assert found.is_relative_to(tmp_path / "another machine")
    assert (found / "settings.toml").read_text() == 'name = "a"\n'
    assert not is_complete(found)
    assert [saved.step for saved in checkpoints_of(found, settings_at()).complete()] == [1, 2]
    assert is_complete(find_run(settings_at(), "digits", "b", needs_checkpoint=False))
    with pytest.raises(ProjectError, match="has no run 'c' with a checkpoint in s3://data/runs/digits"):
        find_run(settings_at(), "digits", "c")


def test_a_machine_that_knows_an_older_state_of_a_run_gets_the_newer_one(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = begun("a", complete=True)
    bucket.client.delete_object(Bucket="data", Key="runs/digits/a/result.json")
    bucket.write("runs/digits/a/settings.toml", b"newer")
    assert find_run(settings_at(), "digits") == run_dir
    assert not is_complete(run_dir)
    assert (run_dir / "settings.toml").read_text() == "newer"


def test_what_was_found_out_of_a_run_is_found_from_elsewhere(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bessemer.judgement.evaluation import send_evaluation

    run_dir = begun("a")
    written(run_dir, evaluation__test__report_json="{}", evaluation__work__parts="no")
    send_evaluation(run_dir)
    elsewhere(monkeypatch, tmp_path)
    found = find_run(settings_at(), "digits")
    assert files_of(found / "evaluation") == {"test/report.json": "{}"}
    written(run_dir, evaluation__other__report_json="{}")
    (run_dir / "evaluation" / "test" / "report.json").unlink()
    send_evaluation(run_dir)
    assert files_of(find_run(settings_at(), "digits") / "evaluation") == {"other/report.json": "{}"}


def test_a_name_that_a_run_at_the_url_has_is_taken_and_a_new_run_has_nothing_of_an_old_one(
    bucket: Bucket, tmp_path: Path
) -> None:
    run_dir = begun("a")
    with pytest.raises(StorageError, match="there is a run a of digits already: s3://data/runs/digits/a"):
        make_run_dir(storage_folder(settings_at()), "digits", "a")
    for name in bucket.names():
        bucket.client.delete_object(Bucket="data", Key=name)
    written(run_dir, model_pt="of the old one")
    assert files_of(make_run_dir(storage_folder(settings_at()), "digits", "a")) == {}


def test_a_run_at_a_url_is_held_by_a_lease_and_one_in_a_folder_by_a_lock(
    bucket: Bucket, tmp_path: Path
) -> None:
    run_dir = begun("a")
    held = only_driver(run_dir)
    assert isinstance(held, Lease)
    held.close()
    local = make_run_dir(tmp_path, "digits", "a")
    only_driver(local).close()
    assert (local / "run.lock").is_file()
    assert home_of(local) is None
    assert runs_at_home(tmp_path / "digits") is None


def test_where_a_run_is_is_shown_with_its_result(bucket: Bucket) -> None:
    from bessemer.reports import show_outcome
    from bessemer.tracking import TrackedRun
    from bessemer.training.account import Books
    from bessemer.training.trainer import Outcome

    tracked = TrackedRun("http://host", "1", "2", "a")
    account = Books(0.0).account(1.0)
    outcome = Outcome("a", begun("a"), {}, 3, None, tracked, 1, 1.0, None, account)
    text = io.StringIO()
    show_outcome(Console(file=text, width=200), "digits", outcome)
    assert "storage     s3://data/runs/digits/a" in text.getvalue()
