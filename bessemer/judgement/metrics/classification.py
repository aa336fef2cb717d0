"""Metrics of classification, for two classes or many. Letters: N samples, C classes, R resamples, B bins.

What a model returns may be logits, log-probabilities (whose softmax they are already) or probabilities,
which are told by adding up to one. Averages over classes are over those that occur, as in scikit-learn:
balanced accuracy over the classes that samples have, F1 also over those that were only predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_confusion_matrix

from bessemer.judgement.metrics.measure import Floats, Ints, Measure, Sums, Values, mean_where, ratio
from bessemer.judgement.metrics.ranks import area_under_roc

_TOP = 5
# Rows of probabilities add up to one as nearly as float16 allows.
_SUM_TOLERANCE = 2e-3
_LEAST_PROBABILITY = float(np.finfo(np.float64).tiny)


def are_probabilities(scores_nc: NDArray[Any]) -> bool:
    """Whether rows are distributions: none negative, adding up to one."""
    if not len(scores_nc) or not np.isfinite(scores_nc).all() or scores_nc.min() < 0:
        return False
    return bool(np.abs(scores_nc.sum(1, dtype=np.float64) - 1).max() <= _SUM_TOLERANCE)


def probabilities_of(scores_nc: NDArray[Any]) -> Floats:
    """Return probabilities [N, C] in float64 of logits, log-probabilities or probabilities."""
    scores = scores_nc.astype(np.float64)
    if are_probabilities(scores_nc):
        return scores
    scores = np.exp(scores - scores.max(1, keepdims=True))
    result: Floats = scores / scores.sum(1, keepdims=True)
    return result


def losses_of(scores_nc: NDArray[Any], target_n: Ints) -> Floats:
    """Return the negative log-likelihood [N] of the right classes, in float64."""
    rows = np.arange(len(target_n))
    scores = scores_nc.astype(np.float64)
    if are_probabilities(scores_nc):
        result: Floats = -np.log(np.maximum(scores[rows, target_n], _LEAST_PROBABILITY))
        return result
    top = scores.max(1)
    losses: Floats = np.log(np.exp(scores - top[:, None]).sum(1)) + top - scores[rows, target_n]
    return losses


def two_classes(prediction_n: Floats) -> Floats:
    """Return scores [N, 2] of one number a sample.

    It is the probability of class 1 if all of them are in [0, 1], else its logit.
    """
    if len(prediction_n) and prediction_n.min() >= 0 and prediction_n.max() <= 1:
        return np.stack([1 - prediction_n, prediction_n], axis=1)
    return np.stack([np.zeros_like(prediction_n), prediction_n], axis=1)


def measure(scores_nc: NDArray[Any], target_n: Ints, classes: Sequence[str], num_bins: int) -> Measure:
    """Measure a classifier.

    Args:
        scores_nc: logits, log-probabilities or probabilities.
        target_n: the right classes.
        classes: their names, or none.
        num_bins: of the calibration.
    """
    num_classes = scores_nc.shape[1]
    probability = probabilities_of(scores_nc)
    predicted = probability.argmax(1)
    right = predicted == target_n
    confidence = probability.max(1)
    names = [classes[c] if len(classes) == num_classes else str(c) for c in range(num_classes)]
    bins = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
    dense: dict[str, NDArray[Any]] = {
        "n": np.ones(len(target_n)),
        "right": right,
        "loss": losses_of(scores_nc, target_n),
    }
    if num_classes > _TOP:
        own = probability[np.arange(len(target_n)), target_n]
        dense["top"] = (probability > own[:, None]).sum(1) < _TOP
    sums = Sums(
        dense,
        {
            "hits": (target_n, num_classes, right.astype(np.float64)),
            "actual": (target_n, num_classes, None),
            "predicted": (predicted, num_classes, None),
            "bin_n": (bins, num_bins, None),
            "bin_confidence": (bins, num_bins, confidence),
            "bin_right": (bins, num_bins, right.astype(np.float64)),
        },
    )
    confusion = multiclass_confusion_matrix(
        torch.from_numpy(predicted), torch.from_numpy(target_n), num_classes=num_classes
    ).numpy()
    columns = range(1, 2) if num_classes == 2 else range(num_classes)

    def of_weights(weights: Floats) -> Values:
        areas = [area_under_roc(probability[:, c], target_n == c, weights) for c in columns]
        stacked = np.stack(areas, axis=1)
        return {"roc_auc": mean_where(np.nan_to_num(stacked), ~np.isnan(stacked))}

    return Measure(
        sums,
        _of_sums,
        of_weights,
        cost=len(target_n) * len(columns),
        smaller_is_better={
            **dict.fromkeys(("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted"), False),
            **dict.fromkeys((f"top{_TOP}_accuracy", "roc_auc"), False),
            **dict.fromkeys(("log_loss", "calibration_error"), True),
        },
        classes=tuple(_lines(confusion, names)),
        arrays={"confusion": confusion, **_reliability(bins, confidence, right, num_bins)},
        primary=("accuracy", "f1_macro", "log_loss"),
        remarks=() if len(np.unique(target_n)) > 1 else ("all samples are of one class",),
    )


def _of_sums(sums: Values) -> Values:
    n = sums["n"][:, 0]
    hits, actual, predicted = sums["hits"], sums["actual"], sums["predicted"]
    recall = ratio(hits, actual, 0.0)
    f1 = ratio(2 * hits, actual + predicted, 0.0)
    found = {
        "accuracy": ratio(sums["right"][:, 0], n),
        "balanced_accuracy": mean_where(recall, actual > 0),
        "f1_macro": mean_where(f1, actual + predicted > 0),
        "f1_weighted": ratio((f1 * actual).sum(1), n),
    }
    if "top" in sums:
        found[f"top{_TOP}_accuracy"] = ratio(sums["top"][:, 0], n)
    found["log_loss"] = ratio(sums["loss"][:, 0], n)
    gap = np.abs(sums["bin_confidence"] - sums["bin_right"]).sum(1)
    found["calibration_error"] = ratio(gap, n)
    return found


def _lines(confusion_cc: Ints, names: Sequence[str]) -> list[dict[str, Any]]:
    hits, actual, predicted = np.diag(confusion_cc), confusion_cc.sum(1), confusion_cc.sum(0)
    precision, recall = ratio(hits, predicted, 0.0), ratio(hits, actual, 0.0)
    f1 = ratio(2.0 * hits, actual + predicted, 0.0)
    return [
        {
            "class": name,
            "precision": float(precision[c]),
            "recall": float(recall[c]),
            "f1": float(f1[c]),
            "support": int(actual[c]),
        }
        for c, name in enumerate(names)
    ]


def _reliability(
    bins: Ints, confidence: Floats, right: NDArray[np.bool_], num_bins: int
) -> dict[str, NDArray[Any]]:
    count = np.bincount(bins, minlength=num_bins)
    return {
        "bin_count": count,
        "bin_confidence": ratio(np.bincount(bins, confidence, num_bins), count),
        "bin_accuracy": ratio(np.bincount(bins, right.astype(np.float64), num_bins), count),
    }
