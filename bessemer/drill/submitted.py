"""One `bessemer submit train` as the drill sees it: a job, what it prints, the checkpoints of its run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bessemer.drill.docker import bounded
from bessemer.drill.ground import Ground
from bessemer.drill.moments import Moment
from bessemer.drill.training import DrillError, MissedError, starts_in
from bessemer.errors import BessemerError
from bessemer.remote.jobs import Job, Jobs

_POLL_S = 0.5
_PATIENCE_S = 60.0
_LINES_SHOWN = 5


@dataclass(frozen=True)
class Course:
    """What all runs of a drill have in common.

    Attributes:
        project: as the user named it.
        name: of the project, which is the folder of its runs.
        arguments: settings that all runs have.
        every_steps: steps between two checkpoints (count).
        limit_s: longest time of one job (seconds).
    """

    project: str
    name: str
    arguments: tuple[str, ...]
    every_steps: int
    limit_s: float

    def run_dir(self, ground: Ground, run: str) -> str:
        """Return the folder of a run, in the containers, or its URL."""
        return f"{ground.kept.storage}/{self.name}/{run}"


class Submitted:
    """A job that trains a run.

    Args:
        ground: the cluster.
        course: what all runs have in common.
        run: its name.
        resumes: whether it goes on with a run that is there.
        more: settings of this job alone.

    Raises:
        DrillError: it cannot be submitted.
    """

    def __init__(
        self, ground: Ground, course: Course, run: str, resumes: bool = False, more: tuple[str, ...] = ()
    ) -> None:
        self.ground, self.course, self.run = ground, course, run
        self.run_dir = course.run_dir(ground, run)
        self._begun_at = time.monotonic()
        command = [sys.executable, "-m", "bessemer", "submit", "train", "--project", course.project]
        command += ["--no-wait", "--json"]
        command += ["--resume", run] if resumes else ["--tracking.run-name", run]
        command += ["--checkpoint.every-steps", str(course.every_steps), "--tracking.log-model", "false"]
        command += ["--tracking.system-metrics-every-s", "0", *course.arguments, *more]
        self.name = str(json.loads(_output(command, ground.environment))["job"])
        self._jobs = Jobs(ground.target, _PATIENCE_S)

    def job(self) -> Job:
        """Return how it stands."""
        return self._jobs.get(self.name)

    @property
    def lines(self) -> list[str]:
        """What it has printed; nothing while the cluster does not answer."""
        try:
            return self._jobs.logs(self.name).splitlines()
        except BessemerError:
            return []

    @property
    def end(self) -> str:
        """The last lines that it printed, as one."""
        return " / ".join(x.strip() for x in self.lines[-_LINES_SHOWN:] if x.strip()) or "no output"

    @property
    def starts(self) -> list[int]:
        """The step that each attempt of this job went on from."""
        return starts_in(self.lines)

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until something is so.

        Raises:
            MissedError: the job ended before.
            DrillError: it takes too long, or the job failed.
        """
        deadline = time.monotonic() + self.course.limit_s
        while not condition():
            job = self.job()
            if job.has_ended:
                if job.status != "SUCCEEDED":
                    raise DrillError(f"the job {job.status.lower()} before {what}: {self.end}")
                raise MissedError(f"the run ended before {what}")
            if time.monotonic() > deadline:
                raise DrillError(f"waited {self.course.limit_s:.0f} s for {what}: {self.end}")
            time.sleep(_POLL_S)

    def wait_until(self, moment: Moment) -> int:
        """Wait for a checkpoint at the moment's step or later; return the step of the newest.

        Raises:
            MissedError: the run ended before.
            DrillError: it takes too long, or the job failed.
        """
        self.wait_for("its first attempt", lambda: bool(self.starts))
        after = max(moment.after_step, 1)
        self.wait_for(f"a checkpoint at step {after}", lambda: self.step >= after)
        return self.step

    @property
    def step(self) -> int:
        """The step of the run's newest checkpoint, or 0."""
        return self.ground.kept.newest_step(self.run_dir)

    def succeed(self) -> None:
        """Wait for the end of the job, which must be a success.

        Raises:
            DrillError: it was not, or takes too long.
        """
        deadline = time.monotonic() + self.course.limit_s
        while True:
            try:
                job = self.job()
                if job.has_ended:
                    break
            except BessemerError as error:
                if time.monotonic() > deadline:
                    raise DrillError(f"the cluster does not answer: {error}") from error
            if time.monotonic() > deadline:
                raise DrillError(f"still ran after {self.course.limit_s:.0f} s: {self.end}")
            time.sleep(_POLL_S)
        if job.status != "SUCCEEDED":
            raise DrillError(f"the job {job.status.lower()} ({job.outcome}): {self.end}")


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    done = bounded(command, "`bessemer submit`", environment)
    if done.returncode != 0:
        raise DrillError(f"cannot be submitted: {' / '.join(done.stderr.split(chr(10))[-4:]).strip()}")
    return done.stdout
