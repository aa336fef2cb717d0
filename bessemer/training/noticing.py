"""Tells when Ray Train noticed that workers failed: the only place that uses its callbacks.

They are developer API: `tests/test_noticing.py` says when they change.
"""

from __future__ import annotations

import time
from typing import Any

import ray.train

from bessemer.training.monitor import Monitor
from bessemer.utils.events import FailureNoticed


class Noticing(ray.train.UserCallback):  # type: ignore[misc]
    """Called in the process that looks after the workers.

    Args:
        monitor: told when a failure is noticed.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Tell the driver at once; what failed, the workers tell themselves."""
        self._monitor.send(FailureNoticed(time.time()))
