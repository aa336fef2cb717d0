"""`bessemer cluster drill`: the drill's contract on several nodes, with containers for machines.

For each number of workers a run is trained undisturbed, then one for each disturbance; each must come to
the same points and weights, to the last bit, and be one run in MLflow.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.config.deploy_settings import Deploy
from bessemer.config.settings import Settings
from bessemer.drill.command import REFERENCE, Reference, Verdict, draws_in, judge, result_of, sigterm_exits
from bessemer.drill.comparison import Result
from bessemer.drill.disturbances import Story
from bessemer.drill.ground import Ground, check_images, started_ground
from bessemer.drill.moments import choose, earlier, not_before
from bessemer.drill.on_nodes import ON_NODES, Field, NodeDisturbance, undisturbed
from bessemer.drill.submitted import Course
from bessemer.drill.training import DrillError, MissedError
from bessemer.errors import BessemerError, TrainingError, UserError, nearest
from bessemer.tracking import num_runs_named, sign_in
from bessemer.training.folders import RESULT_FILE
from bessemer.training.storage import recorded_run

DISTURBANCES = {disturbance.name: disturbance for disturbance in ON_NODES}
# By where runs are kept: the setting in the containers, the numbers of workers, and what is done.
STORAGES = {"volume": "runs", "s3": "s3://drill/runs"}
_WORKERS = {"volume": (2, 3), "s3": (2,)}
_AT_S3 = ("main-node-kill", "head-kill")
_TRIES = 3
_NAME = "bessemer-drill"


@dataclass(frozen=True)
class Plan:
    """What a drill does on a cluster of one kind.

    Attributes:
        storage: where runs are kept, volume or s3.
        workers: numbers of workers that are trained with, one after the other (count each).
        disturbances: what is done to each.
        seed: of the moments.
    """

    storage: str
    workers: tuple[int, ...]
    disturbances: tuple[NodeDisturbance, ...]
    seed: int

    def label(self, what: str, num_workers: int) -> str:
        """Return the name of a run: what is done, with how many workers, on which storage."""
        return f"{what}-{num_workers}" if self.storage == "volume" else f"{what}-{num_workers}-{self.storage}"


@dataclass(frozen=True)
class Grounds:
    """How clusters for drills are made.

    Attributes:
        deploy: what their nodes have.
        num_nodes: beside the head (count).
        image: of the nodes.
    """

    deploy: Deploy
    num_nodes: int
    image: str

    def settings(self, storage: str) -> Settings:
        """Return the settings that a cluster with storage of a kind is rendered from."""
        deploy = {"worker_nodes": self.num_nodes, "max_worker_nodes": self.num_nodes}
        made = Settings.model_validate({"checkpoint": {"storage_path": STORAGES[storage]}})
        return made.model_copy(update={"deploy": self.deploy.model_copy(update=deploy)})


def chosen_plans(
    storages: Sequence[str], workers: Sequence[int], names: Sequence[str], seed: int
) -> list[Plan]:
    """Return what a drill does, with defaults for what is empty.

    Raises:
        UserError: there is no such storage or disturbance, or no worker.
    """
    for storage in storages:
        if storage not in STORAGES:
            raise UserError(f"there is no storage {storage!r}", expected=f"one of {', '.join(STORAGES)}")
    for name in names:
        if name not in DISTURBANCES:
            raise UserError(
                f"there is no disturbance {name!r} of nodes",
                expected=nearest(name, DISTURBANCES) or f"one of {', '.join(DISTURBANCES)}",
            )
    if any(count < 1 for count in workers):
        raise UserError(f"{min(workers)} workers cannot train", expected="at least one")
    plans = []
    for storage in storages or STORAGES:
        wanted = names or (_AT_S3 if storage == "s3" else tuple(DISTURBANCES))
        disturbances = tuple(DISTURBANCES[name] for name in wanted)
        plans.append(Plan(storage, tuple(workers) or _WORKERS[storage], disturbances, seed))
    return plans


def drill_cluster(
    grounds: Grounds,
    course: Course,
    settings: Settings,
    plans: Sequence[Plan],
    tell: Callable[[Verdict], None],
) -> list[Verdict]:
    """Start a cluster for each plan, drill on it, and remove it.

    Args:
        grounds: how clusters are made.
        course: what all runs have in common.
        settings: of the project.
        plans: what is done.
        tell: is given each verdict as soon as it is known.

    Raises:
        ClusterError: a cluster does not start.
        TrainingError: an undisturbed run fails, so there is nothing to compare with.
    """
    # Said now, and not after a quarter of an hour with the first of the clusters.
    for plan in plans:
        check_images(grounds.settings(plan.storage), grounds.image)
    verdicts: list[Verdict] = []
    for plan in plans:
        settings_there = grounds.settings(plan.storage)
        with sigterm_exits(), started_ground(settings_there, _NAME, grounds.image) as ground:
            verdicts += drill_on(ground, course, settings, plan, tell)
    return verdicts


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
        reference = _reference(ground, course, settings, plan, num_workers)
        keep(reference.verdict)
        for disturbance in plan.disturbances:
            if disturbance.name == "node-joins" and num_workers != plan.workers[0]:
                continue
            keep(_tried(ground, course, settings, reference, disturbance, plan, num_workers))
    return verdicts


def _reference(ground: Ground, course: Course, settings: Settings, plan: Plan, num_workers: int) -> Reference:
    name = plan.label(REFERENCE, num_workers)
    begun = time.monotonic()
    try:
        story = undisturbed(Field(ground, course, name, num_workers))
        run_dir = ground.fetch(course.run_dir(ground, name))
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
    plan: Plan,
    num_workers: int,
) -> Verdict:
    """Disturb a run, earlier if it was too late, and judge it."""
    label = plan.label(disturbance.name, num_workers)
    generator = random.Random(f"{plan.seed} {label}")  # nosec B311  # a drill's, to be repeated
    moment = choose(generator, reference.result.step * 2 // 3, course.every_steps)
    moment = not_before(moment, course.every_steps)
    missed, begun = "", time.monotonic()
    for number in range(1, _TRIES + 1):
        run = label if number == 1 else f"{label}-try-{number}"
        begun = time.monotonic()
        try:
            story = disturbance.disturb(Field(ground, course, run, num_workers), moment)
            run_dir = ground.fetch(course.run_dir(ground, run))
            word, text = judge(reference, _result(ground, run_dir, settings, run), story.rescaled)
        except MissedError as error:
            missed, moment = str(error), earlier(moment)
            continue
        except (DrillError, BessemerError) as error:
            return Verdict(label, "failed", str(error), duration_s=time.monotonic() - begun)
        took_s = time.monotonic() - begun
        return Verdict(label, word, text, story.attempts, _steps_again(run_dir, story), took_s)
    text = f"did not happen in {_TRIES} tries: {missed}"
    return Verdict(label, "failed", text, duration_s=time.monotonic() - begun)


def _steps_again(run_dir: Path, story: Story) -> int | None:
    """Return the steps that were computed again, as the run's account has it; None: a driver died with it."""
    account = json.loads((run_dir / RESULT_FILE).read_text(encoding="utf-8"))["account"]
    return int(account["num_steps_again"]) if len(account["recoveries"]) == story.attempts - 1 else None


def _result(ground: Ground, run_dir: Path, settings: Settings, run: str) -> Result:
    """Read what a run came to, from a copy of its folder; it must be one run in MLflow.

    Raises:
        DrillError: it is not, or left nothing.
    """
    tracked = recorded_run(run_dir)
    if tracked is None:
        raise DrillError(f"the run {run} has no record of where it is tracked")
    number = num_runs_named(ground.uri, tracked.experiment_id, run)
    if number != 1:
        raise DrillError(f"MLflow has {number} runs named {run}, not one")
    return result_of(run_dir, settings, ground.uri)
