"""What a search has decided, a line each, in a file that survives any kill.

A line is on the disk before anybody acts on it. One that was cut off by a kill is taken away; nobody has
acted on it. The file is locked by the process that writes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from bessemer.errors import StorageError
from bessemer.utils.files import locked

JOURNAL_FILE = "journal.jsonl"


@dataclass(frozen=True)
class Opened:
    """The search was begun.

    Attributes:
        question: what it searches, as plain data.
        parent: its run in MLflow, as plain data.
    """

    question: dict[str, Any]
    parent: dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A trial was chosen.

    Attributes:
        number: from 0.
        values: what it trains with.
        at: when (seconds since 1970).
    """

    number: int
    values: dict[str, Any]
    at: float


@dataclass(frozen=True)
class Reported:
    """A trial has completed a turn.

    Attributes:
        number: of the trial.
        turn: turns that are complete (count).
        loss: its metric, with the sign that makes smaller better.
        ends: what was decided: whether it ends after it.
    """

    number: int
    turn: int
    loss: float
    ends: bool


@dataclass(frozen=True)
class Paused:
    """A member of a population waits for the others, with a checkpoint.

    Attributes:
        number: of the trial.
        turn: of the round (count).
    """

    number: int
    turn: int


@dataclass(frozen=True)
class Compared:
    """A round of a population was decided.

    Attributes:
        turn: of the round (count).
        copies: (number, number of the source, values) of members that take over another's state.
    """

    turn: int
    copies: list[tuple[int, int, dict[str, Any]]] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """A trial is over.

    Attributes:
        number: of the trial.
        state: done: it trained to its end; stopped: it was ended early; failed: by an error.
        cause: why it failed, or "".
        turns: turns that it completed (count).
        num_turns: turns that it would have trained, if known (count).
        metrics: last value of each metric.
        at: when (seconds since 1970).
    """

    number: int
    state: Literal["done", "stopped", "failed"]
    cause: str
    turns: int
    num_turns: int | None
    metrics: dict[str, float]
    at: float


@dataclass(frozen=True)
class Spent:
    """Time that went by in one driver of the search.

    Attributes:
        wall_s: since the driver began (seconds).
        gpu_s: GPUs that trials held, times how long (GPU seconds).
        since: when the driver began, which tells drivers apart (seconds since 1970).
    """

    wall_s: float
    gpu_s: float
    since: float


Line = Opened | Asked | Reported | Paused | Compared | Ended | Spent
_KINDS = {kind.__name__.lower(): kind for kind in (Opened, Asked, Reported, Paused, Compared, Ended, Spent)}


class Journal:
    """The lines of one search; open as long as its driver lives.

    Args:
        folder: of the search; made if it is not there.

    Raises:
        StorageError: another process writes it, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / JOURNAL_FILE
        self._stream: IO[bytes] = open(self.file, "a+b")  # noqa: SIM115 (held as long as the search)
        # `bessemer status` holds it for a moment when it looks.
        if not locked(self._stream):
            self._stream.close()
            raise StorageError(
                f"the search {folder.name} is being run by another process",
                expected="one driver of a search at a time",
                todo="wait until it ends, or stop it",
            )
        self._cut_off()

    def lines(self) -> list[Line]:
        """Return what was written so far."""
        return list(read(self.file))

    def write(self, *lines: Line) -> None:
        """Write lines; they are on the disk when this returns."""
        text = "".join(
            json.dumps({"kind": type(line).__name__.lower(), **asdict(line)}) + "\n" for line in lines
        )
        self._stream.write(text.encode())
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()

    def _cut_off(self) -> None:
        """Take away a last line that a kill left without its end."""
        data = self.file.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self.file, whole)


def read(file: Path) -> Iterator[Line]:
    """Yield the whole lines of a journal.

    Raises:
        StorageError: one of them is none.
    """
    text = file.read_bytes()
    for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), 1):
        try:
            values = json.loads(line)
            kind = _KINDS[values.pop("kind")]
            yield kind(**values)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StorageError(
                f"line {number} of {file} is not one that a search has written",
                expected="the journal as the search left it",
                todo="begin another search: --study NAME",
            ) from None
