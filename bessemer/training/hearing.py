"""Hears what a process says: records of Python's `logging`, and what is printed.

What the program's own handlers and its terminal get does not change by it. A handler on the root logger
would not do: `logging.basicConfig` does nothing where one is, and `dictConfig` takes it away.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

_HANDLING = threading.local()
# A carriage return begins a line again, as bars of progress do: the last one counts.
_LONGEST_OPEN_LINE = 64 * 1024
# The function that Ray Train puts in the place of `print`.
RAYS_PRINT = "redirected_print"
_DEEPEST_FRAME = 12


@contextlib.contextmanager
def records_heard(handler: logging.Handler) -> Iterator[None]:
    """Give a handler every record of this process from its level on, whatever the program sets up.

    Args:
        handler: must not log itself.
    """
    root, before = logging.getLogger(), logging.Logger.callHandlers
    level_before = root.level
    # Between two levels that anybody uses: a level that the program sets is told from this one.
    lowered = handler.level - 1
    lowers = level_before > lowered

    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        if record.levelno >= handler.level and not _is_a_print(record):
            handler.handle(record)
        if lowers and record.levelno < level_before and root.level == lowered and _asks(self) is root:
            return  # without us it would not have been made
        was, _HANDLING.now = _is_handling(), True
        try:
            before(self, record)
        finally:
            _HANDLING.now = was

    if lowers:
        root.setLevel(lowered)
    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]
    try:
        yield
    finally:
        if logging.Logger.callHandlers is call_handlers:
            logging.Logger.callHandlers = before  # type: ignore[method-assign]
        if lowers and root.level == lowered:
            root.setLevel(level_before)


def _asks(logger: logging.Logger) -> logging.Logger:
    """Return the logger whose level decides about records of a logger."""
    while not logger.level and logger.parent is not None:
        logger = logger.parent
    return logger


def _is_a_print(record: logging.LogRecord) -> bool:
    """Whether a record is made of what was printed: Ray Train's `print` prints and logs, and we hear both."""
    if record.name != "root":
        return False
    frame = inspect.currentframe()
    for _ in range(_DEEPEST_FRAME):
        if frame is None:
            return False
        if frame.f_code.co_name == RAYS_PRINT:
            return True
        frame = frame.f_back
    return False


def _is_handling() -> bool:
    return getattr(_HANDLING, "now", False)


class Lines(io.TextIOBase):
    """A text stream that hands on each line once it is whole.

    What handlers of `logging` print is passed over: it was heard as a record.

    Args:
        take: given each line that is not empty, without its end.
    """

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._open = ""
        # Threads print too; one of them may be in the middle of a line.
        self._lock = threading.RLock()

    def writable(self) -> bool:
        """It can be written to, and nothing else."""
        return True

    def write(self, text: str) -> int:
        """Take a piece of text."""
        if _is_handling():
            return len(text)
        with self._lock:
            *whole, self._open = f"{self._open}{text}".split("\n")
            if "\r" in self._open:
                self._open = self._open.rpartition("\r")[2] or f"{self._open.split(chr(13))[-2]}\r"
            if len(self._open) > _LONGEST_OPEN_LINE:
                whole, self._open = [*whole, self._open], ""
        for line in whole:
            self._give(line)
        return len(text)

    def end(self) -> None:
        """Hand on a last line that has no end."""
        with self._lock:
            line, self._open = self._open, ""
        self._give(line)

    def _give(self, line: str) -> None:
        line = line.rstrip("\r").rpartition("\r")[2].rstrip()
        if line:
            self._take(line)


class _Also:
    """A text stream as it is, whose text another one gets too."""

    def __init__(self, stream: Any, other: Lines) -> None:
        self._stream, self._other = stream, other

    def write(self, text: str) -> int:
        written: int = self._stream.write(text)
        self._other.write(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def errors_heard(lines: Lines) -> Iterator[None]:
    """Give a stream of lines, too, what is written to standard error."""
    with contextlib.redirect_stderr(_Also(sys.stderr, lines)):
        try:
            yield
        finally:
            lines.end()
