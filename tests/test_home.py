"""What of a run lies on object storage, and how it is there again on an empty machine; S3 is moto's."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from rich.console import Console
from torch import nn
from torch.autograd import backward
from torch.utils.data import TensorDataset

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from bessemer.config.settings import Settings
from bessemer.doctor import examine
from bessemer.errors import (
    BessemerError,
    CheckpointError,
    ProjectError,
    SettingsError,
    StorageError,
    TrackingError,
)
from bessemer.judgement.runs import find_run
from bessemer.training import lease as leases
from bessemer.training import objects as storing
from bessemer.training import urls
from bessemer.training.checkpoints import CheckpointStore, Saved
from bessemer.training.home import FILES_LIST, Home, folder_of, scratch_of
from bessemer.training.lease import Claim, Lease, take_lease
from bessemer.training.objects import Objects
from bessemer.training.placement import Placement
from bessemer.training.run import Run
from bessemer.training.storage import (
    checkpoints_of,
    home_of,
    is_complete,
    make_run_dir,
    only_driver,
    place_of,
    runs_at_home,
    shared_folder,
    storage_folder,
    tracking_of,
    write_record,
)
from bessemer.training.urls import checked_url, without_credentials
from bessemer.training.worker import Job, run_job
from bessemer.utils.collectives import Group
from buckets import SECRET, Bucket, serving
from runs import settings_with
from stores import state_of

# botocore calls what newer Pythons name otherwise; the server's sockets end with the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

URL = "s3://data/runs"
RUN = f"{URL}/digits/first"


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    with serving() as found:
        yield found


@pytest.fixture
def bucket(server: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    """An empty bucket, and a machine with an empty disk."""
    for name in server.names():
        server.client.delete_object(Bucket="data", Key=name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # One that is known reaches the address that it was made with.
    _forget_file_systems()
    return server


def settings_at(url: str = URL, **tracking: Any) -> Settings:
    return Settings.model_validate({"checkpoint": {"storage_path": url}, "tracking": tracking})


def saved_at(store: CheckpointStore, *steps: int, before: Callable[[], None] = lambda: None) -> list[Saved]:
    for step in steps:
        store.save(state_of(step), step, before=before)
    store.wait()
    return store.complete()


@pytest.fixture
def opened() -> Iterator[Callable[..., CheckpointStore]]:
    made: list[CheckpointStore] = []

    def open_one(keep: int = 10, retry_s: float = 0.0) -> CheckpointStore:
        made.append(CheckpointStore(f"{RUN}/checkpoints", keep, retry_s=retry_s))
        return made[-1]

    yield open_one
    for store in made:
        store._executor.shutdown()


# Where runs can be


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memory://runs", "the memory of one process"),
        ("https://host/runs", "cannot be written"),
        ("file:///runs", "named by its path alone"),
        ("sftp://host/runs", "is no object storage"),
        ("nonsense://runs", "is no object storage"),
        ("simplecache::s3://data/runs", "is no object storage"),
        ("s3:///runs", "names no bucket"),
        ("s3://key:secret@data/runs", "says more than where runs are"),
        ("s3://data/runs?token=secret", "says more than where runs are"),
    ],
)
def test_a_url_that_runs_cannot_be_kept_at_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        storage_folder(settings_at(url))
    assert caught.value.expected
    assert "secret" not in str(caught.value)


def test_object_storage_is_taken_as_it_is_without_a_slash_at_its_end() -> None:
    assert checked_url("s3://data/runs/") == "s3://data/runs"
    assert checked_url("gs://data") == "gs://data"


def test_a_storage_that_takes_and_gives_back_has_a_folder_here_and_nothing_is_left_of_the_look(
    bucket: Bucket, tmp_path: Path
) -> None:
    folder = storage_folder(settings_at())
    assert folder.is_relative_to(tmp_path / "cache")
    assert bucket.names() == []
    assert place_of(folder / "digits" / "first") == RUN
    assert place_of(tmp_path / "digits") == str(tmp_path / "digits")


def test_a_bucket_that_is_not_there_is_said_before_anything_starts(bucket: Bucket) -> None:
    with pytest.raises(StorageError, match="s3://none/runs cannot be written") as caught:
        storage_folder(settings_at("s3://none/runs"))
    assert caught.value.expected == "a bucket that exists"


def test_storage_that_does_not_answer_is_said_with_the_variable_of_its_address(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    _forget_file_systems()
    with pytest.raises(StorageError, match="cannot be written: Could not connect") as caught:
        storage_folder(settings_at())
    assert "AWS_ENDPOINT_URL" in caught.value.todo


def test_storage_that_swallows_what_it_is_sent_is_given_up_in_a_bounded_time(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(storing, "_CHECK_WITHIN_S", 0.5)
        _forget_file_systems()
        begun = time.monotonic()
        with pytest.raises(StorageError, match="no answer within"):
            storage_folder(settings_at())
    assert time.monotonic() - begun < 5


def test_storage_that_forbids_is_told_from_one_that_is_not_there(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(urls.opened(URL)[0], "pipe_file", forbidden)
    with pytest.raises(StorageError, match="cannot be written: Access Denied") as caught:
        storage_folder(settings_at())
    assert caught.value.expected.startswith("permission")


def test_without_credentials_it_is_said_which_variables_have_them(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    _forget_file_systems()
    with pytest.raises(StorageError) as caught:
        storage_folder(settings_at())
    _forget_file_systems()
    assert caught.value.expected == "credentials"
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.todo


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(StorageError) as caught:
        storage_folder(settings_at())
    assert caught.value.todo == "pip install 'bessemer[s3]'"


def test_no_key_and_no_password_is_in_what_is_said(bucket: Bucket) -> None:
    said = without_credentials(f"key-of-the-tests:{SECRET} at http://me:word@host/x")
    assert said == "***:*** at http://***@host/x"


def test_the_doctor_says_whether_storage_answers(bucket: Bucket) -> None:
    found = {}
    for check in examine(settings_at("s3://none/runs")):
        found[check.name] = check
        if check.name == "storage":
            break
    assert found["storage"].level == "error"
    assert "a bucket that exists" in found["storage"].found


def test_without_a_tracking_server_a_run_at_a_url_is_refused(bucket: Bucket) -> None:
    with pytest.raises(TrackingError, match="nothing says where MLflow records") as caught:
        tracking_of(settings_at(), storage_folder(settings_at()))
    assert "--tracking.uri" in caught.value.todo
    settings = settings_at(uri="http://127.0.0.1:5000")
    assert tracking_of(settings, storage_folder(settings)) == "http://127.0.0.1:5000"


def test_a_search_and_a_drill_at_a_url_are_refused() -> None:
    with pytest.raises(SettingsError, match="is a URL") as caught:
        shared_folder(settings_at(), "a search")
    assert "a search keeps files there" in caught.value.expected


def _forget_file_systems() -> None:
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()


# Checkpoints


def test_a_checkpoint_at_a_url_is_put_in_one_piece_with_its_manifest_last_and_read_again(
    bucket: Bucket, opened: Callable[..., CheckpointStore]
) -> None:
    order: list[list[str]] = []
    saved_at(opened(), 7, before=lambda: order.append(bucket.names()))
    assert [name.rpartition("/")[2][:6] for name in order[0]] == ["state-"]
    assert sum(name.endswith("manifest.json") for name in bucket.names()) == 1
    assert not any("/." in name for name in bucket.names())
    newest = opened().newest()
    assert newest is not None
    assert newest[0].step == 7
    assert newest[0].path == f"{RUN}/checkpoints/step-0000000007"
    assert torch.equal(newest[1]["weight"], torch.full((3,), 7.0))


def test_a_write_that_was_cut_off_before_its_manifest_does_not_count_and_is_written_again(
    bucket: Bucket, opened: Callable[..., CheckpointStore]
) -> None:
    saved_at(opened(), 3)

    def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        saved_at(opened(), 5, before=killed)
    assert any("step-0000000005" in name for name in bucket.names())
    assert [saved.step for saved in opened().complete()] == [3]
    assert [saved.step for saved in saved_at(opened(), 5)] == [3, 5]
    newest = opened().newest()
    assert newest is not None
    assert newest[0].step == 5


def test_who_goes_on_writing_after_it_was_replaced_damages_no_checkpoint(
    bucket: Bucket, opened: Callable[..., CheckpointStore]
) -> None:
    replaced, its_time = opened(), threading.Event()
    replaced.save(state_of(5), 5, before=lambda: assert_(its_time.wait(30)))
    (one,) = saved_at(opened(), 5)
    its_time.set()
    replaced.wait()
    assert opened().load(one)["step"] == 5
    newest = opened().newest()
    assert newest is not None
    assert newest[1]["step"] == 5


def assert_(value: bool) -> None:
    assert value


def test_old_checkpoints_at_a_url_go_whole(bucket: Bucket, opened: Callable[..., CheckpointStore]) -> None:
    assert [saved.step for saved in saved_at(opened(keep=2), 1, 2, 3, 4)] == [3, 4]
    assert not any("step-0000000001" in name or "step-0000000002" in name for name in bucket.names())


def test_storage_that_is_away_for_a_while_is_waited_for(
    bucket: Bucket, opened: Callable[..., CheckpointStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    system, failures = urls.opened(URL)[0], [1, 1, 1]
    put = system.pipe_file

    def failing(*arguments: Any, **options: Any) -> Any:
        if failures and failures.pop():
            raise OSError("Service Unavailable")
        return put(*arguments, **options)

    monkeypatch.setattr(urls, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(system, "pipe_file", failing)
    assert [saved.step for saved in saved_at(opened(retry_s=20.0), 2)] == [2]
    assert not failures


def test_storage_that_stays_away_ends_the_attempt_with_a_checkpoint_error_without_a_secret(
    bucket: Bucket, opened: Callable[..., CheckpointStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def failing(*_: Any, **__: Any) -> Any:
        calls.append(1)
        raise OSError(f"no answer to {SECRET}")

    monkeypatch.setattr(urls, "_FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(urls.opened(URL)[0], "pipe_file", failing)
    with pytest.raises(CheckpointError, match=r"be written to s3://data/runs.*no answer to \*\*\*") as caught:
        saved_at(opened(retry_s=0.5), 2)
    assert len(calls) > 1
    assert caught.value.__cause__ is None


def test_a_server_that_goes_and_comes_back_costs_no_checkpoint(
    bucket: Bucket, opened: Callable[..., CheckpointStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.server import ThreadedMotoServer

    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with serving() as other:
        for name, value in other.environment.items():
            monkeypatch.setenv(name, value)
        _forget_file_systems()
        store, (host, port) = opened(retry_s=30.0), other.server.get_host_and_port()
        saved_at(store, 1)
        other.server.stop()
        store.save(state_of(2), 2)
        time.sleep(1.0)
        assert store._pending is not None
        assert not store._pending.done()
        again = ThreadedMotoServer(host, port=port, verbose=False)
        again.start()
        store.wait()
        assert [saved.step for saved in store.complete()] == [1, 2]
        again.stop()
    _forget_file_systems()


def test_what_storage_refuses_is_not_tried_again(
    bucket: Bucket, opened: Callable[..., CheckpointStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def forbidden(*_: Any, **__: Any) -> Any:
        calls.append(1)
        raise PermissionError("Access Denied")

    monkeypatch.setattr(urls.opened(URL)[0], "pipe_file", forbidden)
    with pytest.raises(CheckpointError, match="Access Denied"):
        saved_at(opened(retry_s=20.0), 2)
    assert len(calls) == 1


# What the program saves


def home_on(node: Path, claim: Claim | None = None) -> Home:
    return Home(RUN, node, claim=claim)


def written(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def files_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_what_the_program_saved_is_on_a_node_that_has_nothing(bucket: Bucket, tmp_path: Path) -> None:
    written(tmp_path / "a", model_pt="one", out__log_csv="rows")
    home_on(tmp_path / "a").send()
    home_on(tmp_path / "b").fetch()
    assert files_of(tmp_path / "b") == {"model.pt": "one", "out/log.csv": "rows"}


def test_what_is_not_the_programs_is_not_put_with_its_files(bucket: Bucket, tmp_path: Path) -> None:
    names = ("logs/train.log", "positions/worker-0.bin", "checkpoints/x", "evaluation/y", "settings.toml")
    for name in (*names, "out/.part", ".hidden/z", "run.lock", "result.json", "mine.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    home_on(tmp_path).send()
    assert sorted(bucket.names()) == [f"runs/digits/first/{FILES_LIST}", "runs/digits/first/mine.txt"]


def test_only_what_was_written_again_is_put_again(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, send = home_on(tmp_path), Objects.send
    sent: list[str] = []

    def noted(objects: Objects, path: Path, name: str) -> None:
        sent.append(name)
        send(objects, path, name)

    monkeypatch.setattr(Objects, "send", noted)
    written(tmp_path, a_pt="1", b_pt="1")
    home.send_file(tmp_path / "a.pt")
    home.send()
    home.send()
    written(tmp_path, b_pt="22")
    home.send()
    assert sent == ["a.pt", "b.pt", "b.pt"]


def test_what_the_program_removed_is_gone_at_home_too(bucket: Bucket, tmp_path: Path) -> None:
    home = home_on(tmp_path / "a")
    written(tmp_path / "a", old_pt="1", new_pt="2")
    home.send()
    (tmp_path / "a" / "old.pt").unlink()
    home.send()
    assert "runs/digits/first/old.pt" not in bucket.names()
    home_on(tmp_path / "b").fetch()
    assert files_of(tmp_path / "b") == {"new.pt": "2"}


def test_a_node_that_was_on_its_own_way_has_what_the_others_have(bucket: Bucket, tmp_path: Path) -> None:
    written(tmp_path / "a", model_pt="of the checkpoint", same_pt="same")
    home_on(tmp_path / "a").send()
    written(tmp_path / "b", model_pt="of a lost attempt", more_pt="lost", same_pt="same")
    written(tmp_path / "b", logs__train_log="kept")
    untouched = (tmp_path / "b" / "same.pt").stat().st_mtime_ns
    home_on(tmp_path / "b").fetch()
    assert files_of(tmp_path / "b") == {
        "logs/train.log": "kept",
        "model.pt": "of the checkpoint",
        "same.pt": "same",
    }
    assert (tmp_path / "b" / "same.pt").stat().st_mtime_ns == untouched


def test_files_that_were_put_without_their_list_are_not_of_any_checkpoint(
    bucket: Bucket, tmp_path: Path
) -> None:
    written(tmp_path / "a", model_pt="one")
    home_on(tmp_path / "a").send_file(tmp_path / "a" / "model.pt")
    home_on(tmp_path / "b").fetch()
    assert files_of(tmp_path / "b") == {}


def test_a_file_that_goes_to_mlflow_is_brought_aside_of_the_one_that_is_written(
    bucket: Bucket, tmp_path: Path
) -> None:
    home = home_on(tmp_path)
    written(tmp_path, out__model_pt="one")
    home.send_file(tmp_path / "out" / "model.pt")
    written(tmp_path, out__model_pt="two")
    kept = home.fetch_kept("out/model.pt")
    assert (kept.name, kept.read_text()) == ("model.pt", "one")
    assert (tmp_path / "out" / "model.pt").read_text() == "two"
    home.close()
    assert not kept.exists()


def test_logs_of_two_nodes_stand_beside_each_other_and_storage_that_is_away_loses_only_them(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, logs__train_log="one")
    for node in ("a", "b"):
        monkeypatch.setattr(socket, "gethostname", lambda node=node: node)
        home_on(tmp_path).send_logs()
    assert bucket.names() == [f"runs/digits/first/logs/{node}/train.log" for node in ("a", "b")]

    def away(*_: Any) -> None:
        raise StorageError("away")

    monkeypatch.setattr(Objects, "send", away)
    home_on(tmp_path).send_logs()


def test_a_worker_finds_the_folder_of_its_driver_by_the_url_alone(bucket: Bucket) -> None:
    assert folder_of(RUN) == storage_folder(settings_at()) / "digits" / "first"
    assert scratch_of("s3://data/runs") != scratch_of("s3://data-runs")


def saving(run: Run, _settings: Any) -> None:
    """Saves a file in each turn, and fails once, after the checkpoint of its second."""
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(TensorDataset(torch.arange(24.0).reshape(8, 3)), batch_size=2)
    for epoch in run.epochs(4):
        if epoch:
            assert torch.load(run.saved(f"turn-{epoch - 1}.pt"), weights_only=True) == epoch - 1
            assert (run.output_dir / f"by-hand-{epoch - 1}.txt").read_text() == str(epoch - 1)
        for (x,) in loader:
            optimizer.zero_grad()
            backward(model(x).square().mean())
            optimizer.step()
        run.save(epoch, f"turn-{epoch}.pt")
        (run.output_dir / f"by-hand-{epoch}.txt").write_text(str(epoch))
        if epoch == 2 and not FAILED:
            FAILED.append(epoch)
            raise ValueError("no more")
    # No checkpoint takes what comes now along.
    store = run._session.given.store
    assert store is not None
    store.wait()
    (run.output_dir / "after-all.txt").write_text("done")


FAILED: list[int] = []


def work() -> Saved | None:
    job = Job(
        search_path=(),
        program=b"",
        settings=cloudpickle.dumps(settings_with(tracking={"log_model": False})),
        run_dir=Path("/nonexistent"),
        placement=Placement(1, False, 1.0, 0.0, 1, 1.0),
        tracked=None,
        monitor=None,
        home=RUN,
    )
    # By reference: what it remembers is of this process.
    return run_job(replace(job, program=cloudpickle.dumps(saving)), Group(), torch.device("cpu"), None)


def test_a_worker_on_an_empty_machine_goes_on_with_the_checkpoint_and_the_files_before_it(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAILED.clear()
    with pytest.raises(BessemerError, match="no more"):
        work()
    listed = set(json.loads(bucket.read(f"runs/digits/first/{FILES_LIST}")))
    assert listed >= {"turn-0.pt", "by-hand-0.txt", "turn-1.pt", "by-hand-1.txt"}
    assert any("error-worker-0.log" in name for name in bucket.names("runs/digits/first/logs/"))
    assert not list((tmp_path / "cache").rglob("state*.pt"))
    elsewhere(monkeypatch, tmp_path)
    best = work()
    assert best is not None
    assert best.step == 16
    assert bucket.read("runs/digits/first/by-hand-3.txt") == b"3"
    assert bucket.read("runs/digits/first/after-all.txt") == b"done"
    assert (folder_of(RUN) / "by-hand-0.txt").read_text() == "0"


# One driver at a time


def lease_of(run: str = "first", lease_s: float = 30.0, renew_every_s: float = 10.0, **more: Any) -> Lease:
    return take_lease(Objects(RUN), run, lease_s=lease_s, renew_every_s=renew_every_s, **more)


def dead(lease: Lease) -> None:
    """End a lease as a SIGKILL of its driver does: nobody says that it ended."""
    lease._objects = Objects("s3://none/x")
    lease.close()


def test_a_second_driver_is_refused_and_told_who_the_first_is(bucket: Bucket) -> None:
    held = lease_of(lease_s=3.0, renew_every_s=0.2)
    with pytest.raises(StorageError, match=f"being trained by another process: process {os.getpid()} on"):
        lease_of(lease_s=3.0)
    held.close()


def test_a_driver_that_ended_is_followed_at_once(bucket: Bucket) -> None:
    said: list[str] = []
    for number in (1, 2, 3):
        lease = lease_of(tell=said.append)
        assert lease.claim.number == number
        lease.close()
    assert said == []
    assert len(bucket.names()) == 1


def test_the_lease_of_a_dead_driver_runs_out_and_it_is_said_when(bucket: Bucket) -> None:
    dead(lease_of(lease_s=2.0))
    said: list[str] = []
    begun = time.monotonic()
    lease = lease_of(tell=said.append)
    assert 0.5 < time.monotonic() - begun < 10
    assert lease.claim.number == 2
    assert "has not said that it ended: its lease runs out in 2 s unless it lives" in said[0]
    lease.close()


def test_a_lease_that_ran_out_long_ago_is_not_waited_for(bucket: Bucket) -> None:
    dead(lease_of(lease_s=0.5))
    time.sleep(2.6)
    said: list[str] = []
    lease_of(tell=said.append).close()
    assert said == []


def test_of_many_who_want_the_lease_of_a_dead_driver_one_gets_it(bucket: Bucket) -> None:
    dead(lease_of(lease_s=1.0))
    got: list[Lease] = []
    refused: list[BessemerError] = []

    def want() -> None:
        try:
            got.append(lease_of())
        except StorageError as error:
            refused.append(error)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(got), len(refused)) == (1, 3)
    got[0].close()


def test_who_slept_over_its_lease_is_told_and_its_workers_checkpoints_count_no_more(
    bucket: Bucket, tmp_path: Path
) -> None:
    asleep = lease_of(lease_s=0.2, renew_every_s=3.0)
    lost: list[BessemerError] = []
    asleep.on_lost = lost.append
    home = home_on(tmp_path, asleep.claim)
    home.send()
    other = lease_of()
    with pytest.raises(CheckpointError, match="another driver has taken over the run"):
        home.send()
    asleep._thread.join(20)
    assert len(lost) == 1
    home_on(tmp_path, other.claim).send()
    other.close()


def test_a_lease_survives_storage_that_is_away_for_a_while(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[BessemerError] = []
    check, failures = leases.check_held, [1, 1]

    def away(objects: Objects, claim: Claim) -> None:
        if failures:
            failures.pop()
            raise StorageError("away")
        check(objects, claim)

    monkeypatch.setattr(leases, "check_held", away)
    lease = lease_of(lease_s=5.0, renew_every_s=0.05)
    lease.on_lost = lost.append
    until = time.monotonic() + 10
    while json.loads(bucket.read("runs/digits/first/run.lock/00000001"))["renewal"] < 4:
        assert time.monotonic() < until
        time.sleep(0.05)
    lease.close()
    assert not lost
    assert json.loads(bucket.read("runs/digits/first/run.lock/00000001"))["released"]


# Runs that are found from elsewhere


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


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))


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
