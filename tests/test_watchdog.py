"""A worker that makes no progress is ended, and says where it hung."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from bessemer.training.watchdog import Watchdog

LIMIT_S = 0.4


def watch(
    folder: Path, progress: Callable[[], int], limit_s: float = LIMIT_S
) -> tuple[threading.Event, Watchdog]:
    ended = threading.Event()
    return ended, Watchdog(limit_s, progress, folder / "logs" / "hung.log", ended.set)


def test_a_worker_without_progress_is_ended_and_its_stacks_are_logged(tmp_path: Path) -> None:
    ended, _ = watch(tmp_path, lambda: 3)
    assert ended.wait(10)
    log = (tmp_path / "logs" / "hung.log").read_text()
    assert "no progress for 0.4 s" in log
    assert "test_watchdog.py" in log


def test_a_worker_with_progress_is_left_alone(tmp_path: Path) -> None:
    ended, watchdog = watch(tmp_path, lambda: int(time.monotonic() * 1000))
    assert not ended.wait(4 * LIMIT_S)
    watchdog.close()


def test_nothing_is_watched_before_the_first_step_nor_when_it_is_turned_off(tmp_path: Path) -> None:
    before, watchdog = watch(tmp_path, lambda: 0)
    off, _ = watch(tmp_path, lambda: 3, limit_s=0)
    assert not before.wait(4 * LIMIT_S)
    assert not off.is_set()
    watchdog.close()
