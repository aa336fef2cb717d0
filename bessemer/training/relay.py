"""How what a program logs reaches MLflow: the main worker sends records, its driver writes them.

A worker that imports MLflow takes 100 MB more and two seconds of the processor at each restart; the
driver has it anyway. A checkpoint counts only once the driver says that what was logged before it is
written.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

from bessemer.config.settings import Tracking
from bessemer.errors import BessemerError
from bessemer.tracking import MetricWriter, TrackedRun
from bessemer.training.home import Home
from bessemer.training.monitor import Monitor
from bessemer.utils.machine import MachineMeter
from bessemer.utils.records import Barrier, Begun, KeptFile, Points, Record, Tags

_SEND_EVERY_S = 0.25
_LISTEN_S = 5.0


class Writer(Protocol):
    """Where metrics, files and tags go; what is given to it returns at once."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Write the values of some metrics at a step."""

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a file with the run."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""

    def barrier(self) -> Callable[[], None]:
        """Return a function that waits until all that was given so far is written."""

    def close(self) -> None:
        """Wait until everything is written, and end."""

    def abandon(self) -> None:
        """End without waiting."""


class RelayedWriter:
    """The worker's end.

    Args:
        monitor: the line to the driver.
        attempt: 1 for the first attempt of this driver.
        resumed: whether an earlier attempt may have written the same points.
        machine_every_s: how often this machine is measured (seconds), or 0 for never.
        began_at: when the run began (seconds since 1970).
    """

    def __init__(
        self,
        monitor: Monitor,
        attempt: int,
        resumed: bool,
        machine_every_s: float = 0.0,
        began_at: float = 0.0,
    ) -> None:
        self._monitor = monitor
        self._attempt = attempt
        self._lock = threading.Lock()
        self._waiting: list[Record] = [Begun(resumed)]
        self._points: list[tuple[str, float, int, int]] = []
        self._barriers = itertools.count()
        self._sender = secrets.token_hex(8)
        self._num_sent = itertools.count()
        self._machine_every_s = machine_every_s
        self._began_at = began_at
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="bessemer-relay", daemon=True)
        self._thread.start()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Send the values of some metrics at a step, a little later."""
        now_ms = int(time.time() * 1000)
        with self._lock:
            self._points += [(name, value, now_ms, step) for name, value in metrics.items()]

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Have a file kept with the run; the driver must find it under this path."""
        self._add(KeptFile(path, folder))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Have tags of the run set."""
        self._add(Tags(dict(tags)))

    def barrier(self) -> Callable[[], None]:
        """Return a function that waits until all that was given so far is written.

        It raises a TrackingError if it cannot be written.
        """
        name = f"{self._attempt}-{next(self._barriers)}"
        self._add(Barrier(name))
        self._send()

        def wait() -> None:
            while True:
                is_written, error = self._monitor.written(name, _LISTEN_S)
                if error is not None:
                    raise error
                if is_written:
                    return

        return wait

    def close(self) -> None:
        """Wait until everything is written.

        Raises:
            TrackingError: something could not be written.
        """
        self._closing.set()
        self._thread.join()
        self.barrier()()

    def abandon(self) -> None:
        """End without waiting for what is not written: the attempt has failed."""
        self._closing.set()

    def _add(self, record: Record) -> None:
        with self._lock:
            self._gather()
            self._waiting.append(record)

    def _gather(self) -> None:
        if self._points:
            self._waiting.append(Points(tuple(self._points)))
            self._points = []

    def _send(self) -> None:
        with self._lock:
            self._gather()
            # In the lock: two senders must not overtake each other.
            if self._waiting:
                self._monitor.record(self._waiting, self._sender, next(self._num_sent))
                self._waiting = []

    def _serve(self) -> None:
        meter = MachineMeter(Path.cwd()) if self._machine_every_s > 0 else None
        measured_at = time.monotonic()
        while not self._closing.wait(_SEND_EVERY_S):
            if meter is not None and time.monotonic() - measured_at >= self._machine_every_s:
                measured_at = time.monotonic()
                # These have no step of the run: seconds since it began go on after a restart.
                self.log(meter.read(), int(time.time() - self._began_at))
            self._send()


class Recorder:
    """The driver's end: writes records in their order, and tells who waits.

    Args:
        tracked: the run.
        settings: how it is written.
        monitor: told what is written.
        home: where the workers put files, if this machine does not see their folders.
    """

    def __init__(
        self, tracked: TrackedRun, settings: Tracking, monitor: Monitor, home: Home | None = None
    ) -> None:
        self._home = home
        self._tracked = tracked
        self._settings = settings
        self._monitor = monitor
        self._writer: MetricWriter | None = None
        self._tellers = ThreadPoolExecutor(1, "bessemer-recorder")

    def take(self, records: Sequence[Record]) -> None:
        """Write records that came in; returns at once."""
        for record in records:
            if isinstance(record, Begun):  # the first that any attempt sends
                self._writer = self._writer_of_attempt(record.resumed)
                continue
            writer = self._writer
            assert writer is not None
            match record:
                case Points():
                    writer.log_points(record.values)
                case KeptFile():
                    writer.log_file(self._here(record.path), record.folder)
                case Tags():
                    writer.set_tags(record.values)
                case Barrier():
                    self._tellers.submit(self._tell, record.name, writer.barrier())

    def close(self) -> None:
        """Write what is left and end.

        Raises:
            TrackingError: something could not be written.
        """
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            self._tellers.shutdown()

    def _here(self, path: Path) -> Path | Callable[[], Path]:
        home = self._home
        return path if home is None else partial(home.fetch_kept, path.as_posix())

    def _writer_of_attempt(self, resumed: bool) -> MetricWriter:
        if self._writer is None or self._writer.has_failed:
            tracking = self._settings
            return MetricWriter(self._tracked, tracking.flush_every_s, resumed, tracking.retry_s)
        self._writer.begin_again()
        return self._writer

    def _tell(self, name: str, wait: Callable[[], None]) -> None:
        error: BessemerError | None = None
        try:
            wait()
        except BessemerError as found:
            error = found
        self._monitor.tell_written(name, error)
