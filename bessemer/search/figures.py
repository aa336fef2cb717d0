"""Figures of a search for its MLflow run: learning curves, best so far, parallel coordinates, importance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bessemer.search.choosing import as_study
from bessemer.search.question import Question
from bessemer.search.space import Choices, Range
from bessemer.search.study import Trial

_DPI = 120
_BLUE, _RED, _GREY = "#2b6cb0", "#c53030", "#a0aec0"
# With fewer, a forest of trees has nothing to split.
_LEAST_FOR_IMPORTANCE = 4
_IMPORTANCE_SEED = 0
# The largest value is so many times the smallest.
_LOG_FROM = 20


def draw(question: Question, trials: Sequence[Trial], folder: Path) -> list[Path]:
    """Draw all figures of a search that there is something to draw of.

    Args:
        question: what is searched.
        trials: as they stand, by number.
        folder: for PNG files; made if it is not there.

    Returns:
        The files that were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reported = [trial for trial in trials if trial.losses]
    if not reported:
        return []
    drawn = {
        "learning-curves": curves(question, reported),
        "best-so-far": history(question, reported),
        "parallel-coordinates": parallel(question, reported),
    }
    shares = importance(question, trials)
    if shares:
        drawn["importance"] = bars(question, shares)
    files = []
    for name, figure in drawn.items():
        file = folder / f"{name}.png"
        part = folder / f".{name}.png"
        figure.savefig(part, dpi=_DPI, bbox_inches="tight", format="png")
        part.rename(file)
        files.append(file)
    return files


def curves(question: Question, trials: Sequence[Trial]) -> Figure:
    """Draw the metric of every trial by turn; the best one stands out."""
    figure, axes = _new(7, 4.5)
    best = _best(trials)
    for trial in trials:
        turns = sorted(trial.losses)
        values = [question.value(trial.losses[turn]) for turn in turns]
        stands_out = trial is best
        axes.plot(
            turns,
            values,
            color=_BLUE if stands_out else _GREY,
            linewidth=2.2 if stands_out else 1,
            alpha=1 if stands_out else 0.7,
            marker="o",
            markersize=3,
            label=f"trial {trial.number}, the best" if stands_out else None,
            zorder=3 if stands_out else 2,
        )
        if trial.state in ("stopped", "failed"):
            axes.plot(
                turns[-1], values[-1], "x", color=_RED if trial.state == "failed" else _GREY, markersize=6
            )
    axes.set(
        xlabel="turns of the outer loop", ylabel=question.metric, title="learning curves (x: ended early)"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _keep_in_view(axes, [question.value(x) for trial in trials for x in trial.losses.values()])
    if best is not None:
        axes.legend(frameon=False)
    return figure


def history(question: Question, trials: Sequence[Trial]) -> Figure:
    """Draw each trial's metric, and the best of those so far that trained to their end."""
    figure, axes = _new(7, 4)
    groups = (("done", "trained to its end", _BLUE, "o"), ("stopped", "ended early", _GREY, "x"))
    for state, label, colour, marker in groups:
        shown = [trial for trial in trials if trial.state == state]
        if shown:
            values = [question.value(trial.loss) for trial in shown]
            axes.plot([trial.number for trial in shown], values, marker, color=colour, label=label)
    done = [trial for trial in trials if trial.state == "done" and math.isfinite(trial.loss)]
    if done:
        best = np.minimum.accumulate([trial.loss for trial in done])
        values = [question.value(float(loss)) for loss in best]
        axes.step([trial.number for trial in done], values, where="post", color=_BLUE, label="best so far")
    axes.set(xlabel="trial", ylabel=question.metric, title="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _keep_in_view(axes, [question.value(trial.loss) for trial in trials])
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False)
    return figure


def parallel(question: Question, trials: Sequence[Trial]) -> Figure:
    """Draw each trial as a line through its values; colour says how good it is."""
    names = list(question.space)
    figure, axes = _new(max(5.0, 1.7 * (len(names) + 1)), 4.6)
    finite = [trial for trial in trials if math.isfinite(trial.loss)]
    ranked = sorted(finite, key=lambda trial: trial.loss, reverse=True)
    losses = [trial.loss for trial in ranked]
    colours = colormaps["viridis_r"]
    low, high = (min(losses), max(losses)) if losses else (0.0, 1.0)
    for place, trial in enumerate(ranked):
        goodness = _place(Range(low, high), trial.loss) if high > low else 0.0
        heights = [_place(question.space[name], trial.values[name]) for name in names] + [1 - goodness]
        share = place / max(1, len(ranked) - 1)
        axes.plot(heights, color=colours(share), linewidth=1 + 1.5 * share, alpha=0.85)
    for x, name in enumerate(names):
        _scale(axes, x, question.space[name])
    _label(axes, len(names), f"{question.value(low):.4g}", f"{question.value(high):.4g}")
    for x in range(len(names) + 1):
        axes.axvline(x, color="black", linewidth=0.8)
    axes.set_xticks(range(len(names) + 1), [*names, f"{question.metric}\n(best on top)"])
    axes.set(yticks=[], ylim=(-0.08, 1.08), title="every trial through its settings (dark: better)")
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, pad=12)
    return figure


def importance(question: Question, trials: Sequence[Trial]) -> dict[str, float]:
    """Return how much of the metric's variance each setting explains (Optuna's fANOVA), largest first.

    Empty where there are too few trials, or all have the same value.
    """
    from bessemer.search.choosing import Known

    # Trials that ended early count with what they had: to leave them out would hide what is bad.
    known = [
        Known(trial.values, "done", {1: trial.loss})
        for trial in trials
        if trial.is_over and trial.losses and math.isfinite(trial.loss)
    ]
    varied = {name for name in question.space if len({repr(k.values[name]) for k in known}) > 1}
    if len(known) < _LEAST_FOR_IMPORTANCE or len({k.losses[1] for k in known}) < 2 or not varied:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = get_param_importances(
            as_study(question.space, known),
            evaluator=FanovaImportanceEvaluator(seed=_IMPORTANCE_SEED),
            params=sorted(varied),
        )
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def bars(question: Question, shares: Mapping[str, float]) -> Figure:
    """Draw how much each setting matters."""
    figure, axes = _new(6, max(1.8, 0.4 * len(shares) + 1.2))
    axes.barh(range(len(shares)), list(shares.values()), color=_BLUE)
    axes.set_yticks(range(len(shares)), list(shares))
    axes.invert_yaxis()
    for place, share in enumerate(shares.values()):
        axes.text(share + 0.01, place, f"{share:.0%}", va="center")
    title = f"what {question.metric} depends on (fANOVA)"
    axes.set(xlim=(0, 1.1), xlabel="share of the variance", title=title)
    return figure


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _best(trials: Sequence[Trial]) -> Trial | None:
    finite = [trial for trial in trials if math.isfinite(trial.loss)]
    done = [trial for trial in finite if trial.state == "done"]
    return min(done or finite, key=lambda trial: trial.loss, default=None)


def _keep_in_view(axes: Axes, values: Sequence[float]) -> None:
    """Keep one diverged trial from flattening all others.

    Values over orders of magnitude get a logarithmic scale; of others, the worst tenth may leave the picture.
    """
    finite = np.array([value for value in values if math.isfinite(value)])
    if len(finite) and finite.min() > 0 and finite.max() > _LOG_FROM * finite.min():
        axes.set_yscale("log")
        return
    if len(finite) < 8:
        return
    low, high = np.quantile(finite, [0.1, 0.9])
    span = max(float(high - low), 1e-12)
    bottom, top = max(float(finite.min()), low - 1.5 * span), min(float(finite.max()), high + 1.5 * span)
    margin = 0.06 * max(top - bottom, 1e-12)
    axes.set_ylim(bottom - margin, top + margin)


def _place(entry: Range | Choices, value: float | str | bool) -> float:
    """Return where a value is on its axis, from 0 to 1."""
    if isinstance(entry, Choices):
        return entry.values.index(value) / max(1, len(entry.values) - 1)
    assert isinstance(value, int | float)
    low, high = float(entry.low), float(entry.high)
    if entry.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.5


def _scale(axes: Axes, x: int, entry: Range | Choices) -> None:
    if isinstance(entry, Choices):
        for value in entry.values:
            axes.text(x + 0.04, _place(entry, value), str(value), fontsize=8, va="center")
        return
    _label(axes, x, f"{entry.high:g}", f"{entry.low:g}")


def _label(axes: Axes, x: float, top: str, bottom: str) -> None:
    axes.text(x, 1.04, top, fontsize=8, ha="center", va="bottom")
    axes.text(x, -0.04, bottom, fontsize=8, ha="center", va="top")
