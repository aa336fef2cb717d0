"""Reads the logs of a run: the lines of all its processes by time, also while they are written."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bessemer.errors import UserError
from bessemer.training.folders import LOGS_FOLDER, log_file_name
from bessemer.utils.log_lines import files_of

DRIVER = "driver"
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")


@dataclass(frozen=True)
class Line:
    """A line of a log.

    Attributes:
        text: as it is in the file.
        values: what it says.
    """

    text: str
    values: dict[str, Any]

    @property
    def time(self) -> str:
        """When, in UTC; such times can be compared as text."""
        return str(self.values.get("time", ""))


@dataclass(frozen=True)
class Wanted:
    """Which lines are wanted.

    Attributes:
        rank: "driver", the number of a worker, or "" for all.
        level: least level, by name.
        since: from when on, in UTC, as lines have it; "" for all.
    """

    rank: str = ""
    level: str = "DEBUG"
    since: str = ""

    def has(self, line: Line) -> bool:
        """Whether a line is one of them."""
        levels = logging.getLevelNamesMapping()
        level = levels.get(str(line.values.get("level")), logging.INFO)
        return level >= levels[self.level] and line.time >= self.since


class LogReader:
    """Reads what is new in the logs of a run.

    Args:
        run_dir: folder of the run.
        wanted: which lines.

    Attributes:
        num_unreadable: lines so far that are none, such as one that a full disk cut off (count).
    """

    def __init__(self, run_dir: Path, wanted: Wanted) -> None:
        self._folder, self._wanted = run_dir / LOGS_FOLDER, wanted
        # A file keeps its number when it is renamed because another was begun.
        self._read_until: dict[int, int] = {}
        self.num_unreadable = 0

    def files(self) -> list[Path]:
        """Return the newest file of each process whose lines are wanted."""
        rank = self._wanted.rank
        if rank:
            names = [log_file_name(None if rank == DRIVER else int(rank))]
            return [self._folder / name for name in names if (self._folder / name).is_file()]
        workers = self._folder.glob(log_file_name(0).replace("0", "*"))
        driver = self._folder / log_file_name(None)
        return [
            *([driver] if driver.is_file() else []),
            *sorted(workers, key=lambda path: (len(path.name), path.name)),
        ]

    def new(self) -> list[Line]:
        """Return the lines that were written since the last call, by time."""
        found = [line for file in self.files() for line in self._new_of(file) if self._wanted.has(line)]
        return sorted(found, key=lambda line: line.time)

    def _new_of(self, newest: Path) -> Iterator[Line]:
        for file in reversed(files_of(newest)):
            data = b""
            with contextlib.suppress(OSError), file.open("rb") as opened:
                number = os.fstat(opened.fileno()).st_ino
                start = self._read_until.get(number, 0)
                size = opened.seek(0, 2)
                opened.seek(start if start <= size else 0)
                data = opened.read()
                # A last line that is not whole is read when it is.
                data = data[: data.rfind(b"\n") + 1]
                self._read_until[number] = (start if start <= size else 0) + len(data)
            for raw in data.splitlines():
                if raw.strip() and (line := self._line(raw.decode("utf-8", errors="replace"))) is not None:
                    yield line

    def _line(self, text: str) -> Line | None:
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            self.num_unreadable += 1
            return None
        return Line(text, values)


def since_of(text: str, now: datetime | None = None) -> str:
    """Return a moment as lines have it, of a time ago (`90s`, `10m`, `2h`, `1d`) or a date and time.

    Raises:
        UserError: it is neither.

    >>> since_of("2026-05-04T10:00:00+02:00")
    '2026-05-04T08:00:00.000Z'
    """
    if not text:
        return ""
    matched = _AGO.fullmatch(text.strip())
    try:
        if matched is not None:
            ago = timedelta(**{_UNITS[matched[2]]: float(matched[1])})
            moment = (now or datetime.now(UTC)) - ago
        else:
            moment = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UserError(
            f"--since {text!r} is no time",
            expected="a time ago, such as 90s, 10m, 2h or 1d, or a moment, such as 2026-05-04T10:00",
        ) from None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
