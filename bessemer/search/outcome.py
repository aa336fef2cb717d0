"""What a search came to, on disk, in MLflow and on the screen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bessemer.config.loading import to_toml
from bessemer.config.settings import Settings
from bessemer.errors import ProjectError, nearest
from bessemer.search.journal import JOURNAL_FILE
from bessemer.search.screen import shown_value
from bessemer.search.space import with_values
from bessemer.search.study import Study, Trial, epochs_in_full, epochs_trained
from bessemer.tracking import TrackedRun
from bessemer.utils.console import duration, number
from bessemer.utils.files import write_whole
from bessemer.utils.jobs import is_job

BEST_FILE = "best.toml"
RESULT_FILE = "search.json"
_MOST_SHOWN = 10


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        name: of the search.
        folder: with its journal, its trials' runs and `best.toml`.
        metric: that judged.
        smaller_is_better: whether a smaller one is better.
        trials: by number.
        best: the winner, or None if no trial has reported a number.
        best_file: settings file that repeats it, or None.
        turns: that were trained in all (count).
        full_turns: that they would have been if no trial had ended early, or None.
        wall_s: that the search took, all drivers together (seconds).
        gpu_s: that its trials held GPUs (GPU seconds).
        ended_by: the budget that was used up, or "".
        tracked: its MLflow run.
    """

    name: str
    folder: Path
    metric: str
    smaller_is_better: bool
    trials: tuple[Trial, ...]
    best: Trial | None
    best_file: Path | None
    turns: int
    full_turns: int | None
    wall_s: float
    gpu_s: float
    ended_by: str
    tracked: TrackedRun

    def value(self, trial: Trial) -> float | None:
        """Return what a trial reported last, or None before that or for no number."""
        if not trial.losses or trial.loss == float("inf"):
            return None
        return trial.loss if self.smaller_is_better else -trial.loss

    def facts(self) -> dict[str, Any]:
        """Return it as plain data, for other programs."""
        return {
            "search": self.name,
            "folder": str(self.folder),
            "metric": self.metric,
            "mode": "min" if self.smaller_is_better else "max",
            "best": self.best.number if self.best is not None else None,
            "best_value": self.value(self.best) if self.best is not None else None,
            "best_values": self.best.values if self.best is not None else None,
            "best_file": str(self.best_file) if self.best_file is not None else None,
            "turns_trained": self.turns,
            "turns_in_full": self.full_turns,
            "wall_s": self.wall_s,
            "gpu_s": self.gpu_s,
            "ended_by": self.ended_by,
            "mlflow_run": self.tracked.run_id,
            "trials": [
                {
                    "number": trial.number,
                    "state": trial.state,
                    "value": self.value(trial),
                    "values": trial.values,
                    "turns": trial.turns,
                    "cause": trial.cause,
                    "copies": trial.copies,
                }
                for trial in self.trials
            ],
        }


@dataclass(frozen=True)
class Confirmed:
    """The winner with other seeds.

    Attributes:
        metric: that judged.
        winner: its value in the search.
        seeds: that it was trained with.
        values: of the metric, a seed each.
        mean: of them.
        deviation: standard deviation of them, or None of a single one.
    """

    metric: str
    winner: float
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float
    deviation: float | None


def found_of(study: Study, folder: Path, settings: Settings, tracked: TrackedRun) -> Found:
    """Put together what a study came to, and write `best.toml` and `search.json` in its folder."""
    question, best = study.question, study.winner()
    best_file = None
    if best is not None:
        best_file = folder / BEST_FILE
        text = to_toml(with_values(settings, best.values))
        write_whole(best_file, lambda part: Path(part).write_text(text, encoding="utf-8"))
    trials = tuple(trial for _, trial in sorted(study.trials.items()))
    found = Found(
        name=folder.name,
        folder=folder,
        metric=question.metric,
        smaller_is_better=question.smaller_is_better,
        trials=trials,
        best=best,
        best_file=best_file,
        turns=epochs_trained(trials),
        full_turns=epochs_in_full(trials),
        wall_s=study.wall_s,
        gpu_s=study.gpu_s,
        ended_by=study.out_of_budget(),
        tracked=tracked,
    )
    facts = json.dumps(found.facts(), indent=2) + "\n"
    write_whole(folder / RESULT_FILE, lambda part: Path(part).write_text(facts, encoding="utf-8"))
    return found


def find_study(storage: Path, project: str, name: str = "") -> Path:
    """Return the folder of a search by name, or of the newest.

    Raises:
        ProjectError: there is no such search.
    """
    files = sorted((storage / project).glob(f"*/{JOURNAL_FILE}"), key=lambda file: file.stat().st_mtime)
    names = [file.parent.name for file in files]
    if name in names:
        return files[names.index(name)].parent
    if name or not files:
        raise ProjectError(
            f"project {project} has no search {name!r}" if name else f"project {project} has no search",
            expected=nearest(name, names) or f"one of: {', '.join(names[-5:]) or 'none yet'}",
            todo=f"bessemer tune --project {project}",
        )
    return files[-1].parent


def show_found(console: Console, project: str, found: Found, shown_path: Any) -> None:
    """Print the best trials, what the search cost, where things are, and the next commands.

    Args:
        console: where to.
        project: whose search it is.
        found: what it came to.
        shown_path: returns a path as people read it.
    """
    ranked = sorted(found.trials, key=lambda trial: (trial is not found.best, trial.loss, trial.number))
    names = list(found.trials[0].values) if found.trials else []
    table = Table(box=None, pad_edge=False)
    for column in ("trial", found.metric, "turns", "state", *names):
        table.add_column(column, justify="left" if column == "state" else "right")
    for trial in ranked[:_MOST_SHOWN]:
        value = found.value(trial)
        of = f"/{trial.num_turns}" if trial.num_turns else ""
        values = [shown_value(trial.values[name]) for name in names]
        row = [str(trial.number), "" if value is None else number(value), f"{trial.turns}{of}", trial.state]
        table.add_row(*row, *values, style="green" if trial is found.best else "")
    console.print()
    console.print(table)
    if len(ranked) > _MOST_SHOWN:
        console.print(f"and {len(ranked) - _MOST_SHOWN} more", style="dim")
    console.print()
    counts = [(sum(t.state == state for t in found.trials), word) for state, word in _STATES.items()]
    lines = [
        ("trials", ", ".join(f"{count} {word}" for count, word in counts if count)),
        ("cost", _cost(found)),
    ]
    failed = [trial for trial in found.trials if trial.state == "failed"]
    if failed:
        lines.append(("failed", f"trial {failed[0].number}: {(failed[0].cause or '?').splitlines()[0]}"))
    if found.ended_by:
        lines.append(("ended", f"{found.ended_by}; raise it and go on with --resume {found.name}"))
    lines.append(("search", f"{found.tracked.run_id} in MLflow, experiment {found.tracked.experiment_id}"))
    if found.best_file is not None:
        file = shown_path(found.best_file)
        lines.append(("best", str(file)))
        # The file is on the cluster then, where nobody types.
        if not is_job():
            lines.append(("next", f'make train PROJECT={project} ARGS="--config {file}"'))
        if found.best is not None and any(trial.copies for trial in found.trials):
            run = f"{found.name}/trial-{found.best.number:04d}"
            lines.append(("", f"bessemer evaluate --project {project} --run {run}"))
            lines.append(
                ("note", "settings changed on the way: this run has the winner's weights, best.toml has not")
            )
        else:
            again = f"--resume {found.name} --confirm 5"
            there = f"bessemer submit tune --project {project} {again}"
            shown = ("next", there) if is_job() else ("", f'make tune PROJECT={project} ARGS="{again}"')
            lines.append((shown[0], f"{shown[1]}   # other seeds"))
    for name, text in lines:
        console.print(f"{name:<12}{text}", markup=False, highlight=False, soft_wrap=True)


_STATES = {
    "done": "trained to their end",
    "stopped": "ended early",
    "failed": "failed",
    "running": "interrupted",
}


def _cost(found: Found) -> str:
    of = f" of {found.full_turns:,}" if found.full_turns else ""
    parts = [f"{found.turns:,}{of} turns of the outer loop", duration(found.wall_s)]
    if found.full_turns:
        parts[0] += f" ({found.turns / found.full_turns:.0%} of training every trial in full)"
    if found.gpu_s:
        parts.append(f"{found.gpu_s / 3600:.2f} GPU h")
    return ", ".join(parts)


def show_confirmed(console: Console, confirmed: Confirmed) -> None:
    """Print what the winner came to with other seeds."""
    spread = f" ± {number(confirmed.deviation)}" if confirmed.deviation is not None else ""
    values = ", ".join(number(value) for value in confirmed.values)
    num = len(confirmed.seeds)
    text = f"{confirmed.metric} {number(confirmed.mean)}{spread} over {num} other seeds ({values})"
    console.print(f"{'confirmed':<12}{text}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{'':<12}in the search it was {number(confirmed.winner)}, chosen for being the best",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
