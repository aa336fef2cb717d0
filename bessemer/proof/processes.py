"""Runs a command for a limited time, in a process group of its own; what it prints goes to a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LINES_SHOWN = 5
_GRACE_S = 20.0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status, negative for a signal, or None if it took too long and was ended.
        log_file: what it printed.
        limit_s: how long it was given (seconds).
    """

    status: int | None
    log_file: Path
    limit_s: float

    @property
    def printed(self) -> str:
        """All that it printed."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def __str__(self) -> str:
        lines = [line.rstrip() for line in self.printed.splitlines() if line.strip()]
        how = f"still ran after {self.limit_s:g} s" if self.status is None else f"exit status {self.status}"
        return "\n".join([how, *lines[-_LINES_SHOWN:]])


def run_bounded(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log_file: Path, limit_s: float
) -> Ended:
    """Run a command to its end; SIGTERM, then SIGKILL to its group if it takes too long.

    Args:
        command: what is run.
        folder: where.
        environment: variables of the process.
        log_file: where its output goes; standard input is closed.
        limit_s: how long it may take (seconds).
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    status: int | None
    try:
        status = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        _end(process)
    return Ended(status, log_file, limit_s)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process if it still runs, and whatever of its group is left."""
    if process.poll() is None:
        _signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
