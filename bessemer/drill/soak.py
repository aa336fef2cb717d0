"""`bessemer drill --soak N`: N kills at random moments, over as many runs as that takes.

Each strike takes a worker or the driver. Every run is compared with the undisturbed one, and what
came of it is added to a Markdown file.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bessemer.drill.command import Reference, Verdict, judge, read_result, train_reference
from bessemer.drill.disturbances import Place, living_workers, wait_for_no_workers
from bessemer.drill.heads import Head
from bessemer.drill.moments import Moment, chosen
from bessemer.drill.training import Course, DrillError, MissedError, Training

# How far a run gets before it is struck, as a share of all its steps.
_REACH = 0.5
_HEADER = (
    "# Soak\n\nEach line is one `bessemer drill --soak`: workers and drivers were killed at random moments,\n"
    "and every run was compared with an undisturbed one, each logged value and the final weights, to the\n"
    "last bit.\n\n"
    "| date | project | workers | seed | kills of workers | kills of drivers | runs "
    "| steps of a run | steps computed again | differences |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)


@dataclass
class Tally:
    """Figures of a soak.

    Attributes:
        workers: workers that were killed (count).
        drivers: drivers that were killed (count).
        again: about how many steps were computed again (count).
        attempts: how often a run began or began again (count).
    """

    workers: int = 0
    drivers: int = 0
    again: int = 0
    attempts: int = 0

    @property
    def kills(self) -> int:
        """Kills in all (count)."""
        return self.workers + self.drivers


def soak(
    course: Course, head: Head, num_kills: int, seed: int, tell: Callable[[Verdict], None], log: Path
) -> list[Verdict]:
    """Kill until there were enough kills; judge each run and log the figures.

    Raises:
        TrainingError: the undisturbed run fails.
    """
    # A run gives up where a program kills itself again and again; these kills come from outside, and
    # three in a row may well strike before the first new step.
    allowed = [
        x for name in ("max-failures", "max-failures-at-step") for x in (f"--scaling.{name}", num_kills + 1)
    ]
    course = replace(course, arguments=(*course.arguments, *map(str, allowed)))
    reference = train_reference(course)
    tell(reference.verdict)
    verdicts = [reference.verdict]
    total = Tally()
    while total.kills < num_kills and not verdicts[-1].is_bad:
        name = f"soak-{len(verdicts)}"
        generator = random.Random(f"{seed} {name}")  # nosec B311  # a drill's, to be repeated
        verdicts.append(_one_run(course, head, reference, generator, name, total, num_kills))
        tell(verdicts[-1])
        if not verdicts[-1].is_bad:
            shutil.rmtree(course.storage / course.name / name, ignore_errors=True)
    _append(log, course, seed, reference, total, verdicts[1:])
    return verdicts


def _one_run(
    course: Course,
    head: Head,
    reference: Reference,
    generator: random.Random,
    name: str,
    total: Tally,
    num_kills: int,
) -> Verdict:
    begun = time.monotonic()
    here = Tally()
    place = Place(course, head, name, course.settings.scaling.min_workers)
    try:
        resumes = False
        while not _kill_until_it_ends(place, generator, reference, here, num_kills - total.kills, resumes):
            resumes = True
        word, text = judge(reference, read_result(course, name), rescaled=False)
    except DrillError as error:
        word, text = "failed", str(error)
    total.workers += here.workers
    total.drivers += here.drivers
    total.again += here.again
    kills = f"{here.workers} workers and {here.drivers} drivers killed"
    text = f"{kills}; {text}" if text else kills
    return Verdict(name, word, text, here.attempts, here.again, time.monotonic() - begun)


def _kill_until_it_ends(
    place: Place, generator: random.Random, reference: Reference, here: Tally, most: int, resumes: bool
) -> bool:
    """Train in one process and strike its workers until it ends or is struck; return whether it ended."""
    reach = int(reference.result.step * _REACH)
    with Training(place.course, place.run, resumes) as training:
        struck_at: list[int] = []
        try:
            while here.kills < most:
                moment = Moment(generator.randint(0, reach), generator.random(), generator.random())
                at = training.wait_until(moment)
                if generator.random() < 0.5:
                    training.process.kill()
                    training.finish()
                    if training.has_result:
                        return True
                    here.drivers += 1
                    wait_for_no_workers(place)
                    break
                attempts = len(training.starts)
                os.kill(chosen(moment, living_workers(place, training)), signal.SIGKILL)
                training.wait_for("its next attempt", partial(_has_more_attempts, training, attempts))
                # Only now: a kill that nobody missed, at the very end, was none.
                here.workers += 1
                struck_at.append(at)
        except MissedError:
            pass
        ended = training.process.poll() is None or training.has_result
        if ended:
            training.succeed()
        starts = training.starts
        here.attempts += len(starts)
        here.again += sum(max(0, at - start) for at, start in zip(struck_at, starts[1:], strict=False))
        return training.has_result


def _has_more_attempts(training: Training, than: int) -> bool:
    return len(training.starts) > than


def _append(
    log: Path, course: Course, seed: int, reference: Reference, total: Tally, verdicts: list[Verdict]
) -> None:
    bad = sum(verdict.is_bad for verdict in verdicts)
    cells = [
        time.strftime("%Y-%m-%d"),
        course.name,
        course.settings.scaling.min_workers,
        seed,
        total.workers,
        total.drivers,
        len(verdicts),
        reference.result.step,
        f"about {total.again}",
        bad,
    ]
    log.parent.mkdir(parents=True, exist_ok=True)
    text = log.read_text(encoding="utf-8") if log.exists() else _HEADER
    log.write_text(text + "| " + " | ".join(map(str, cells)) + " |\n", encoding="utf-8")
