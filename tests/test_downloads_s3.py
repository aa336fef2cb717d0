"""A file of an S3 bucket comes, is resumed, and is not glued to another; the bucket is moto's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from bessemer.data.downloads.memory import Memory
from bessemer.data.downloads.obtaining import Means, obtain
from bessemer.data.downloads.plan import Wanted
from bessemer.data.downloads.report import FileReport
from bessemer.data.downloads.transfer import Patience, Transfer
from bessemer.data.downloads.unpacking import Limits
from bessemer.errors import DataError
from buckets import serving

CONTENT = os.urandom(3 * 2**20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(num_tries=2, first_wait_s=0.01)

# botocore calls what newer Pythons name otherwise; the server's sockets end with the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with serving() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found.client


def get(target: Path, sha256: str = "", key: str = "a.bin") -> FileReport:
    means = Means(Memory(None), Limits(10**9, 100, 100.0), patience=QUICK)
    return obtain(Wanted(target.name, (f"s3://data/{key}",), target, sha256), means)


def test_a_file_of_a_bucket_comes_and_is_resumed(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_object(Bucket="data", Key="a.bin", Body=CONTENT)
    target = tmp_path / "a.bin"
    assert get(target, SHA256).num_received_bytes == len(CONTENT)
    assert target.read_bytes() == CONTENT

    target.unlink()
    _break_off(target, monkeypatch)
    report = get(target)
    assert report.num_resumed_bytes == 2**20
    assert target.read_bytes() == CONTENT

    target.unlink()
    _break_off(target, monkeypatch)
    other = bytes(reversed(CONTENT))
    bucket.put_object(Bucket="data", Key="a.bin", Body=other)
    assert get(target).num_resumed_bytes == 0
    assert target.read_bytes() == other

    with pytest.raises(DataError, match="there is no such file"):
        get(tmp_path / "b.bin", key="none.bin")


def _break_off(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Transfer._take

    def take_one(transfer: Transfer, block: bytes, size: int | None) -> None:
        take(transfer, block, size)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Transfer, "_take", take_one)
        with pytest.raises(KeyboardInterrupt):
            get(target)
    assert not target.exists()
