"""One `bessemer train` as the drill sees it: a process, the lines that it prints, the folder of its run.

How far a run is shows in its checkpoints, so nothing has to be added to what is being tested. Every
wait is bounded, and a process that is started here is ended here, by its process id.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bessemer.config.settings import Settings
from bessemer.drill.moments import Moment
from bessemer.training.folders import CHECKPOINTS_FOLDER, RESULT_FILE

_POLL_S = 0.03
# What a moment waits when no checkpoint tells how fast the run is.
_DEFAULT_INTERVAL_S = 1.0
_BEGUN = re.compile(r"^(?:training on |attempt \d+: ).*?(?:from step (\d+)|from the start)?$")
_LINES_SHOWN = 6


class MissedError(Exception):
    """The run ended before the strike, or the strike changed nothing: nothing was tested."""


class DrillError(Exception):
    """A run did not do what it must after a disturbance; the text says what."""


@dataclass(frozen=True)
class Course:
    """What all runs of a drill have in common.

    Attributes:
        project: as the user named it.
        name: of the project, which is the folder of its runs.
        settings: of the undisturbed run.
        arguments: settings from the command line, passed on.
        every_steps: steps between two checkpoints, or 0 for what the project says (count).
        storage: folder of the drill's runs.
        uri: tracking store of the drill.
        environment: variables of the processes.
        limit_s: longest time that one process may take (seconds).
    """

    project: str
    name: str
    settings: Settings
    arguments: tuple[str, ...]
    every_steps: int
    storage: Path
    uri: str
    environment: Mapping[str, str]
    limit_s: float

    def command(self, run: str, resumes: bool) -> list[str]:
        """Return the command that trains a run, or goes on with it."""
        command = [sys.executable, "-m", "bessemer", "train", "--project", self.project]
        command += ["--resume", run] if resumes else ["--tracking.run-name", run]
        command += ["--checkpoint.storage-path", str(self.storage), "--tracking.uri", self.uri]
        command += ["--tracking.log-model", "false", "--tracking.system-metrics-every-s", "0"]
        if self.every_steps:
            command += ["--checkpoint.every-steps", str(self.every_steps)]
        return [*command, *self.arguments]


class Training:
    """A process that trains a run.

    Args:
        course: what all runs have in common.
        run: its name.
        resumes: whether it goes on with a run that is there.
        more: settings of this process alone.
    """

    def __init__(self, course: Course, run: str, resumes: bool = False, more: tuple[str, ...] = ()) -> None:
        self.course, self.run = course, run
        self.run_dir = course.storage / course.name / run
        self.lines: list[str] = []
        self._seen: list[tuple[float, int]] = []
        self._resumed_from = newest_step(self.run_dir) if resumes else 0
        self._begun_at = time.monotonic()
        self.process = subprocess.Popen(
            [*course.command(run, resumes), *more],
            env=dict(course.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(timeout=5)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def starts(self) -> list[int]:
        """The step that each attempt of this process went on from."""
        return starts_in(list(self.lines))

    @property
    def has_result(self) -> bool:
        """Whether the run is complete."""
        return (self.run_dir / RESULT_FILE).exists()

    def wait_for(self, what: str, condition: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Wait until something is so.

        Raises:
            MissedError: the process ended before.
            DrillError: it takes too long.
        """
        deadline = time.monotonic() + (timeout_s or self.course.limit_s)
        while not condition():
            self._look()
            if self.process.poll() is not None:
                if self.process.returncode:
                    raise DrillError(
                        f"ended with exit status {self.process.returncode} before {what}: {self.end}"
                    )
                raise MissedError(f"the run ended before {what}")
            if time.monotonic() > deadline:
                raise DrillError(f"waited {timeout_s or self.course.limit_s:.0f} s for {what}: {self.end}")
            time.sleep(_POLL_S)

    def wait_until(self, moment: Moment) -> int:
        """Wait for a moment; return about how many steps this process has taken by then.

        Raises:
            MissedError: the run ended before.
            DrillError: it takes too long, or failed.
        """
        self.wait_for("its first attempt", lambda: bool(self.starts))
        after = self._resumed_from + moment.after_step
        if moment.after_step:
            self.wait_for(f"a checkpoint at step {after}", lambda: newest_step(self.run_dir) >= after)
            self._look()
        pause_s = moment.fraction * self._interval_s()
        until = time.monotonic() + pause_s
        self.wait_for("the moment", lambda: time.monotonic() >= until)
        return self.step_now()

    def _look(self) -> None:
        step = newest_step(self.run_dir)
        if not self._seen or step > self._seen[-1][1]:
            self._seen.append((time.monotonic(), step))

    def _interval_s(self) -> float:
        if len(self._seen) < 2 or self._seen[-2][1] == 0:
            return _DEFAULT_INTERVAL_S
        return self._seen[-1][0] - self._seen[-2][0]

    def step_now(self) -> int:
        """Estimate the step that the run is at, from its newest checkpoints and their times."""
        self._look()
        (at, step) = self._seen[-1]
        if len(self._seen) < 2 or self._seen[-2][1] == 0:
            return step
        (at_before, step_before) = self._seen[-2]
        pace = (step - step_before) / max(at - at_before, 1e-6)
        return step + min(step - step_before, round(pace * (time.monotonic() - at)))

    def finish(self) -> int:
        """Wait for the end of the process and return its exit status, negative for a signal.

        Raises:
            DrillError: it takes too long.
        """
        try:
            status = self.process.wait(self.course.limit_s)
        except subprocess.TimeoutExpired:
            raise DrillError(f"still ran after {self.course.limit_s:.0f} s: {self.end}") from None
        self._reader.join(timeout=5)
        return status

    def succeed(self) -> None:
        """Wait for the end of the process, which must be a success.

        Raises:
            DrillError: it was not.
        """
        status = self.finish()
        if status != 0:
            raise DrillError(f"exit status {status}: {self.end}")

    @property
    def end(self) -> str:
        """The last lines that it printed, as one."""
        return " / ".join(line.strip() for line in self.lines[-_LINES_SHOWN:] if line.strip()) or "no output"

    @property
    def num_attempts(self) -> int:
        """Attempts of a complete run, as its result says."""
        number: int = json.loads((self.run_dir / RESULT_FILE).read_text(encoding="utf-8"))["num_attempts"]
        return number


def starts_in(lines: list[str]) -> list[int]:
    """Return the steps that attempts went on from, 0 for the start, by what a training printed."""
    return [int(found[1] or 0) for line in lines if (found := _BEGUN.match(line))]


def checkpoints_in(run_dir: Path) -> list[Path]:
    """Return the folders of the complete checkpoints of a run, oldest first."""
    return sorted(file.parent for file in (run_dir / CHECKPOINTS_FOLDER).glob("step-*/manifest.json"))


def step_of(checkpoint: Path) -> int:
    """Return the step that a checkpoint's folder is named after."""
    return int(checkpoint.name.removeprefix("step-"))


def newest_step(run_dir: Path) -> int:
    """Return the step of the newest complete checkpoint of a run, or 0."""
    return max(map(step_of, checkpoints_in(run_dir)), default=0)
