"""Metrics of segmentation, language and generation, whose samples were summed up where they were computed.

Letters: N samples, C classes, R resamples. A resample draws whole pictures and texts, since pixels and
words of one are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bessemer.judgement.metrics.measure import Floats, Ints, Measure, Sums, Values, mean_where, ratio


def segmentation(
    num_right_nc: Ints, num_predicted_nc: Ints, num_actual_nc: Ints, nll_sum_n: Floats, classes: Sequence[str]
) -> Measure:
    """Measure masks: overlaps over all pixels of all samples, averaged over the classes that occur."""
    num_classes = num_right_nc.shape[1]
    sums = Sums(
        {"right": num_right_nc, "predicted": num_predicted_nc, "actual": num_actual_nc, "nll": nll_sum_n}
    )
    right, predicted = num_right_nc.sum(0), num_predicted_nc.sum(0)
    actual = num_actual_nc.sum(0)
    iou = ratio(right, predicted + actual - right)
    dice = ratio(2.0 * right, predicted + actual)
    names = [classes[c] if len(classes) == num_classes else str(c) for c in range(num_classes)]
    return Measure(
        sums,
        _of_pixels,
        smaller_is_better={"mean_iou": False, "dice": False, "pixel_accuracy": False, "pixel_loss": True},
        classes=tuple(
            {"class": name, "iou": float(iou[c]), "dice": float(dice[c]), "support": int(actual[c])}
            for c, name in enumerate(names)
        ),
        primary=("mean_iou", "dice", "pixel_accuracy"),
    )


def _of_pixels(sums: Values) -> Values:
    right, predicted, actual = sums["right"], sums["predicted"], sums["actual"]
    occurs = predicted + actual > 0
    num = actual.sum(1)
    return {
        "mean_iou": mean_where(ratio(right, predicted + actual - right, 0.0), occurs),
        "dice": mean_where(ratio(2 * right, predicted + actual, 0.0), occurs),
        "pixel_accuracy": ratio(right.sum(1), num),
        "pixel_loss": ratio(sums["nll"][:, 0], num),
    }


def language(num_tokens_n: Ints, num_right_n: Ints, nll_sum_n: Floats) -> Measure:
    """Measure predicted tokens."""
    return Measure(
        Sums({"tokens": num_tokens_n, "right": num_right_n, "nll": nll_sum_n}),
        _of_tokens,
        # A token is a word here.
        smaller_is_better={"perplexity": True, "bits_per_token": True, "token_accuracy": False},  # nosec B105
        primary=("perplexity", "token_accuracy", "bits_per_token"),
        remarks=(f"{int(num_tokens_n.sum()):,} tokens",),
    )


def _of_tokens(sums: Values) -> Values:
    tokens = sums["tokens"][:, 0]
    nll = ratio(sums["nll"][:, 0], tokens)
    with np.errstate(over="ignore"):
        perplexity = np.exp(nll)
    return {
        "perplexity": perplexity,
        "bits_per_token": nll / math.log(2),
        "token_accuracy": ratio(sums["right"][:, 0], tokens),
    }


def generation(squared_n: Floats, absolute_n: Floats) -> Measure:
    """Measure what was made again: differences from what it should be, by element."""
    return Measure(
        Sums({"n": np.ones(len(squared_n)), "squared": squared_n, "absolute": absolute_n}),
        lambda sums: {
            "reconstruction_mse": ratio(sums["squared"], sums["n"])[:, 0],
            "reconstruction_mae": ratio(sums["absolute"], sums["n"])[:, 0],
        },
        smaller_is_better={"reconstruction_mse": True, "reconstruction_mae": True},
        primary=("reconstruction_mse", "reconstruction_mae"),
    )
