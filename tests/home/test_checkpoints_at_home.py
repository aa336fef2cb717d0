"""Checkpoints on object storage are whole or not there, whatever storage does meanwhile. S3 is moto's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from at_home import RUN, URL, forget_file_systems, saved_at
from bessemer.errors import CheckpointError
from bessemer.training import urls
from bessemer.training.checkpoints import CheckpointStore
from buckets import SECRET, Bucket, serving
from stores import state_of

# botocore calls what newer Pythons name otherwise; the server's sockets end with the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


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
        forget_file_systems()
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
    forget_file_systems()


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
