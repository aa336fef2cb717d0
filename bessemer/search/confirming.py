"""Trains the winner of a search again with other seeds: the best of many is better by luck as well.

The mean over fresh seeds is what to expect; the winner's own value is not, as it was chosen for it.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from bessemer.config.loading import fields_of, value_at
from bessemer.config.settings import Settings
from bessemer.errors import SettingsError, TrainingError
from bessemer.search.command import Job, question_of, search
from bessemer.search.outcome import Confirmed, Found
from bessemer.search.space import with_values
from bessemer.utils.files import write_whole

CONFIRMED_FILE = "confirmed.json"


def confirm(job: Job, found: Found, num: int, console: Console) -> Confirmed:
    """Train the winner of a search with `num` other seeds; again, only what is missing is trained.

    Raises:
        SettingsError: a population has no settings that repeat its winner.
        TrainingError: the search has no winner, or no seed could be trained.
    """
    best = found.best
    if best is None:
        raise TrainingError(
            f"the search {found.name} has no winner to confirm", expected="a trial that reported a number"
        )
    if job.settings.tuning.scheduler == "pbt":
        raise SettingsError(
            "--confirm with population based training: the winner's settings changed while it trained",
            expected="a search whose winner one file of settings repeats",
            todo="repeat the search with another tuning.seed instead",
        )
    settings = with_values(job.settings, best.values)
    name = seed_setting(settings)
    seeds = other_seeds(value_at(settings, name), num)
    tuning = settings.tuning.model_copy(
        update={
            **{
                "space": {name: {"choices": list(seeds)}},
                "search": [],
                "sampler": "grid",
                "scheduler": "none",
            },
            **{"metric": found.metric, "mode": "min" if found.smaller_is_better else "max"},
            **{"max_hours": 0.0, "max_gpu_hours": 0.0, "num_trials": num},
        }
    )
    again = replace(
        job,
        settings=settings.model_copy(update={"tuning": tuning}),
        parent=found.tracked.run_id,
        again=f"--resume {found.name} --confirm {num}",
    )
    # In the folder of the search, where nobody looks for the newest one; another winner has another folder.
    folder = found.folder / f"confirmed-{best.number:04d}-{num}"
    retrained = search(again, question_of(again), folder, console)
    values = {t.values[name]: retrained.value(t) for t in retrained.trials if t.state == "done"}
    finite = {seed: value for seed, value in values.items() if value is not None and math.isfinite(value)}
    if not finite:
        raise TrainingError(f"the winner of {found.name} could not be trained with any of {num} other seeds")
    winner = found.value(best)
    confirmed = Confirmed(
        metric=found.metric,
        winner=winner if winner is not None else math.nan,
        seeds=tuple(finite),
        values=tuple(finite.values()),
        mean=statistics.fmean(finite.values()),
        deviation=statistics.stdev(finite.values()) if len(finite) > 1 else None,
    )
    text = json.dumps(asdict(confirmed), indent=2) + "\n"
    write_whole(found.folder / CONFIRMED_FILE, lambda part: Path(part).write_text(text, encoding="utf-8"))
    return confirmed


def seed_setting(settings: Settings) -> str:
    """Return which setting seeds a program: its own `seed`, if it has one, else that of the loaders."""
    own = dict(fields_of(type(settings)))
    return "seed" if "seed" in own and isinstance(value_at(settings, "seed"), int) else "data.seed"


def other_seeds(taken: int, num: int) -> Sequence[int]:
    """Return so many seeds that a search has not used.

    >>> other_seeds(1, 3)
    (1001, 1002, 1003)
    """
    return tuple(taken + 1000 + i for i in range(num))
