"""Fixtures of several files: a settings file, checkpoint stores, streams that begin at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stores import Stores


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a settings file."""

    def write_file(text: str) -> Path:
        file = tmp_path / "settings.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write_file


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    """Open stores on one folder, and close them."""
    from stores import Stores

    made = Stores(tmp_path / "checkpoints")
    yield made
    for store in made.opened:
        store._executor.shutdown()


@pytest.fixture
def streams_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine's clock a fake stream may be slower than none, or never be worth it."""
    monkeypatch.setattr("bessemer.data.feed._NUM_COMPARED", 10**9)
    for name in ("_FIRST_LEAD_S", "_LATER_LEAD_S", "_LEAST_S"):
        monkeypatch.setattr(f"bessemer.data.feed.{name}", 0.0)
