"""What leaves a worker: metrics and files to MLflow, events to the driver. Only the main worker's is open.

Muted while a restart replays lines whose effects have already left the program.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from io import TextIOBase
from pathlib import Path
from typing import TextIO

from bessemer.training.home import Home
from bessemer.training.monitor import Monitor
from bessemer.training.relay import Writer
from bessemer.utils.events import Event


class Outlet:
    """The one way out of a worker.

    Args:
        writer: has MLflow written, or None to record nothing.
        monitor: tells the driver, or None to tell nobody.
        home: where files go that the driver has to find, if it does not see the folder of this node.
    """

    def __init__(
        self, writer: Writer | None = None, monitor: Monitor | None = None, home: Home | None = None
    ) -> None:
        self._writer = writer
        self._home = home
        self._monitor = monitor
        self.muted = False

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Record metrics at a step."""
        if self._writer is not None and not self.muted:
            self._writer.log(values, step)

    def event(self, event: Event) -> None:
        """Tell the driver."""
        if self._monitor is not None and not self.muted:
            self._monitor.send(event)

    def file(self, path: Path, folder: str) -> None:
        """Keep a copy of a file with the MLflow run."""
        if self._writer is not None and not self.muted:
            kept = path if self._home is None else Path(self._home.send_file(path))
            self._writer.log_file(kept, folder)

    def tags(self, tags: dict[str, str]) -> None:
        """Set tags of the MLflow run."""
        if self._writer is not None:
            self._writer.set_tags(tags)

    def barrier(self) -> Callable[[], None]:
        """Return a function that waits until what left so far is recorded."""
        return self._writer.barrier() if self._writer is not None else lambda: None

    def abandon(self) -> None:
        """Leave what is not written: the attempt has failed, and another writes it again."""
        if self._writer is not None:
            self._writer.abandon()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


class _Tee:
    """A text stream that writes to several others while a condition holds, and to none otherwise."""

    def __init__(self, targets: Sequence[TextIO | TextIOBase], is_open: Callable[[], bool]) -> None:
        self._targets = targets
        self._is_open = is_open

    def write(self, text: str) -> int:
        if self._is_open():
            for target in self._targets:
                target.write(text)
        return len(text)

    def flush(self) -> None:
        for target in self._targets:
            target.flush()

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._targets[0].fileno()


@contextlib.contextmanager
def prints_of(
    is_main: bool, log_file: Path, is_muted: Callable[[], bool], also: Sequence[TextIOBase] = ()
) -> Iterator[None]:
    """Send what the project's code prints to a log file, and nothing from the other workers.

    Args:
        is_main: whether this is the main worker.
        log_file: what is printed is appended.
        is_muted: whether nothing is printed now.
        also: these get what any worker prints.
    """
    if not is_main:
        with open(os.devnull, "w") as nowhere:
            tee = _Tee([nowhere, *also], lambda: not is_muted())
            with contextlib.redirect_stdout(tee):
                yield
        return
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with open(log_file, "a", buffering=1, encoding="utf-8") as log:
        tee = _Tee([log, sys.stdout, *also], lambda: not is_muted())
        with contextlib.redirect_stdout(tee):
            yield
