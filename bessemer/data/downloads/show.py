"""Shows a download: a bar for each file on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bessemer.data.downloads.report import DownloadReport, FileReport, Listener
from bessemer.utils.console import duration

_TELL_EVERY_S = 15.0
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def size(num_bytes: float) -> str:
    """Format a number of bytes for reading.

    >>> size(57523), size(1)
    ('57.5 kB', '1 byte')
    """
    if num_bytes < 1000:
        return f"{num_bytes:.0f} byte{'' if round(num_bytes) == 1 else 's'}"
    unit = 0
    while num_bytes >= 999.95 and unit < len(_UNITS) - 1:
        num_bytes /= 1000
        unit += 1
    return f"{num_bytes:.1f} {_UNITS[unit]}"


def line_of(report: FileReport) -> str:
    """Say in one line what came of a file."""
    parts = []
    if report.status == "unpacked":
        parts.append(f"is not needed, {report.folder} is there")
    elif report.status == "there":
        parts.append(f"is there, {size(report.num_bytes)}")
        if report.is_checked:
            parts.append("and is what its SHA-256 says")
        elif report.place:
            parts.append(f"from {report.place}")
    else:
        parts.append(f"{size(report.num_bytes)} from {report.place} in {duration(report.duration_s)}")
        about = []
        if report.duration_s >= 1:
            about.append(f"{size(report.num_received_bytes / report.duration_s)}/s")
        if report.num_resumed_bytes:
            about.append(f"{size(report.num_resumed_bytes)} were here")
        parts.append(f"({', '.join(about)})" if about else "")
        parts.append("as its SHA-256 says" if report.is_checked else "")
    text = f"{report.path}: {' '.join(part for part in parts if part)}"
    if report.unpacked is not None:
        unpacked = report.unpacked
        text += f"; {unpacked.num_files:,} files, {size(unpacked.num_bytes)}, in {unpacked.folder}"
    elif report.folder is not None and report.status != "unpacked":
        text += f"; {report.folder} is there"
    return text


def summary_of(report: DownloadReport) -> str:
    """Say in a few words what came of all files."""
    num_there = len(report.files) - report.num_fetched
    if not report.num_fetched:
        return "all files are there" if num_there != 1 else "its file is there"
    fetched = f"{report.num_fetched} file{'' if report.num_fetched == 1 else 's'} fetched"
    there = f", {num_there} there before" if num_there else ""
    return f"{fetched} ({size(report.num_received_bytes)}){there}"


class Lines(Listener):
    """Prints what happens as plain lines.

    Args:
        console: where to; None for standard output as it is.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._told_at: dict[str, float] = {}
        self._mutex = threading.Lock()

    def say(self, text: str) -> None:
        """Print a line."""
        if self._console is None:
            print(text)
        else:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, name: str, num_bytes: int, total_bytes: int | None) -> None:
        """Tell now and then how far a long file is."""
        share = f" of {size(total_bytes)}, {num_bytes / total_bytes:.0%}" if total_bytes else ""
        self._now_and_then(name, f"{size(num_bytes)}{share}")

    def activity(self, name: str, text: str) -> None:
        """Tell now and then what is done with a large file."""
        self._now_and_then(name, text)

    def note(self, name: str, text: str) -> None:
        """Print it."""
        self.say(f"{name}: {text}")

    def ended(self, name: str, report: FileReport | None) -> None:
        """Print what came of it."""
        if report is None:
            return
        lines = [line_of(report)]
        if report.status == "fetched" and not report.is_checked:
            lines.append(f"    not checked, no SHA-256 was given; it is {report.sha256}")
        self.say("\n".join(lines))

    def close(self) -> None:
        """End what is shown."""

    def _now_and_then(self, name: str, text: str) -> None:
        with self._mutex:
            now = time.monotonic()
            first = self._told_at.setdefault(name, now)
            if now - first < _TELL_EVERY_S:
                return
            self._told_at[name] = now
        self.say(f"{name}: {text}")


class Bars(Lines):
    """Draws a bar for each file that is under way, with bytes, speed and time left.

    Args:
        console: a terminal.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def close(self) -> None:
        """Take all bars away."""
        self._bars.stop()

    def progress(self, name: str, num_bytes: int, total_bytes: int | None) -> None:
        """Move the bar of a file."""
        self._bars.update(self._task(name, num_bytes), completed=num_bytes, total=total_bytes)

    def activity(self, name: str, text: str) -> None:
        """Say it beside the bar."""
        self._bars.update(self._task(name, 0), description=f"{name} ({text})")

    def ended(self, name: str, report: FileReport | None) -> None:
        """Take the bar away, and print what came of the file."""
        with self._mutex:
            task = self._tasks.pop(name, None)
            is_last = task is not None and not self._tasks
        if task is not None:
            self._bars.remove_task(task)
        if is_last:
            # What a project prints of its own accord between two files must not run into bars.
            self._bars.stop()
        super().ended(name, report)

    def _task(self, name: str, num_bytes: int) -> TaskID:
        with self._mutex:
            if name not in self._tasks:
                self._bars.start()
                self._tasks[name] = self._bars.add_task(name, total=None, completed=num_bytes)
            return self._tasks[name]


@contextlib.contextmanager
def shown_on(console: Console) -> Iterator[Lines]:
    """Show what happens meanwhile: with bars on a terminal, as lines on anything else."""
    lines = Bars(console) if console.is_terminal else Lines(console)
    try:
        yield lines
    finally:
        lines.close()
