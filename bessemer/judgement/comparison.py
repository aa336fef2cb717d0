"""Compares two runs on the same samples: a paired bootstrap, and who did better on each sample.

Both are resampled together, so what makes a sample hard for both drops out of the difference. Runs that
were judged by different data are refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field
from rich.console import Console

from bessemer.config.judgement_settings import Evaluation as EvaluationSettings
from bessemer.errors import DataError, UserError
from bessemer.judgement import figures
from bessemer.judgement.bootstrap import interval, num_blocks_for, resampled
from bessemer.judgement.evaluation import Evaluation, send_evaluation
from bessemer.judgement.metrics.bundles import measure
from bessemer.judgement.metrics.measure import Values
from bessemer.judgement.parts import About, Predictions, read_table
from bessemer.judgement.report import TABLE_FILE, Part, Report, folder_name
from bessemer.judgement.showing import grid, say, shown
from bessemer.tracking import log_folder
from bessemer.training.folders import EVALUATION_FOLDER
from bessemer.training.storage import recorded_run
from bessemer.utils.console import number

COMPARISONS_FOLDER = "comparisons"
COMPARISON_FILE = "comparison.json"
_FIGURE_FILE = "comparison.png"


class Difference(Part):
    """A metric of both runs, and B's minus A's with its interval."""

    a: float
    b: float
    difference: float
    low: float | None = None
    high: float | None = None
    better: str = ""


class Comparison(Part):
    """Two runs on one split.

    Attributes:
        project: whose.
        run_a: name of the first run.
        run_b: name of the second.
        step_a: step of its checkpoint (count).
        step_b: step of its checkpoint (count).
        split: what the data are called.
        task: how the models' outputs were read.
        fingerprint: of the data.
        num_samples: samples that both were judged by (count).
        confidence: level of the intervals (fraction).
        metrics: by name; `better` is the run for which the whole interval speaks, or "".
        wins: samples on which B has the smaller loss (count).
        losses: samples on which A has (count).
        ties: samples on which both have the same (count).
        answers: of a classification, samples by who was right (count).
        folder: where the figure is.
    """

    project: str
    run_a: str
    run_b: str
    step_a: int
    step_b: int
    split: str
    task: str
    fingerprint: str
    num_samples: int
    confidence: float
    metrics: dict[str, Difference]
    wins: int
    losses: int
    ties: int
    answers: dict[str, int] = Field(default_factory=dict)
    folder: str = ""


def compare(a: Evaluation, b: Evaluation, settings: EvaluationSettings, seed: int) -> list[Comparison]:
    """Compare two evaluations on each split that both have; what is found is kept with the second run.

    Raises:
        UserError: they have no split in common, or were judged by different data.
    """
    if a.run_dir == b.run_dir and a.step == b.step:
        raise UserError(
            f"run {a.run_dir.name} is compared with itself", expected="two different runs of the project"
        )
    ours = {report.split: report for report in a.reports}
    theirs = {report.split: report for report in b.reports}
    common = [split for split in ours if split in theirs]
    if not common:
        raise UserError(
            f"run {a.run_dir.name} was judged by {', '.join(ours)}, run {b.run_dir.name} by "
            f"{', '.join(theirs)}",
            expected="a split that both have",
            todo="name one with --split",
        )
    return [_compared(ours[split], theirs[split], a, b, settings, seed) for split in common]


def _compared(
    a: Report, b: Report, judged_a: Evaluation, judged_b: Evaluation, settings: EvaluationSettings, seed: int
) -> Comparison:
    for report in (a, b):
        if report.unseen:
            raise UserError(
                f"predictions of run {report.run} on {report.split} could not be observed: {report.unseen}",
                expected="predictions of both runs",
                todo="name a function in evaluation.predict: package.module:function",
            )
    if a.data.fingerprint != b.data.fingerprint or not a.data.fingerprint:
        raise UserError(
            f"{a.split} of run {a.run} has the data {a.data.fingerprint or 'without a fingerprint'}, of run "
            f"{b.run} {b.data.fingerprint or 'without a fingerprint'}",
            expected="the same data for both: a comparison is sample by sample",
            todo="judge both by one data set: --split with the name of a source",
        )
    if a.task != b.task or len(a.classes) != len(b.classes):
        raise UserError(
            f"run {a.run} is {a.task} of {len(a.classes)} classes, run {b.run} {b.task} of {len(b.classes)}",
            expected="two models of the same task",
        )
    first, second = _paired(_table(a, judged_a.run_dir), _table(b, judged_b.run_dir))
    comparison = _measured(a, b, first, second, settings, seed)
    return _kept(comparison, judged_b.run_dir)


def _table(report: Report, run_dir: Path) -> Predictions:
    classes = tuple(str(line["class"]) for line in report.classes)
    about = About(-1, report.split, classes=classes, kind=report.task)
    return read_table(run_dir / EVALUATION_FOLDER / folder_name(report.split) / TABLE_FILE, about)


def _paired(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    common = np.intersect1d(first.samples, second.samples, assume_unique=True)
    if not len(common):
        raise DataError(
            "the two runs were judged by none of the same samples",
            expected="samples that both were judged by",
            todo="evaluate both again",
        )
    return first.part(np.isin(first.samples, common)), second.part(np.isin(second.samples, common))


def _measured(
    a: Report, b: Report, first: Predictions, second: Predictions, settings: EvaluationSettings, seed: int
) -> Comparison:
    num = len(first)
    measures = measure(first, settings.num_bins), measure(second, settings.num_bins)
    points = [each.point(num) for each in measures]
    drawn: list[Values] = [{}, {}]
    if settings.num_bootstrap and num > 1:
        blocks = num_blocks_for(num, max(each.sums.width for each in measures))
        drawn = [resampled(each, num, settings.num_bootstrap, seed, blocks) for each in measures]
    metrics = {}
    for name, value in points[0].items():
        ends = None
        if name in drawn[0] and name in drawn[1]:
            ends = interval(drawn[1][name] - drawn[0][name], settings.confidence)
        low, high = ends if ends is not None else (None, None)
        difference = points[1][name] - value
        smaller = measures[0].smaller_is_better.get(name)
        metrics[name] = Difference(
            a=value,
            b=points[1][name],
            difference=difference,
            low=low,
            high=high,
            better=_better(low, high, smaller, a.run, b.run),
        )
    loss_a, loss_b = first.columns["loss"], second.columns["loss"]
    return Comparison(
        project=a.project,
        run_a=a.run,
        run_b=b.run,
        step_a=a.checkpoint.step,
        step_b=b.checkpoint.step,
        split=a.split,
        task=a.task,
        fingerprint=a.data.fingerprint,
        num_samples=num,
        confidence=settings.confidence,
        metrics=metrics,
        wins=int((loss_b < loss_a).sum()),
        losses=int((loss_a < loss_b).sum()),
        ties=int((loss_a == loss_b).sum()),
        answers=_answers(first, second),
    )


def _better(low: float | None, high: float | None, smaller: bool | None, a: str, b: str) -> str:
    if low is None or high is None or smaller is None or low <= 0 <= high:
        return ""
    return b if (high < 0) == smaller else a


def _answers(first: Predictions, second: Predictions) -> dict[str, int]:
    if "scores" not in first.columns:
        return {}
    right_a, right_b = (
        each.columns["scores"].argmax(1) == each.columns["target"] for each in (first, second)
    )
    return {
        "both": int((right_a & right_b).sum()),
        "only_a": int((right_a & ~right_b).sum()),
        "only_b": int((right_b & ~right_a).sum()),
        "neither": int((~right_a & ~right_b).sum()),
    }


def _kept(comparison: Comparison, run_dir: Path) -> Comparison:
    name = f"{folder_name(comparison.split)}-against-{folder_name(comparison.run_a)}"
    folder = run_dir / EVALUATION_FOLDER / COMPARISONS_FOLDER / name
    made = comparison.model_copy(update={"folder": str(folder)})
    part = folder.with_name(f".{name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    rows = [
        (metric, each.difference, each.low, each.high)
        for metric, each in comparison.metrics.items()
        if each.low is not None and each.high is not None
    ]
    if rows:
        title = f"{comparison.run_b} minus {comparison.run_a}, {comparison.split}"
        figures.differences(rows, title, part / _FIGURE_FILE)
    (part / COMPARISON_FILE).write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    send_evaluation(run_dir)
    tracked = recorded_run(run_dir)
    if tracked is not None:
        log_folder(tracked, folder, f"{EVALUATION_FOLDER}/{COMPARISONS_FOLDER}/{name}")
    return made


def show_comparisons(console: Console, comparisons: Sequence[Comparison]) -> None:
    """Print how two runs differ."""
    for found in comparisons:
        say(console, f"A  run {found.run_a}, step {found.step_a}")
        say(console, f"B  run {found.run_b}, step {found.step_b}")
        say(
            console,
            f"{found.split}: {found.num_samples:,} samples of both (data {found.fingerprint}), {found.task}",
            style="bold",
        )
        table = grid("metric", "A", "B", "B - A", f"{found.confidence:.0%} interval", "better")
        for name, each in found.metrics.items():
            ends = "–"  # noqa: RUF001
            if each.low is not None and each.high is not None:
                ends = f"{number(each.low)} to {number(each.high)}"
            better = {found.run_a: "A", found.run_b: "B"}.get(each.better, "")
            table.add_row(name, number(each.a), number(each.b), number(each.difference), ends, better)
        console.print(table)
        say(
            console,
            f"sample by sample: B has the smaller loss on {found.wins:,}, A on {found.losses:,}, "
            f"the same on {found.ties:,}",
        )
        if found.answers:
            parts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in found.answers.items())
            say(console, f"right answers: {parts}")
        say(console, f"files  {shown(found.folder)}")
