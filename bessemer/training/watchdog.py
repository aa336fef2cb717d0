"""Ends a worker that makes no progress: a deadlock, a dead file system, a stopped peer.

Without it a hung worker keeps its GPUs until somebody looks. Ray sees the process end and starts the
workers again, as after any failure. The stack of every thread goes to the run's logs first.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

EXIT_STATUS = 75


class Watchdog:
    """Watches a number that grows with every step.

    Args:
        limit_s: longest time without progress (seconds); 0 to watch nothing.
        progress: returns a number that differs after any progress; watched once it is above 0.
        log_file: where stacks go.
        end: ends the process.
    """

    def __init__(
        self,
        limit_s: float,
        progress: Callable[[], int],
        log_file: Path,
        end: Callable[[], None] = lambda: os._exit(EXIT_STATUS),
    ) -> None:
        self._limit_s = limit_s
        self._progress = progress
        self._log_file = log_file
        self._end = end
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bessemer-watchdog", daemon=True)
        if limit_s > 0:
            self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._done.set()

    def _watch(self) -> None:
        seen, since = self._progress(), time.monotonic()
        while not self._done.wait(min(1.0, self._limit_s / 4)):
            now = self._progress()
            if now != seen or now == 0:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > self._limit_s:
                self._report()
                self._end()
                return

    def _report(self) -> None:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with open(self._log_file, "a", encoding="utf-8") as log:
            log.write(
                f"no progress for {self._limit_s:g} s: this worker is ended, to be started again; "
                "scaling.step_timeout_s allows more\n"
            )
            log.flush()
            faulthandler.dump_traceback(log, all_threads=True)
