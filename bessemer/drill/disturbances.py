"""What is done to a run, one disturbance at a time. Each trains a run to its end and says what it cost.

A disturbance that did not really happen raises `Missed`; the drill tries again at an earlier moment.
Whether the numbers are right is not judged here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from bessemer.drill.heads import Head
from bessemer.drill.moments import Moment, chosen
from bessemer.drill.training import Course, DrillFailed, Missed, Training

_WORKERS_GONE_S = 60.0
_SIGTERM_STATUS = 143
_SIGTERM_WITHIN_S = 120.0
_STOPPED_FOR_S = 3.0


@dataclass(frozen=True)
class Place:
    """Where a disturbance acts.

    Attributes:
        course: what all runs have in common.
        head: the cluster, whose `worker_pids` can be struck.
        run: name for the run.
        num_workers: of the undisturbed run (count).
    """

    course: Course
    head: Head
    run: str
    num_workers: int


@dataclass
class Story:
    """What happened to a run.

    Attributes:
        attempts: how often it began or began again, in all processes (count).
        again: about how many steps were computed again (count).
        uri: where its points are read, if not in the drill's own store.
        course: with which its checkpoints are found.
        rescaled: whether the number of workers changed.
    """

    attempts: int = 0
    again: int = 0
    uri: str = ""
    course: Course | None = None
    rescaled: bool = False
    _at: int | None = field(default=None, repr=False)

    def struck(self, step: int) -> None:
        """Remember the step of a strike, until it is known where the run went on."""
        self._at = step

    def ended(self, training: Training) -> None:
        """Add what a process has done: how often it began, and what it computed again."""
        starts = training.starts
        self.attempts += len(starts)
        if self._at is not None and starts:
            self.again += max(0, self._at - starts[-1])
            self._at = None


@dataclass(frozen=True)
class Disturbance:
    """One way to disturb a run.

    Attributes:
        name: on the command line and in the table.
        sentence: what it does.
        disturb: trains a run and strikes it at a moment.
        on: the kind of head it needs: the drill's own or any, or one with a node to lose.
    """

    name: str
    sentence: str
    disturb: Callable[[Place, Moment], Story]
    on: str = "any"


def worker_kill(place: Place, moment: Moment) -> Story:
    """SIGKILL one worker; Ray starts all of them again."""
    story = Story()
    with Training(place.course, place.run) as training:
        story.struck(training.wait_until(moment))
        os.kill(chosen(moment, living_workers(place, training)), signal.SIGKILL)
        training.succeed()
        story.ended(training)
        if training.num_attempts < 2:
            raise Missed("the run was complete before the killed worker was missed")
    return story


def driver_kill(place: Place, moment: Moment) -> Story:
    """SIGKILL the `bessemer train` process, then go on with `--resume`."""
    story = Story()
    kill_driver(place, moment, story)
    resume(place, story)
    return story


def sigterm(place: Place, moment: Moment) -> Story:
    """SIGTERM to `bessemer train`, which saves and ends with 143, then `--resume`."""
    story = Story()
    with Training(place.course, place.run) as training:
        story.struck(training.wait_until(moment))
        training.process.send_signal(signal.SIGTERM)
        try:
            status = training.process.wait(_SIGTERM_WITHIN_S)
        except Exception:
            raise DrillFailed(f"SIGTERM did not end it within {_SIGTERM_WITHIN_S:.0f} s") from None
        if status == 0 or training.has_result:
            raise Missed("the run was complete before SIGTERM reached it")
        if status != _SIGTERM_STATUS:
            raise DrillFailed(f"exit status {status} after SIGTERM, not {_SIGTERM_STATUS}: {training.end}")
        training.finish()
        story.ended(training)
        story.struck(max(training.step_now(), 0))
    wait_for_no_workers(place)
    resume(place, story)
    return story


def slow_worker(place: Place, moment: Moment) -> Story:
    """SIGSTOP one worker for some seconds, then SIGCONT."""
    story = Story()
    with Training(place.course, place.run) as training:
        training.wait_until(moment)
        pid = chosen(moment, living_workers(place, training))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        try:
            end = time.monotonic() + _STOPPED_FOR_S * (1 + moment.choice)
            training.wait_for("the stopped worker's time was up", lambda: time.monotonic() > end)
            stopped = psutil.pid_exists(pid) and psutil.Process(pid).status() == psutil.STATUS_STOPPED
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        if not stopped or training.has_result:
            raise Missed("the worker was not held up")
        training.succeed()
        story.ended(training)
    return story


def truncated_checkpoint(place: Place, moment: Moment) -> Story:
    """SIGKILL the driver, cut the newest checkpoint's state in half, then `--resume`."""
    story = Story()
    training = kill_driver(place, moment, story, num_checkpoints=2)
    folders = sorted(
        file.parent for file in (training.run_dir / "checkpoints").glob("step-*/manifest.json")
    )
    if len(folders) < 2:
        raise Missed("there was no checkpoint before the one to be cut")
    state = folders[-1] / "state.pt"
    os.truncate(state, state.stat().st_size // 2)
    before = int(folders[-2].name.removeprefix("step-"))
    resumed = resume(place, story)
    if not any("damaged" in line and folders[-1].name in line for line in resumed.lines):
        raise DrillFailed(f"nothing was said of the damaged checkpoint {folders[-1].name}: {resumed.end}")
    if resumed.starts[:1] != [before]:
        raise DrillFailed(f"went on from step {resumed.starts[:1]}, not from {before}")
    return story


def resize(place: Place, moment: Moment) -> Story:
    """SIGKILL the driver twice; the run goes on with one worker, then with three."""
    story = Story(rescaled=True)
    kill_driver(place, moment, story)
    one = ("--scaling.num-workers", "1")
    with Training(place.course, place.run, resumes=True, more=one) as training:
        # What is left is shorter than the whole: the second strike comes soon.
        second = Moment(max(1, place.course.every_steps), moment.fraction, moment.choice)
        story.ended(training) if (at := _kill(place, training, second)) is None else None
        story.ended(training)
        story.struck(at)
    resume(place, story, ("--scaling.num-workers", "3"))
    return story


def kill_driver(place: Place, moment: Moment, story: Story, num_checkpoints: int = 0) -> Training:
    """Train a run, kill its driver at a moment, and wait until its workers are gone."""
    with Training(place.course, place.run) as training:
        if num_checkpoints:
            checkpoints = training.run_dir / "checkpoints"
            enough = lambda: len(list(checkpoints.glob("step-*/manifest.json"))) >= num_checkpoints  # noqa: E731
            training.wait_for(f"{num_checkpoints} checkpoints", enough)
        story.struck(_kill(place, training, moment))
        # What the attempts were is known; where the run goes on is not yet.
        story.attempts += len(training.starts)
    return training


def _kill(place: Place, training: Training, moment: Moment) -> int:
    at = training.wait_until(moment)
    training.process.kill()
    training.finish()
    if training.has_result:
        raise Missed("the run was complete before its driver was killed")
    wait_for_no_workers(place)
    return at


def resume(place: Place, story: Story, more: tuple[str, ...] = ()) -> Training:
    """Go on with a run, to its end."""
    with Training(place.course, place.run, resumes=True, more=more) as training:
        training.succeed()
        story.ended(training)
    return training


def living_workers(place: Place, training: Training) -> list[int]:
    """Return the workers' processes; there must be some while a run trains."""
    pids = place.head.worker_pids()
    if not pids:
        if training.process.poll() is not None or training.has_result:
            raise Missed("the workers had ended")
        raise DrillFailed("no worker runs on this machine")
    return pids


def wait_for_no_workers(place: Place) -> None:
    """Wait until the workers of a killed driver are gone: two generations must not write at once."""
    deadline = time.monotonic() + _WORKERS_GONE_S
    while place.head.worker_pids():
        if time.monotonic() > deadline:
            raise DrillFailed(f"workers outlive their driver by {_WORKERS_GONE_S:.0f} s")
        time.sleep(0.1)


