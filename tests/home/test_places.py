"""Where runs can be: what is taken, and what is refused with its reason. S3 is moto's."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from at_home import RUN, URL, forget_file_systems, settings_at
from bessemer.doctor import examine
from bessemer.errors import SettingsError, StorageError, TrackingError
from bessemer.training import objects as storing
from bessemer.training import urls
from bessemer.training.storage import place_of, shared_folder, storage_folder, tracking_of
from bessemer.training.urls import checked_url, without_credentials
from buckets import SECRET, Bucket

# botocore calls what newer Pythons name otherwise; the server's sockets end with the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


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
    forget_file_systems()
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
        forget_file_systems()
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
    forget_file_systems()
    with pytest.raises(StorageError) as caught:
        storage_folder(settings_at())
    forget_file_systems()
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
