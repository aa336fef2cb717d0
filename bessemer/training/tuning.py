"""Searches the ranges of the `[tuning]` section: every trial is a training run of its own.

Trials are drawn at random from the ranges, from the run's seed, and trained one after the other
with `fit`, so each has its own folder, checkpoints and MLflow run. The best trial's settings are
written as `best.toml`.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from bessemer.config.loading import fields_of, to_toml
from bessemer.config.settings import Settings
from bessemer.errors import SettingsError, TrainingError, nearest
from bessemer.training.trainer import fit, storage_folder

BEST_FILE = "best.toml"


@dataclass(frozen=True)
class Trial:
    """One training run of a study.

    Attributes:
        name: of the run.
        values: what was drawn, by setting name.
        value: the metric, or None if the trial failed or did not log it.
        state: "done", or what went wrong.
    """

    name: str
    values: Mapping[str, Any]
    value: float | None
    state: str


@dataclass(frozen=True)
class Study:
    """What a search found.

    Attributes:
        metric: name of the metric that judges.
        smaller_is_better: whether a smaller value is better.
        names: settings that were searched.
        trials: in the order they were run.
        best_file: settings file of the best trial.
    """

    metric: str
    smaller_is_better: bool
    names: tuple[str, ...]
    trials: tuple[Trial, ...]
    best_file: Path

    def ranked(self) -> list[Trial]:
        """Return the trials, best first, failed ones last."""
        sign = 1 if self.smaller_is_better else -1

        def badness(trial: Trial) -> float:
            if trial.value is None or math.isnan(trial.value):
                return math.inf
            return sign * trial.value

        return sorted(self.trials, key=badness)


def tune(
    program: str,
    settings: Settings,
    *,
    project: str,
    search_path: Sequence[str] = (),
    console: Console | None = None,
) -> Study:
    """Train `tuning.num_trials` settings drawn from `tuning.space` and write down the best.

    Args:
        program: `package.module:function` of the project.
        settings: where the trials start from.
        project: name for the experiment and the folder.
        search_path: folders that workers put in front of `sys.path`.
        console: where progress is shown.

    Raises:
        SettingsError: the space is empty, names no setting, or has no range; no metric is chosen.
        TrainingError: no trial was completed.
    """
    console = console or Console(file=sys.stdout)
    tuning = settings.tuning
    metric = tuning.metric or settings.checkpoint.best_metric
    mode = tuning.mode or settings.checkpoint.best_mode
    check_space(settings)
    if not metric:
        raise SettingsError(
            "no metric to judge trials by",
            expected="tuning.metric, or checkpoint.best_metric",
            todo='add metric = "test/loss" under [tuning] in settings.toml',
        )
    names = tuple(sorted(tuning.space))
    generator = random.Random(settings.data.seed)
    study_dir = storage_folder(settings) / project / f"study-{time.strftime('%Y%m%d-%H%M%S')}"
    trials: list[Trial] = []
    best: tuple[float, Settings] | None = None
    for number in range(tuning.num_trials):
        values = {name: draw(tuning.space[name], generator) for name in names}
        shown = "  ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
        )
        console.print(f"trial {number + 1}/{tuning.num_trials}  {shown}", style="bold", markup=False)
        tried = with_values(settings, values)
        value: float | None = None
        try:
            outcome = fit(
                program,
                tried,
                project=project,
                search_path=search_path,
                tags={"bessemer.study": study_dir.name},
                console=console,
            )
            value = outcome.metrics.get(metric)
            state = "done" if value is not None else f"never logged {metric}"
            name = outcome.name
        except TrainingError as error:
            name, state = f"trial-{number + 1}", error.found
        trials.append(Trial(name, values, value, state))
        better = (
            value is not None
            and not math.isnan(value)
            and (best is None or (value < best[0] if mode == "min" else value > best[0]))
        )
        if better and value is not None:
            best = (value, tried)
            study_dir.mkdir(parents=True, exist_ok=True)
            (study_dir / BEST_FILE).write_text(to_toml(tried), encoding="utf-8")
    if best is None:
        raise TrainingError(
            f"none of {len(trials)} trials ended with a value of {metric}: {trials[-1].state}",
            expected="at least one",
            todo=f"train once with `bessemer train --project {project}` and see what it logs",
        )
    return Study(metric, mode == "min", names, tuple(trials), study_dir / BEST_FILE)


def check_space(settings: Settings) -> None:
    """Refuse a search space that cannot be drawn from.

    Raises:
        SettingsError: it is empty, or a name or range in it is wrong.
    """
    space = settings.tuning.space
    known = dict(fields_of(type(settings)))
    if not space:
        raise SettingsError(
            "tuning.space is empty: there is nothing to search",
            expected="ranges by setting name",
            todo="add [tuning.space] to settings.toml, such as: lr = {low = 0.1, high = 2.0, log = true}",
        )
    for name, bounds in space.items():
        if name not in known:
            raise SettingsError(
                f"tuning.space has {name}, which is no setting",
                expected=nearest(name, known) or "a name that `bessemer config` shows",
            )
        choices, low, high = bounds.get("choices"), bounds.get("low"), bounds.get("high")
        if choices is not None:
            if not isinstance(choices, list) or not choices or set(bounds) != {"choices"}:
                raise SettingsError(f"tuning.space.{name} = {bounds}", expected="{choices = [a, b, …]}")
            candidates: list[Any] = list(choices)
        elif _is_number(low) and _is_number(high) and not set(bounds) - {"low", "high", "log"}:
            assert isinstance(low, int | float)
            assert isinstance(high, int | float)
            if not low < high or (bounds.get("log") and low <= 0):
                raise SettingsError(
                    f"tuning.space.{name} = {bounds}", expected="low < high, both above 0 if log"
                )
            candidates = [low, high]
        else:
            raise SettingsError(
                f"tuning.space.{name} = {bounds}",
                expected="{low = 0.1, high = 1.0, log = true} or {choices = [a, b]}",
            )
        for candidate in candidates:
            with_values(settings, {name: candidate})


def draw(bounds: Mapping[str, Any], generator: random.Random) -> Any:
    """Draw a value from a range: uniform, or uniform in the logarithm; whole if both bounds are."""
    if "choices" in bounds:
        return generator.choice(bounds["choices"])
    low, high = bounds["low"], bounds["high"]
    whole = isinstance(low, int) and isinstance(high, int)
    # Every whole number stands for the interval up to the next, so that both ends are as likely as others.
    end = high + 1 if whole else high
    if bounds.get("log"):
        value = math.exp(generator.uniform(math.log(low), math.log(end)))
    else:
        value = generator.uniform(low, end)
    # A logarithm and back may end a little beyond the bounds.
    return min(high, max(low, math.floor(value) if whole else value))


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return settings with some values replaced, checked as any other setting.

    Raises:
        SettingsError: a value has the wrong type or is out of range.
    """
    tree = settings.model_dump()
    for dotted, value in values.items():
        *sections, name = dotted.split(".")
        node = tree
        for section in sections:
            node = node[section]
        node[name] = value
    try:
        return type(settings)(**tree)
    except ValidationError as error:
        problem = error.errors()[0]
        raise SettingsError(
            f"tuning.space gives {', '.join(f'{n} = {v!r}' for n, v in values.items())}",
            expected=problem["msg"],
        ) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
