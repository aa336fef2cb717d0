"""What is done to the processes of a run, one disturbance at a time.

Each trains a run to its end and says what it cost. A disturbance that did not really happen raises
`MissedError`; the drill tries again at an earlier moment. Whether the numbers are right is not judged
here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from bessemer.drill.heads import Head
from bessemer.drill.moments import Moment, chosen
from bessemer.drill.training import Course, DrillError, MissedError, Training, checkpoints_in, step_of

_WORKERS_GONE_S = 60.0
_SIGTERM_STATUS = 143
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
        rescaled: whether the number of workers changed.
    """

    attempts: int = 0
    again: int = 0
    rescaled: bool = False

    def add(self, training: Training, struck_at: int | None = None) -> None:
        """Add what a process has done.

        Args:
            training: the process, at its end.
            struck_at: step of the strike that its last attempt made up for, if one did (count).
        """
        starts = training.starts
        self.attempts += len(starts)
        if struck_at is not None and starts:
            self.again += max(0, struck_at - starts[-1])


@dataclass(frozen=True)
class Disturbance:
    """One way to disturb a run.

    Attributes:
        name: on the command line and in the table.
        sentence: what it does.
        disturb: trains a run and strikes it at a moment.
        needs_own_head: whether it may strike only a cluster that the drill started.
    """

    name: str
    sentence: str
    disturb: Callable[[Place, Moment], Story]
    needs_own_head: bool = False


def worker_kill(place: Place, moment: Moment) -> Story:
    """SIGKILL one worker; Ray starts all of them again."""
    story = Story()
    with Training(place.course, place.run) as training:
        at = training.wait_until(moment)
        os.kill(chosen(moment, living_workers(place, training)), signal.SIGKILL)
        training.succeed()
        if training.num_attempts < 2:
            raise MissedError("the run was complete before the killed worker was missed")
        story.add(training, at)
    return story


def slow_worker(place: Place, moment: Moment) -> Story:
    """SIGSTOP one worker for some seconds, then SIGCONT."""
    story = Story()
    with Training(place.course, place.run) as training:
        training.wait_until(moment)
        pid = chosen(moment, living_workers(place, training))
        os.kill(pid, signal.SIGSTOP)
        try:
            end = time.monotonic() + _STOPPED_FOR_S * (1 + moment.choice)
            training.wait_for("the stopped worker went on", lambda: time.monotonic() > end)
            stopped = psutil.pid_exists(pid) and psutil.Process(pid).status() == psutil.STATUS_STOPPED
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        if not stopped or training.has_result:
            raise MissedError("the worker was not held up")
        training.succeed()
        story.add(training)
    return story


def driver_kill(place: Place, moment: Moment) -> Story:
    """SIGKILL the `bessemer train` process, then go on with `--resume`."""
    story = Story()
    with Training(place.course, place.run) as training:
        at = kill_driver(place, training, moment, story)
    resume(place, story, at)
    return story


def sigterm(place: Place, moment: Moment) -> Story:
    """SIGTERM to `bessemer train`, which saves and ends with 143, then `--resume`."""
    story = Story()
    with Training(place.course, place.run) as training:
        training.wait_until(moment)
        training.process.send_signal(signal.SIGTERM)
        status = training.finish()
        if status == 0 or training.has_result:
            raise MissedError("the run was complete before SIGTERM reached it")
        if status != _SIGTERM_STATUS:
            raise DrillError(f"exit status {status} after SIGTERM, not {_SIGTERM_STATUS}: {training.end}")
        story.add(training)
    wait_for_no_workers(place)
    resume(place, story)
    return story


def truncated_checkpoint(place: Place, moment: Moment) -> Story:
    """SIGKILL the driver, cut the newest checkpoint's state in half, then `--resume`."""
    story = Story()
    with Training(place.course, place.run) as training:
        training.wait_for("its second checkpoint", lambda: len(checkpoints_in(training.run_dir)) > 1)
        at = kill_driver(place, training, moment, story)
    before, newest = checkpoints_in(training.run_dir)[-2:]
    state = newest / "state.pt"
    os.truncate(state, state.stat().st_size // 2)
    resumed = resume(place, story, at)
    if not any("damaged" in line and newest.name in line for line in resumed.lines):
        raise DrillError(f"nothing was said of the damaged {newest.name}: {resumed.end}")
    if resumed.starts[0] != step_of(before):
        raise DrillError(f"went on from step {resumed.starts[0]}, not from {step_of(before)}")
    return story


def resize(place: Place, moment: Moment) -> Story:
    """SIGKILL the driver twice; the run goes on with one worker, then with three."""
    story = Story(rescaled=True)
    with Training(place.course, place.run) as training:
        at = kill_driver(place, training, moment, story)
    with Training(place.course, place.run, True, ("--scaling.num-workers", "1")) as training:
        # What is left is shorter than the whole: the second strike comes at its first checkpoint.
        again = kill_driver(place, training, Moment(1, moment.fraction, moment.choice), story)
        story.again += max(0, at - training.starts[0])
    resume(place, story, again, ("--scaling.num-workers", "3"))
    return story


def kill_driver(place: Place, training: Training, moment: Moment, story: Story) -> int:
    """Kill a driver at a moment, wait until its workers are gone, and return about which step it was at."""
    at = training.wait_until(moment)
    training.process.kill()
    training.finish()
    if training.has_result:
        raise MissedError("the run was complete before its driver was killed")
    wait_for_no_workers(place)
    story.add(training)
    return at


def resume(place: Place, story: Story, at: int | None = None, more: tuple[str, ...] = ()) -> Training:
    """Go on with a run, struck at a step, to its end."""
    with Training(place.course, place.run, resumes=True, more=more) as training:
        training.succeed()
        if not training.starts:
            raise DrillError(f"did not train again: {training.end}")
        story.add(training, at)
    return training


def living_workers(place: Place, training: Training) -> list[int]:
    """Return the workers' processes; there must be some while a run trains."""
    pids = place.head.worker_pids()
    if not pids:
        if training.process.poll() is not None or training.has_result:
            raise MissedError("the workers had ended")
        raise DrillError("no worker runs on this machine")
    return pids


def wait_for_no_workers(place: Place) -> None:
    """Wait until the workers of a killed driver are gone: two generations must not write at once."""
    deadline = time.monotonic() + _WORKERS_GONE_S
    while place.head.worker_pids():
        if time.monotonic() > deadline:
            raise DrillError(f"workers outlive their driver by {_WORKERS_GONE_S:.0f} s")
        time.sleep(0.1)


ON_PROCESSES = (
    Disturbance("worker-kill", "one worker is killed", worker_kill),
    Disturbance("slow-worker", "one worker is stopped for some seconds", slow_worker),
    Disturbance("driver-kill", "the driver is killed, and the run resumed", driver_kill),
    Disturbance("sigterm", "the driver is asked to end, and the run resumed", sigterm),
    Disturbance(
        "truncated-checkpoint",
        "the driver is killed and the newest checkpoint cut in half",
        truncated_checkpoint,
    ),
    Disturbance("resize", "the driver is killed; one worker goes on, then three", resize),
)
