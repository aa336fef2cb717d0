"""Lines of a log for machines: one JSON object a line, in files that do not grow without end.

Each process that takes part in a run has a file of its own. A line has always the same keys (`KEYS`), and
`stream`, `event` and `exception` where there are such.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bessemer.utils.masking import Mask

KEYS = ("time", "level", "logger", "message", "run", "attempt", "rank", "step", "epoch", "node", "pid")
# A file is at most so long, and so many older ones are kept beside it: 32 MiB for a process in all.
MAX_BYTES, NUM_OLD = 8 * 2**20, 3
_MAX_TEXT = 16 * 1024
_Told = Callable[[str], None]


@dataclass(frozen=True)
class Where:
    """Where a process is in its run; None for what is not known.

    Attributes:
        attempt: worker groups of the run that began so far, those of earlier drivers included (count).
        step: optimizer steps (count).
        epoch: turn of the outer loop, from 1.
    """

    attempt: int | None = None
    step: int | None = None
    epoch: int | None = None


class JsonLines(logging.Formatter):
    """Makes a line of a record, without secrets.

    Args:
        run: name of the run.
        rank: of the worker; None for the driver.
        where: asked at each line.
    """

    def __init__(self, run: str, rank: int | None, where: Callable[[], Where]) -> None:
        super().__init__()
        self._run, self._rank, self._where = run, rank, where
        self._node = socket.gethostname()
        self._mask = Mask()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        where = self._where()
        values: dict[str, Any] = {
            "time": utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": self._mask(_cut(_message_of(record))),
            "run": self._run,
            "attempt": where.attempt,
            "rank": self._rank,
            "step": where.step,
            "epoch": where.epoch,
            "node": self._node,
            "pid": os.getpid(),
        }
        for name in ("stream", "event"):
            if (value := getattr(record, name, None)) is not None:
                values[name] = str(value)
        if record.exc_info and record.exc_info[1] is not None:
            text = "".join(traceback.format_exception(record.exc_info[1]))
            values["exception"] = self._mask(_cut(text))
        return json.dumps(values, ensure_ascii=False)


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a message that does not fit its arguments is no reason to end a training
        return f"{record.msg} {record.args!r}"


def _cut(text: str) -> str:
    """Keep the beginning and the end of a text that is too long for a line."""
    if len(text) <= _MAX_TEXT:
        return text
    half = _MAX_TEXT // 2
    return f"{text[:half]} ... ({len(text) - _MAX_TEXT:,} characters left out) ... {text[-half:]}"


def utc(seconds: float) -> str:
    """Write a moment in UTC, to the millisecond.

    >>> utc(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class LogFile(logging.Handler):
    """Appends lines to a file; a full disk costs lines, and never the training.

    A line is one write, so that several processes may append to one file and a kill leaves none in half.

    Args:
        path: its folder is made. Older files are beside it, with `.1` (the newest) and so on added.
        level: least level that is written.
        told: called once, with a sentence, when lines cannot be written.
        max_bytes: longest file.
        num_old: older files that are kept (count).
    """

    def __init__(
        self,
        path: Path,
        level: int = logging.INFO,
        told: _Told = lambda _text: None,
        max_bytes: int = MAX_BYTES,
        num_old: int = NUM_OLD,
    ) -> None:
        super().__init__(level)
        self._path, self._told = path, told
        self._max_bytes, self._num_old = max_bytes, num_old
        self._file, self._size, self._is_cut, self._pid = -1, 0, False, os.getpid()
        self._has_told = False
        with self._losses_told():
            self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        with self._losses_told():
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            if self._file < 0:
                self._open()
            # A process that was forked from this one writes too, but does not know how long the file is.
            if self._size and self._size + len(line) > self._max_bytes and os.getpid() == self._pid:
                self._begin_another()
            if self._is_cut:
                line = b"\n" + line
            written = os.write(self._file, line)
            self._size += written
            self._is_cut = written < len(line)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1
        super().close()

    @contextlib.contextmanager
    def _losses_told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if not self._has_told:
                self._has_told = True
                self._told(f"lines of {self._path.name} are lost: {error}")

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._file).st_size
        # Whoever wrote before may have been stopped in the middle of a line.
        self._is_cut = self._size > 0 and os.pread(self._file, 1, self._size - 1) != b"\n"

    def _begin_another(self) -> None:
        os.close(self._file)
        self._file = -1
        names = files_of(self._path, self._num_old)
        for newer, older in zip(names[-2::-1], names[:0:-1], strict=True):
            if newer.exists():
                newer.replace(older)
        self._open()


def files_of(path: Path, num_old: int = NUM_OLD) -> list[Path]:
    """Return a log file and the older ones beside it, the newest first, whether they exist or not."""
    return [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, num_old + 1))]
