"""Makes the folder of a split from its predictions: the table, the metrics, the figures, the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bessemer.config.judgement_settings import Evaluation
from bessemer.errors import DataError, UserError
from bessemer.judgement import figures
from bessemer.judgement.bootstrap import interval, resampled
from bessemer.judgement.metrics.bundles import as_task, measure
from bessemer.judgement.metrics.measure import Measure
from bessemer.judgement.parts import Predictions, write_table
from bessemer.judgement.report import (
    TABLE_FILE,
    CheckpointUsed,
    DataUsed,
    Report,
    Score,
    SliceScore,
    write_report,
)

# More parts than this are no parts but values, such as an id or a time.
_MOST_SLICES = 200
_MOST_SHOWN_NUMBERS = 8


@dataclass(frozen=True)
class Judged:
    """What an evaluation is of.

    Attributes:
        project: whose.
        run: name of the run.
        run_id: of MLflow; "" if it is not tracked.
        checkpoint: the weights.
        program: what the program logged.
        evaluation: settings.
        seed: of the bootstrap.
        request: hash of all that it follows from but the data.
        remarks: what one should know of it.
    """

    project: str
    run: str
    run_id: str
    checkpoint: CheckpointUsed
    program: Mapping[str, float]
    evaluation: Evaluation
    seed: int
    request: str
    remarks: tuple[str, ...] = ()


def make_split(predictions: Predictions, judged: Judged, folder: Path) -> Report:
    """Measure a split and write all that is kept of it.

    Args:
        predictions: joined; without rows, if they could not be observed.
        judged: what it is of.
        folder: to fill; it exists.

    Raises:
        DataError: the model returned NaN.
        UserError: a slice has too many parts.
    """
    about = predictions.about
    if about.num_nan:
        raise DataError(
            f"the model returned NaN for {about.num_nan:,} of {about.num_expected:,} samples of "
            f"{about.split}, the first of them sample {about.first_nan}",
            expected="numbers",
            todo="look at that sample (bessemer data validate), or judge an earlier checkpoint: "
            "--checkpoint STEP",
        )
    data = DataUsed(
        dataset=about.dataset,
        fingerprint=about.fingerprint,
        num_dataset=about.num_dataset,
        num_samples=len(predictions),
    )
    known: dict[str, Any] = {
        "project": judged.project,
        "run": judged.run,
        "run_id": judged.run_id,
        "split": about.split,
        "checkpoint": judged.checkpoint,
        "data": data,
        "program": dict(judged.program),
        "request": judged.request,
        "confidence": judged.evaluation.confidence,
    }
    if about.reason or not len(predictions):
        report = Report(
            **known, unseen=about.reason or "no batch came", remarks=[*judged.remarks, *about.remarks]
        )
        write_report(report, folder)
        return report
    settled = as_task(predictions, judged.evaluation.task)
    measured = measure(settled, judged.evaluation.num_bins)
    write_table(settled, folder / TABLE_FILE)
    report = Report(
        **known,
        task=settled.about.kind,
        model=about.model,
        num_bootstrap=judged.evaluation.num_bootstrap,
        metrics=scores(measured, len(settled), judged.evaluation, judged.seed),
        smaller_is_better=dict(measured.smaller_is_better),
        classes=[dict(line) for line in measured.classes],
        slices=_slices(settled, judged),
        worst=_worst(settled, judged.evaluation.num_worst),
        remarks=[*judged.remarks, *about.remarks, *measured.remarks],
        figures=[],
    )
    report = report.model_copy(update={"figures": _figures(report, settled, measured, folder)})
    write_report(report, folder)
    return report


def scores(measured: Measure, num_samples: int, evaluation: Evaluation, seed: int) -> dict[str, Score]:
    """Return each metric with its interval."""
    values = measured.point(num_samples)
    drawn = {}
    if evaluation.num_bootstrap and num_samples > 1:
        drawn = resampled(measured, num_samples, evaluation.num_bootstrap, seed)
    found = {}
    for name, value in values.items():
        ends = (
            interval(drawn[name], evaluation.confidence) if name in drawn and math.isfinite(value) else None
        )
        low, high = ends if ends is not None else (None, None)
        found[name] = Score(value=value, low=low, high=high)
    return found


def _slices(predictions: Predictions, judged: Judged) -> dict[str, dict[str, SliceScore]]:
    found: dict[str, dict[str, SliceScore]] = {}
    for name, values in predictions.slices.items():
        parts = np.unique(values)
        if len(parts) > _MOST_SLICES:
            raise UserError(
                f"evaluation.slices has {name!r}, which has {len(parts):,} different values",
                expected=f"at most {_MOST_SLICES} parts",
                todo="name a function that puts samples into parts: package.module:function",
            )
        found[name] = {}
        for part in parts:
            chosen = predictions.part(values == part)
            measured = measure(chosen, judged.evaluation.num_bins)
            found[name][str(part)] = SliceScore(
                num_samples=len(chosen),
                metrics=scores(measured, len(chosen), judged.evaluation, judged.seed),
            )
    return found


def _worst(predictions: Predictions, num: int) -> list[dict[str, Any]]:
    """Return a line for each of the samples with the largest losses, worst first."""
    loss = predictions.columns["loss"]
    order = np.argsort(-loss, kind="stable")[:num]
    return [
        {"sample": int(predictions.samples[row]), "loss": float(loss[row]), **_answer(predictions, int(row))}
        for row in order
    ]


def _answer(predictions: Predictions, row: int) -> dict[str, Any]:
    columns, about = predictions.columns, predictions.about
    if about.kind == "classification":
        scores_c = columns["scores"][row]
        names = about.classes if len(about.classes) == len(scores_c) else range(len(scores_c))
        return {
            "actual": str(names[int(columns["target"][row])]),
            "predicted": str(names[int(scores_c.argmax())]),
        }
    if about.kind == "regression":
        return {"actual": _brief(columns["target"][row]), "predicted": _brief(columns["prediction"][row])}
    return {}


def _brief(values: NDArray[Any]) -> str:
    shown = " ".join(f"{float(value):.4g}" for value in values[:_MOST_SHOWN_NUMBERS])
    return shown + (" …" if len(values) > _MOST_SHOWN_NUMBERS else "")


def _figures(report: Report, predictions: Predictions, measured: Measure, folder: Path) -> list[str]:
    title = f"{report.split}, {report.data.num_samples:,} samples"
    drawn = []
    if report.task == "classification":
        names = [line["class"] for line in report.classes]
        drawn.append(figures.confusion(measured.arrays["confusion"], names, title, folder / "confusion.png"))
        error = report.metrics["calibration_error"].value
        drawn.append(figures.reliability(measured.arrays, error, title, folder / "reliability.png"))
    elif report.task == "regression":
        arrays = measured.arrays
        drawn.append(figures.scatter(arrays["prediction"], arrays["target"], title, folder / "scatter.png"))
    elif report.task == "segmentation":
        drawn.append(figures.bars(report.classes, "iou", title, folder / "classes.png"))
    pictures = [
        (predictions.inputs[line["sample"]], _caption(line))
        for line in report.worst
        if line["sample"] in predictions.inputs and figures.is_picture(predictions.inputs[line["sample"]])
    ]
    if pictures:
        drawn.append(figures.worst(pictures, f"largest losses of {report.split}", folder / "worst.png"))
    return drawn


def _caption(line: Mapping[str, Any]) -> str:
    answer = f"said {line['predicted']}, is {line['actual']}\n" if "actual" in line else ""
    return f"{answer}loss {line['loss']:.3g}\nsample {line['sample']}"
