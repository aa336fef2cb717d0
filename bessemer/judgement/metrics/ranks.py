"""Metrics of ranks under weights of the samples: area under the ROC curve, Spearman's correlation.

With whole weights these are the metrics of a sample in which each appears so often; ties count half, and
share their mean rank. Letters: N samples, R weightings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bessemer.judgement.metrics.measure import Floats, ratio


def area_under_roc(score_n: NDArray[Any], is_positive_n: NDArray[np.bool_], weights_rn: Floats) -> Floats:
    """Return the chance [R] that a positive sample has the higher score; NaN without both kinds.

    Args:
        score_n: higher for the positive.
        is_positive_n: which are.
        weights_rn: how often each counts.
    """
    order, last = _groups(score_n)
    first = np.append(0, last[:-1] + 1)
    group = np.repeat(np.arange(len(last)), last - first + 1)
    place = np.flatnonzero(is_positive_n[order])
    if not len(place):
        return np.full(len(weights_rn), np.nan)
    total = np.cumsum(weights_rn[:, order], axis=1)
    positive = weights_rn[:, order[place]]
    own = np.cumsum(positive, axis=1)
    # Ties count half: what is below a sample is the mean of what is below its group and up to its end.
    low, high = first[group[place]], last[group[place]]
    below = (_before(total, low) + total[:, high]) / 2
    below -= (
        _before(own, np.searchsorted(place, low)) + own[:, np.searchsorted(place, high, "right") - 1]
    ) / 2
    num_positive = positive.sum(1)
    return ratio((positive * below).sum(1), num_positive * (weights_rn.sum(1) - num_positive))


def _before(sums_rn: Floats, places: NDArray[np.int64]) -> Floats:
    """Return the running sums [R, P] of what comes before some places."""
    result: Floats = np.where(places > 0, sums_rn[:, np.maximum(places, 1) - 1], 0.0)
    return result


def spearman(first_n: NDArray[Any], second_n: NDArray[Any], weights_rn: Floats) -> Floats:
    """Return the correlation of ranks [R]; NaN where one of the two is constant.

    Args:
        first_n: values.
        second_n: values.
        weights_rn: how often each sample counts.
    """
    total = weights_rn.sum(1, keepdims=True)
    centred = []
    for values in (first_n, second_n):
        rank = _ranks(values, weights_rn)
        centred.append(rank - (weights_rn * rank).sum(1, keepdims=True) / total)
    first, second = centred
    product = (weights_rn * first * second).sum(1)
    norms = np.sqrt((weights_rn * first**2).sum(1) * (weights_rn * second**2).sum(1))
    return ratio(product, norms)


def _groups(values_n: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of values [N], and where in it each run of equal ones ends [groups]."""
    order = np.argsort(values_n, kind="stable")
    ordered = values_n[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    return order, last


def _group_sums(ordered_rn: Floats, last: NDArray[np.int64]) -> Floats:
    sums = np.cumsum(ordered_rn, axis=1)[:, last]
    result: Floats = np.diff(sums, axis=1, prepend=0.0)
    return result


def _ranks(values_n: NDArray[Any], weights_rn: Floats) -> Floats:
    """Return the mean rank [R, N] of each sample among all, counted as often as they weigh."""
    order, last = _groups(values_n)
    sizes = _group_sums(weights_rn[:, order], last)
    rank = np.cumsum(sizes, axis=1) - sizes + (sizes + 1) / 2
    group = np.empty(len(values_n), np.int64)
    group[order] = np.repeat(np.arange(len(last)), np.diff(last, prepend=-1))
    result: Floats = rank[:, group]
    return result
