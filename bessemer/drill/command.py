"""`bessemer drill`: the undisturbed reference, then one run for each disturbance, each judged.

A verdict never says equal when nothing happened: a disturbance that comes too late is tried again
earlier, and is a failure if it always comes too late.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bessemer.config.settings import Settings
from bessemer.drill.comparison import (
    Difference,
    Result,
    first_beyond,
    first_difference,
    first_of_other_steps,
    is_exact_enough,
)
from bessemer.drill.disturbances import ON_PROCESSES, Disturbance, Place, Story
from bessemer.drill.heads import Head, environment_for, started_head
from bessemer.drill.moments import Moment, choose, earlier
from bessemer.drill.outages import OUTAGES, can_mount
from bessemer.drill.training import Course, DrillError, MissedError, Training
from bessemer.errors import TrainingError, UserError, nearest
from bessemer.tracking import DATABASE_NAME, logged_points
from bessemer.training.storage import checkpoints_of, recorded_run, shared_folder

DISTURBANCES = {disturbance.name: disturbance for disturbance in (*ON_PROCESSES, *OUTAGES)}
REFERENCE = "reference"
_TRIES = 3
_RESIZED_WORKERS = 3
_TOLERANCE = 1e-9

Word = Literal["reference", "equal", "same steps", "different", "failed", "not applicable"]


@dataclass(frozen=True)
class Verdict:
    """What came of one disturbance.

    Attributes:
        name: of the disturbance.
        word: the verdict; different and failed make the drill fail.
        text: the first difference, what failed, or why it does not apply.
        attempts: how often the run began or began again (count).
        steps_again: about how many steps were computed again (count); None: nobody knows.
        duration_s: of the run with all its attempts (seconds).
    """

    name: str
    word: Word
    text: str = ""
    attempts: int = 0
    steps_again: int | None = 0
    duration_s: float = 0.0

    @property
    def is_bad(self) -> bool:
        """Whether the drill fails by it."""
        return self.word in ("different", "failed")


@dataclass(frozen=True)
class Reference:
    """The undisturbed run.

    Attributes:
        result: its points and weights.
        draws: whether the program draws random numbers while it trains.
        verdict: its line in the table.
    """

    result: Result
    draws: bool
    verdict: Verdict


def chosen_disturbances(names: Sequence[str]) -> list[Disturbance]:
    """Return the disturbances of these names, or all.

    Raises:
        UserError: there is none of that name.
    """
    for name in names:
        if name not in DISTURBANCES:
            raise UserError(
                f"there is no disturbance {name!r}",
                expected=nearest(name, DISTURBANCES) or f"one of {', '.join(DISTURBANCES)}",
            )
    return [DISTURBANCES[name] for name in names] if names else list(DISTURBANCES.values())


@contextlib.contextmanager
def sigterm_exits() -> Iterator[None]:
    """Have SIGTERM raise SystemExit, so that whoever is asked to end still ends what it started."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def prepared(
    project: str,
    name: str,
    settings: Settings,
    arguments: Sequence[str],
    every_steps: int,
    limit_s: float,
) -> Iterator[tuple[Course, Head]]:
    """Make the folder of a drill, and a Ray head unless RAY_ADDRESS names one; the head ends with it.

    `RAY_ADDRESS=local` asks for a cluster of one's own, which is what a drill makes anyway.
    """
    folder = shared_folder(settings, "a drill") / "drills"
    storage = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    storage.mkdir(parents=True)
    course = Course(
        project=project,
        name=name,
        settings=settings,
        arguments=tuple(arguments),
        every_steps=every_steps,
        storage=storage,
        uri=f"sqlite:///{storage / DATABASE_NAME}",
        environment=dict(os.environ),
        limit_s=limit_s,
    )
    address = os.environ.get("RAY_ADDRESS") or settings.cluster.address
    if address and address != "local":
        yield course, Head.existing(address)
        return
    environment = environment_for({})
    num_cpus = max(settings.scaling.min_workers, _RESIZED_WORKERS) + 1
    with started_head(num_cpus, environment) as head:
        yield replace(course, environment={**environment, "RAY_ADDRESS": head.address}), head


def train_reference(course: Course) -> Reference:
    """Train the undisturbed run.

    Raises:
        TrainingError: it fails, so there is nothing to compare with.
    """
    begun = time.monotonic()
    try:
        with Training(course, REFERENCE) as training:
            training.succeed()
        result = read_result(course, REFERENCE)
    except DrillError as error:
        raise TrainingError(
            f"the undisturbed run failed: {error}",
            expected="a project that trains",
            todo=f"`bessemer train --project {course.project}` shows more",
        ) from error
    took_s = time.monotonic() - begun
    verdict = Verdict(REFERENCE, "reference", f"{result.step} steps", len(training.starts), 0, took_s)
    return Reference(result, draws_in(course.storage / course.name / REFERENCE, course.settings), verdict)


def read_result(course: Course, run: str) -> Result:
    """Read what a run came to: every point in MLflow, and the weights of its newest checkpoint.

    Raises:
        DrillError: it left no checkpoint, or no record of its points.
    """
    # In the drill's own store: a server of it has ended by now.
    return result_of(course.storage / course.name / run, course.settings, course.uri)


def result_of(run_dir: Path, settings: Settings, uri: str) -> Result:
    """Read what the run in a folder came to, with its points from the tracking store at `uri`.

    Raises:
        DrillError: it left no checkpoint, or no record of its points.
    """
    newest, tracked = checkpoints_of(run_dir, settings).newest(), recorded_run(run_dir)
    if newest is None or tracked is None:
        raise DrillError(f"{run_dir} has no {'checkpoint' if newest is None else 'run.json'}")
    saved, state = newest
    points = logged_points(replace(tracked, uri=uri))
    return Result(tuple(points), state["tracked"], saved.step)


def draws_in(run_dir: Path, settings: Settings) -> bool:
    """Say whether the program of a run draws random numbers while it trains: then its checkpoints tell."""
    store = checkpoints_of(run_dir, settings)
    states = [
        str(store.load(saved)["workers"][0]["generators"]["torch"].tolist()) for saved in store.complete()
    ]
    return len(set(states)) != 1


def judge(reference: Reference, found: Result, rescaled: bool) -> tuple[Word, str]:
    """Compare a run with the reference; at another number of workers up to what that promises."""
    difference: Difference | None
    if not rescaled:
        difference = first_difference(reference.result, found)
        return ("different", str(difference)) if difference else ("equal", "")
    inexact = "draws random numbers" if reference.draws else ""
    if not is_exact_enough(reference.result.tracked):
        inexact = inexact or "does not compute in float64"
    if not inexact:
        difference = first_beyond(reference.result, found, _TOLERANCE)
        return ("different", str(difference)) if difference else ("equal", f"within {_TOLERANCE:g}")
    difference = first_of_other_steps(reference.result, found)
    if difference:
        return "different", str(difference)
    return "same steps", f"values are not compared: the model {inexact}"


def try_disturbance(
    course: Course, head: Head, reference: Reference, disturbance: Disturbance, moment: Moment
) -> Verdict:
    """Disturb a run, earlier if it was too late, and judge it."""
    if disturbance.needs_own_head and not head.is_ours:
        return Verdict(disturbance.name, "not applicable", "the cluster is not the drill's own")
    if disturbance.name == "disk-full" and not can_mount(course.storage):
        return Verdict(disturbance.name, "not applicable", "a small disk cannot be mounted here")
    begun = time.monotonic()
    missed = ""
    for number in range(1, _TRIES + 1):
        run = disturbance.name if number == 1 else f"{disturbance.name}-{number}"
        begun = time.monotonic()
        place = Place(course, head, run, course.settings.scaling.min_workers)
        story = Story()
        try:
            story = disturbance.disturb(place, moment)
            word, text = judge(reference, read_result(course, run), story.rescaled)
        except MissedError as error:
            missed, moment = str(error), earlier(moment)
            continue
        except DrillError as error:
            word, text = "failed", str(error)
        took_s = time.monotonic() - begun
        return Verdict(disturbance.name, word, text, story.attempts, story.again, took_s)
    took_s = time.monotonic() - begun
    text = f"did not happen in {_TRIES} tries: {missed}"
    return Verdict(disturbance.name, "failed", text, duration_s=took_s)


def drill(
    course: Course,
    head: Head,
    disturbances: Sequence[Disturbance],
    seed: int,
    tell: Callable[[Verdict], None],
) -> list[Verdict]:
    """Train the reference and a run for each disturbance.

    Args:
        course: what all runs have in common.
        head: the cluster.
        disturbances: what is done.
        seed: of the moments; each disturbance has its own, whichever others are chosen.
        tell: is given each verdict as soon as it is known.

    Raises:
        TrainingError: the undisturbed run fails.
    """
    reference = train_reference(course)
    verdicts = [reference.verdict]
    tell(reference.verdict)
    for disturbance in disturbances:
        generator = random.Random(f"{seed} {disturbance.name}")  # nosec B311  # a drill's, to be repeated
        moment = choose(generator, reference.result.step, course.every_steps)
        verdicts.append(try_disturbance(course, head, reference, disturbance, moment))
        tell(verdicts[-1])
    return verdicts


def tidy(course: Course, verdicts: Sequence[Verdict]) -> bool:
    """Remove the runs of a drill in which all went well; return whether they were removed."""
    if any(verdict.is_bad for verdict in verdicts):
        return False
    shutil.rmtree(course.storage, ignore_errors=True)
    return True
