"""A bucket that is empty before each test, and stores of checkpoints in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from at_home import RUN, forget_file_systems
from bessemer.training.checkpoints import CheckpointStore
from buckets import Bucket, serving


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
    forget_file_systems()
    return server


@pytest.fixture
def opened() -> Iterator[Callable[..., CheckpointStore]]:
    made: list[CheckpointStore] = []

    def open_one(keep: int = 10, retry_s: float = 0.0) -> CheckpointStore:
        made.append(CheckpointStore(f"{RUN}/checkpoints", keep, retry_s=retry_s))
        return made[-1]

    yield open_one
    for store in made:
        store._executor.shutdown()
