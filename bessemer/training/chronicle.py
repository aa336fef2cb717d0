"""What the driver writes down of its run: its log, and a heartbeat that says how the run stands.

The heartbeat is a small file that is written whole every few seconds. Whoever asks how a run stands reads it,
from any machine; when it gets no younger, and nobody holds the run's lock, the driver is gone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bessemer.training.folders import HEARTBEAT_FILE
from bessemer.training.run_log import RunLog
from bessemer.utils.console import duration, number
from bessemer.utils.events import (
    AttemptEnded,
    AttemptStarted,
    CheckpointSaved,
    Event,
    ModelPlaced,
    Note,
    ProgramEnded,
    Tally,
    TurnEnded,
)
from bessemer.utils.files import write_whole
from bessemer.utils.log_lines import Where

BEAT_EVERY_S = 5.0
State = Literal["running", "complete", "stopped", "failed"]
_LEVELS = {"failure": logging.ERROR, "preemption": logging.WARNING}


@dataclass
class Standing:
    """How a run stands, as its driver knows it.

    Attributes:
        state: what the driver does, or how it ended.
        node: name of the driver's machine.
        pid: process of the driver.
        began_at: when the run's first driver began (seconds since 1970).
        at: when this was written (seconds since 1970).
        attempts: worker groups that began, those of earlier drivers included (count).
        workers: that train now (count).
        step: optimizer steps (count).
        turn: turns of the outer loop that are complete (count).
        num_turns: turns in all, or None.
        unit: what a turn is: "epoch" or "step".
        metrics: last value of each metric of the outer loop's rows.
        reason: why the run failed, in a line; else "".
    """

    state: State = "running"
    node: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    began_at: float = 0.0
    at: float = 0.0
    attempts: int = 0
    workers: int = 0
    step: int = 0
    turn: int = 0
    num_turns: int | None = None
    unit: str = "epoch"
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str = ""


class Chronicle:
    """Keeps the driver's log of one run, and its heartbeat.

    Args:
        run_dir: folder of the run; its lock must be held.
        run: name of the run.
        level: least level of the log, by name.
        is_brief: whether the run is one of many short ones in this process: then there is no heartbeat in
            between, and what the process logs is not in the driver's log.

    Attributes:
        attempts_before: worker groups that began under earlier drivers (count).
    """

    def __init__(self, run_dir: Path, run: str, level: str = "INFO", is_brief: bool = False) -> None:
        self._file = run_dir / HEARTBEAT_FILE
        self._run, self._is_brief = run, is_brief
        before = read_heartbeat(self._file)
        self.attempts_before = int(before.get("attempts", 0))
        now = time.time()
        self._standing = Standing(
            began_at=float(before.get("began_at") or now),
            attempts=self.attempts_before,
            step=int(before.get("step", 0)),
            turn=int(before.get("turn", 0)),
        )
        self._notes: set[str] = set()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._log = RunLog(run_dir, run, None, level, self._where)

    def _where(self) -> Where:
        known = self._standing
        epoch = known.turn + 1 if known.workers and known.unit == "epoch" else None
        if known.num_turns is not None and epoch is not None:
            epoch = min(epoch, known.num_turns)
        return Where(known.attempts or None, known.step, epoch)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep log and heartbeat while the block runs; how it ends is for `end` to say."""
        again = f", after {self.attempts_before} attempts of earlier drivers" if self.attempts_before else ""
        self.say("run_began", f"run {self._run} begins{again}")
        self._beat()
        with contextlib.ExitStack() as stack:
            if not self._is_brief:
                # Standard error of the driver goes to Ray's log while it trains.
                stack.enter_context(self._log.hearing(prints=False))
                heart = threading.Thread(target=self._beat_on, name="bessemer-heartbeat", daemon=True)
                heart.start()
                stack.callback(heart.join, 2 * BEAT_EVERY_S)
                stack.callback(self._done.set)
            yield

    def say(
        self, event: str, message: str, level: int = logging.INFO, error: BaseException | None = None
    ) -> None:
        """Write something to the log; see `RunLog.say`."""
        self._log.say(event, message, level, error)

    def take(self, event: Event) -> None:
        """Write down what matters of an event."""
        known = self._standing
        match event:
            case AttemptStarted():
                known.attempts = self.attempts_before + event.number
                known.workers = event.num_workers
                known.step = event.resumed_step or 0
                self._say_began(event)
                self._beat()
            case AttemptEnded():
                self._say_ended(event)
            case Tally():
                known.step = max(known.step, event.step)
            case CheckpointSaved():
                size = f"{event.size_bytes / 2**20:.3g} MiB"
                self.say(
                    "checkpoint",
                    f"the checkpoint of step {event.step} is saved: {size} in {duration(event.duration_s)}",
                )
            case TurnEnded():
                known.step, known.turn = event.step, event.turn
                known.num_turns, known.unit = event.num_turns, event.unit
                known.metrics.update(event.metrics)
                of = f" of {event.num_turns}" if event.num_turns else ""
                values = ", ".join(f"{name} {number(value)}" for name, value in event.metrics.items())
                took = duration(event.duration_s)
                self.say("turn", f"{event.unit} {event.turn}{of} took {took}{': ' if values else ''}{values}")
            case ProgramEnded():
                known.step = event.step
                known.metrics.update(event.metrics)
                self.say("program_ended", f"the program ended after {event.step} steps")
            case ModelPlaced():
                self.say("model", f"model {event.kind}: {event.num_parameters:,} parameters")
            case Note():
                if event.text not in self._notes:
                    self._notes.add(event.text)
                    self.say("note", event.text, logging.WARNING)

    def _say_began(self, event: AttemptStarted) -> None:
        where = "the start" if event.resumed_step is None else f"step {event.resumed_step}"
        number = self._standing.attempts
        if event.why == "resize":
            self.say("resized", f"the run goes on on {event.device}")
        waited = f", after a wait of {duration(event.waited_s)}" if event.waited_s else ""
        self.say("attempt_began", f"attempt {number} begins on {event.device}, from {where}{waited}")

    def _say_ended(self, event: AttemptEnded) -> None:
        place = [f"worker {event.rank}"] if event.rank is not None else []
        place += [f"after step {event.step}"] if event.step is not None else []
        kind = event.why if event.kind == event.why else f"{event.why} ({event.kind})"
        cause = f": {event.cause}" if event.cause else ""
        number = self.attempts_before + event.number
        text = f"attempt {number} ended: {kind}{f', {chr(32).join(place)}' if place else ''}{cause}"
        self.say("attempt_ended", text, _LEVELS.get(event.why, logging.INFO))

    def failed(self, error: BaseException) -> None:
        """Write down the error that ended the run."""
        first_line = (str(error).splitlines() or [""])[0]
        self._standing.reason = f"{type(error).__name__}: {first_line}"
        self.say("error", f"{type(error).__name__}: {error}", logging.ERROR, error)

    def end(self, state: State) -> None:
        """Write down how the run ended; the last that is written."""
        known = self._standing
        known.state, known.workers = state, 0
        self.say("run_ended", f"run {self._run} ended: {state}, after step {known.step}")
        self._beat()
        self._log.close()

    def _beat_on(self) -> None:
        while not self._done.wait(BEAT_EVERY_S):
            self._beat()

    def _beat(self) -> None:
        # A full disk costs heartbeats, and never the training.
        with self._lock, contextlib.suppress(OSError):
            self._standing.at = time.time()
            text = json.dumps(asdict(self._standing), indent=2) + "\n"
            write_whole(self._file, lambda part: part.write_text(text, encoding="utf-8"))


def read_heartbeat(file: Path) -> dict[str, Any]:
    """Return what a heartbeat says; nothing if it is not there, or is none."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
