"""`bessemer cluster drill`: the drill's contract on several nodes, with containers for machines.

For each number of workers a run is trained undisturbed, then one for each disturbance; each must come to
the same points and weights, to the last bit, and be one run in MLflow.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bessemer.config.settings import Settings
from bessemer.drill.command import REFERENCE, Reference, Verdict, draws_in, judge, result_of
from bessemer.drill.comparison import Result
from bessemer.drill.ground import Ground
from bessemer.drill.moments import choose, earlier, not_before
from bessemer.drill.on_nodes import ON_NODES, Field, NodeDisturbance, undisturbed
from bessemer.drill.submitted import Course
from bessemer.drill.training import DrillError, MissedError
from bessemer.errors import BessemerError, TrainingError, UserError, nearest
from bessemer.tracking import num_runs_named, sign_in
from bessemer.training.storage import recorded_run

DISTURBANCES = {disturbance.name: disturbance for disturbance in ON_NODES}
_TRIES = 3


@dataclass(frozen=True)
class Plan:
    """What a drill on a cluster does.

    Attributes:
        workers: numbers of workers that are trained with, one after the other (count each).
        disturbances: what is done to each.
        seed: of the moments.
    """

    workers: tuple[int, ...]
    disturbances: tuple[NodeDisturbance, ...]
    seed: int


def chosen_on_nodes(names: Sequence[str]) -> tuple[NodeDisturbance, ...]:
    """Return the disturbances of these names, or all.

    Raises:
        UserError: there is none of that name.
    """
    for name in names:
        if name not in DISTURBANCES:
            raise UserError(
                f"there is no disturbance {name!r} of nodes",
                expected=nearest(name, DISTURBANCES) or f"one of {', '.join(DISTURBANCES)}",
            )
    return tuple(DISTURBANCES[name] for name in names) if names else ON_NODES


def drill_on(
    ground: Ground, course: Course, settings: Settings, plan: Plan, tell: Callable[[Verdict], None]
) -> list[Verdict]:
    """Train references and disturbed runs on a cluster of containers.

    Args:
        ground: the cluster.
        course: what all runs have in common.
        settings: of the project.
        plan: what is done.
        tell: is given each verdict as soon as it is known.

    Raises:
        TrainingError: an undisturbed run fails, so there is nothing to compare with.
    """
    tracking = {
        "username": ground.environment["BESSEMER_TRACKING__USERNAME"],
        "password_file": ground.environment["BESSEMER_TRACKING__PASSWORD_FILE"],
    }
    sign_in(settings.tracking.model_copy(update=tracking))
    verdicts = []

    def keep(verdict: Verdict) -> None:
        verdicts.append(verdict)
        tell(verdict)

    for num_workers in plan.workers:
        reference = _reference(ground, course, settings, num_workers)
        keep(reference.verdict)
        for disturbance in plan.disturbances:
            if disturbance.name == "node-joins" and num_workers != plan.workers[0]:
                continue
            keep(_tried(ground, course, settings, reference, disturbance, num_workers, plan.seed))
    return verdicts


def _reference(ground: Ground, course: Course, settings: Settings, num_workers: int) -> Reference:
    name = f"{REFERENCE}-{num_workers}"
    begun = time.monotonic()
    try:
        story = undisturbed(Field(ground, course, name, num_workers))
        run_dir = ground.fetch(course.run_dir(name))
        result = result_of(run_dir, settings, ground.uri)
    except (DrillError, MissedError) as error:
        raise TrainingError(
            f"the undisturbed run with {num_workers} workers failed: {error}",
            expected="a project that trains on the cluster",
            todo=f"`bessemer submit train --project {course.project} --cluster compose` shows more",
        ) from error
    took_s = time.monotonic() - begun
    verdict = Verdict(name, "reference", f"{result.step} steps", story.attempts, 0, took_s)
    return Reference(result, draws_in(run_dir, settings), verdict)


def _tried(
    ground: Ground,
    course: Course,
    settings: Settings,
    reference: Reference,
    disturbance: NodeDisturbance,
    num_workers: int,
    seed: int,
) -> Verdict:
    """Disturb a run, earlier if it was too late, and judge it."""
    label = f"{disturbance.name}-{num_workers}"
    generator = random.Random(f"{seed} {label}")  # nosec B311  # a drill's, to be repeated
    moment = choose(generator, reference.result.step * 2 // 3, course.every_steps)
    moment = not_before(moment, course.every_steps)
    missed, begun = "", time.monotonic()
    for number in range(1, _TRIES + 1):
        run = label if number == 1 else f"{label}-try-{number}"
        begun = time.monotonic()
        try:
            story = disturbance.disturb(Field(ground, course, run, num_workers), moment)
            result = _result(ground, course, settings, run)
            word, text = judge(reference, result, story.rescaled)
        except MissedError as error:
            missed, moment = str(error), earlier(moment)
            continue
        except (DrillError, BessemerError) as error:
            return Verdict(label, "failed", str(error), duration_s=time.monotonic() - begun)
        took_s = time.monotonic() - begun
        return Verdict(label, word, text, story.attempts, story.again, took_s)
    text = f"did not happen in {_TRIES} tries: {missed}"
    return Verdict(label, "failed", text, duration_s=time.monotonic() - begun)


def _result(ground: Ground, course: Course, settings: Settings, run: str) -> Result:
    """Read what a run came to; it must be one run in MLflow.

    Raises:
        DrillError: it is not, or left nothing.
    """
    run_dir = ground.fetch(course.run_dir(run))
    tracked = recorded_run(run_dir)
    if tracked is None:
        raise DrillError(f"{course.run_dir(run)} has no record of where it is tracked")
    number = num_runs_named(ground.uri, tracked.experiment_id, run)
    if number != 1:
        raise DrillError(f"MLflow has {number} runs named {run}, not one")
    return result_of(run_dir, settings, ground.uri)
