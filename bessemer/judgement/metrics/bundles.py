"""Which metrics a table of predictions has, by what its rows are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bessemer.judgement.metrics import classification, counts, regression
from bessemer.judgement.metrics.measure import Measure
from bessemer.judgement.parts import Predictions


def as_task(predictions: Predictions, task: str = "auto") -> Predictions:
    """Settle what only all samples together tell: numbers compared with nothing but 0 and 1 are two classes.

    The losses are those of the task from then on.
    """
    columns, about = dict(predictions.columns), predictions.about
    if about.kind == "values":
        target = columns["target"]
        binary = target.shape[1] == 1 and bool(np.isin(target, (0, 1)).all())
        if task == "regression" or not binary:
            return replace(predictions, about=replace(about, kind="regression"))
        columns["scores"] = classification.two_classes(columns.pop("prediction")[:, 0])
        columns["target"] = target[:, 0].astype(np.int64)
        about = replace(about, kind="classification")
    if about.kind == "classification":
        columns["loss"] = classification.losses_of(columns["scores"], columns["target"])
    return replace(predictions, about=about, columns=columns)


def measure(predictions: Predictions, num_bins: int) -> Measure:
    """Measure a table whose task is settled.

    Args:
        predictions: of at least one sample.
        num_bins: of the calibration of a classifier.
    """
    columns, about = predictions.columns, predictions.about
    match about.kind:
        case "classification":
            return classification.measure(columns["scores"], columns["target"], about.classes, num_bins)
        case "regression":
            return regression.measure(columns["prediction"], columns["target"])
        case "segmentation":
            names = ("num_right", "num_predicted", "num_actual", "nll_sum")
            right, predicted, actual, nll = (columns[name] for name in names)
            return counts.segmentation(right, predicted, actual, nll, about.classes)
        case "language":
            return counts.language(columns["num_tokens"], columns["num_right"], columns["nll_sum"])
        case "generation":
            return counts.generation(columns["loss"], columns["absolute"])
    raise AssertionError(f"no metrics for {about.kind}")
