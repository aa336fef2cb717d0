"""Metrics of numbers that are predicted. Letters: N samples, K outputs, R resamples.

Errors and R2 are torchmetrics' own, in float64. Its Spearman correlation has 1e-6 added to each spread, so
that of `ranks` is told. Of several outputs it is the mean over them.
"""

from __future__ import annotations

import numpy as np
import torch
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error, r2_score

from bessemer.judgement.metrics.measure import Floats, Measure, Sums, Values, ratio
from bessemer.judgement.metrics.ranks import spearman


def measure(prediction_nk: Floats, target_nk: Floats) -> Measure:
    """Measure predicted numbers."""
    num_samples, num_outputs = target_nk.shape
    # About the mean, so that sums of squares lose no digits.
    centred = target_nk - target_nk.mean(0)
    sums = Sums(
        {
            "n": np.ones(num_samples),
            "absolute": np.abs(prediction_nk - target_nk).mean(1),
            "squared": ((prediction_nk - target_nk) ** 2).mean(1),
            "residual": (prediction_nk - target_nk) ** 2,
            "target": centred,
            "target_squared": centred**2,
        }
    )

    def of_weights(weights: Floats) -> Values:
        each = [spearman(prediction_nk[:, k], target_nk[:, k], weights) for k in range(num_outputs)]
        return {"spearman": np.mean(each, axis=0)}

    return Measure(
        sums,
        _of_sums,
        of_weights,
        cost=8 * num_samples * num_outputs,
        values=_values(prediction_nk, target_nk),
        smaller_is_better={"mae": True, "rmse": True, "r2": False, "spearman": False},
        arrays={"prediction": prediction_nk, "target": target_nk},
        primary=("mae", "rmse", "r2"),
        remarks=() if num_samples > 1 else ("one sample: R2 and Spearman's correlation have no value",),
    )


def _of_sums(sums: Values) -> Values:
    n = sums["n"]
    spread = sums["target_squared"] - ratio(sums["target"] ** 2, n)
    r2 = 1 - ratio(sums["residual"], np.where(spread <= 0, 0.0, spread))
    return {
        "mae": ratio(sums["absolute"], n)[:, 0],
        "rmse": np.sqrt(ratio(sums["squared"], n))[:, 0],
        "r2": r2.mean(1),
    }


def _values(prediction_nk: Floats, target_nk: Floats) -> dict[str, float]:
    prediction, target = torch.from_numpy(prediction_nk), torch.from_numpy(target_nk)
    constant = len(target) < 2 or bool((target == target[0]).all(0).any())
    return {
        "mae": float(mean_absolute_error(prediction, target)),
        "rmse": float(mean_squared_error(prediction, target, squared=False)),
        "r2": float("nan") if constant else float(r2_score(prediction, target)),
    }
