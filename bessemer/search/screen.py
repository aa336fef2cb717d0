"""What a person sees of a search: the space before it, a live table while it runs, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bessemer.search.plan import Plan
from bessemer.search.question import Question
from bessemer.search.space import Space, grid_size
from bessemer.search.study import Study, Trial
from bessemer.utils.console import duration, number

_MOST_ROWS = 12
_REFRESH_PER_S = 2.0
_SCHEDULERS = {
    "asha": "successive halving",
    "median": "median stopping",
    "none": "no early end",
    "pbt": "population based training",
}
_SAMPLERS = {"tpe": "TPE", "random": "random", "grid": "grid"}
_STATES = {"done": "done", "stopped": "stopped early", "failed": "failed"}


class SearchScreen:
    """Shows a search.

    Args:
        console: where to; a terminal gets a live table, anything else plain lines.
        study: what is shown.
        plan: how its trials share the cluster.
    """

    def __init__(self, console: Console, study: Study, plan: Plan) -> None:
        self._console = console
        self._study = study
        self._plan = plan
        self._begun = time.monotonic()
        self._done_before = _done(study)
        self._live: Live | None = None

    def __enter__(self) -> SearchScreen:
        question = self._study.question
        how = question.tuning
        self._console.print(
            f"search {self._study.name}: {_SAMPLERS[how.sampler]} and {_SCHEDULERS[how.scheduler]} by "
            f"{question.metric} ({question.mode})",
            style="bold",
            highlight=False,
            markup=False,
        )
        over = sum(trial.is_over for trial in self._study.trials.values())
        if self._study.trials:
            self._say(f"going on: {over} of {question.num_trials} trials are over")
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._table,
                console=self._console,
                refresh_per_second=_REFRESH_PER_S,
                # Ray's messages go where standard error goes: to a log file, not around the table.
                redirect_stdout=False,
                redirect_stderr=False,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def began(self, trial: Trial) -> None:
        """A trial begins, or goes on."""
        if self._live is None and not trial.losses:
            self._say(f"trial {trial.number}  {shown_values(trial.values)}")

    def reported(self, trial: Trial) -> None:
        """A trial has completed a turn, which a live table shows by itself."""

    def ended(self, trial: Trial) -> None:
        """A trial is over."""
        if self._live is None:
            self._say(f"trial {trial.number}  {self._state(trial)}  {self._summary()}")

    def note(self, text: str) -> None:
        """Show a sentence that the user should see."""
        self._console.print(f"note: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _state(self, trial: Trial) -> str:
        value = number(self._study.question.value(trial.loss)) if trial.losses else "no value"
        of = f"/{trial.num_turns}" if trial.num_turns else ""
        turns = f"after {trial.turns}{of}"
        if trial.state == "failed":
            return f"failed: {trial.cause.splitlines()[0]}" if trial.cause else "failed"
        return f"{_STATES.get(trial.state, 'running')} {turns}, {self._study.question.metric} {value}"

    def _table(self) -> RenderableType:
        study = self._study
        question, best = study.question, study.winner()
        table = Table(box=None, pad_edge=False)
        table.add_column("trial", justify="right")
        table.add_column(question.metric, justify="right")
        table.add_column("turns", justify="right")
        table.add_column("state")
        for name in question.space:
            table.add_column(name, justify="right")
        for trial in self._rows(best):
            value = number(question.value(trial.loss)) if trial.losses else ""
            state = _STATES.get(trial.state, "running" if trial.number in study.active else "waiting")
            of = f"/{trial.num_turns}" if trial.num_turns else ""
            style = "green" if best is trial else "red" if trial.state == "failed" else ""
            style = "dim" if trial.state == "stopped" else style
            values = [shown_value(trial.values[name]) for name in question.space]
            table.add_row(str(trial.number), value, f"{trial.turns}{of}", state, *values, style=style)
        return Group(table, Text(self._summary(), style="bold"))

    def _rows(self, best: Trial | None) -> list[Trial]:
        """Return the trials that run, and of the others the best."""
        trials = list(self._study.trials.values())
        running = [trial for trial in trials if not trial.is_over]
        over = sorted((t for t in trials if t.is_over), key=lambda t: (t is not best, t.loss, t.number))
        return [*over[: max(1, _MOST_ROWS - len(running))], *running[:_MOST_ROWS]]

    def _summary(self) -> str:
        study = self._study
        trials, total = list(study.trials.values()), study.question.num_trials
        best = study.winner()
        counts = {
            state: sum(trial.state == state for trial in trials) for state in ("done", "stopped", "failed")
        }
        parts = [f"{sum(counts.values())}/{total} over"]
        parts += [f"{count} {_STATES[state]}" for state, count in counts.items() if count]
        if best is not None:
            parts.append(f"best {number(study.question.value(best.loss))} (trial {best.number})")
        left = self._time_left()
        return ", ".join(parts) + (f", about {duration(left)} left" if left is not None else "")

    def _time_left(self) -> float | None:
        study = self._study
        # Before the first one is over, what trials take is not known: most of the time was their start.
        if not any(trial.is_over for trial in study.trials.values()):
            return None
        done, total = _done(study), study.question.num_trials
        new = done - self._done_before
        if new <= 0 or done >= total:
            return None
        left = (time.monotonic() - self._begun) / new * (total - done)
        hours = study.question.tuning.max_hours
        return min(left, max(0.0, hours * 3600 - study.wall_s)) if hours else left


def _done(study: Study) -> float:
    """Return how many trials are done, those that run by the part that they have trained (count)."""
    return sum(
        1.0 if trial.is_over else min(1.0, trial.turns / trial.num_turns) if trial.num_turns else 0.0
        for trial in study.trials.values()
    )


def shown_values(values: Mapping[str, Any]) -> str:
    """Return values for one line."""
    return "  ".join(f"{name} {shown_value(value)}" for name, value in values.items())


def shown_value(value: Any) -> str:
    """Return a value of a setting, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show_plan(console: Console, question: Question, plan: Plan, nodes: int, cpus: float, gpus: float) -> None:
    """Print what a search would do."""
    table = Table(box=None, pad_edge=False)
    for column in ("setting", "range"):
        table.add_column(column, no_wrap=column == "setting")
    for name, entry in question.space.items():
        table.add_row(name, str(entry))
    console.print(table)
    console.print()
    for name, text in plan_lines(question, plan, nodes, cpus, gpus).items():
        console.print(f"{name:<12}{text}", markup=False, highlight=False, soft_wrap=True)


def plan_lines(question: Question, plan: Plan, nodes: int, cpus: float, gpus: float) -> dict[str, str]:
    """Return what a search would do, by name."""
    tuning, num = question.tuning, question.num_trials
    limits = [f"{num} trial{'s' if num != 1 else ''}"]
    limits += [f"{tuning.max_hours:g} h"] if tuning.max_hours else []
    limits += [f"{tuning.max_gpu_hours:g} GPU h"] if tuning.max_gpu_hours else []
    early = {
        "asha": f"all but the best 1/{tuning.reduction} at turns "
        + ", ".join(str(tuning.grace_turns * tuning.reduction**k) for k in range(4))
        + ", ...",
        "median": f"from turn {tuning.grace_turns} on, below the median of at least {tuning.num_startup}",
        "none": "never",
        "pbt": f"never; every {tuning.interval_turns} turns the worst {tuning.quantile:.0%} copy the best",
    }
    return {
        "metric": f"{question.metric}, {'smaller' if question.smaller_is_better else 'larger'} is better",
        "chosen by": f"{_SAMPLERS[tuning.sampler]}, seed {tuning.seed}",
        "ended early": early[tuning.scheduler],
        "budget": ", ".join(limits) + _of_grid(question.space, tuning.sampler),
        "each trial": plan.words,
        "cluster": f"{nodes} node{'s' if nodes != 1 else ''} with {cpus:g} CPU and {gpus:g} GPU: "
        f"{plan.num_at_once} trial{'s' if plan.num_at_once != 1 else ''} at once",
    }


def _of_grid(space: Space, sampler: str) -> str:
    return f" of the {grid_size(space)} points of the grid" if sampler == "grid" else ""
