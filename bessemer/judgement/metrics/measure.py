"""What a metric is made of: sums over samples, and what is computed from them.

Nearly every metric is a function of sums over samples (how many were right, how much loss there was), so
its value under another weighting of the samples costs one product of matrices. That is what the
bootstrap needs. Letters: N samples, R resamples, B blocks of samples, C labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = dict[str, Floats]


@dataclass(frozen=True)
class Sums:
    """What is summed over samples.

    Attributes:
        dense: float64 [N] or [N, K] by name: summed as it is.
        counted: (labels int64 [N], their number C, weights [N] or None) by name: summed for each label.
    """

    dense: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    counted: Mapping[str, tuple[Ints, int, Floats | None]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Numbers that a resample is summed up in (count)."""
        dense = sum(value[:1].size for value in self.dense.values())
        return dense + sum(num for _, num, _ in self.counted.values())

    def by_block(self, block: Ints, num_blocks: int) -> Values:
        """Return the sums of each block of samples.

        Args:
            block: int64 [N], which block a sample is in.
            num_blocks: B.

        Returns:
            float64 [B, 1] or [B, K] for what is dense, [B, C] for what is counted.
        """
        found: Values = {}
        for name, values in self.dense.items():
            columns = values.reshape(len(values), -1).astype(np.float64)
            found[name] = np.stack([np.bincount(block, column, num_blocks) for column in columns.T], axis=1)
        for name, (labels, num, weights) in self.counted.items():
            cells = np.bincount(block * num + labels, weights, num_blocks * num)
            found[name] = cells.reshape(num_blocks, num).astype(np.float64)
        return found


@dataclass(frozen=True)
class Measure:
    """The metrics of one table of predictions.

    Attributes:
        sums: what `of_sums` needs.
        of_sums: metrics [R] from sums [R, ...] by name.
        of_weights: metrics [R] from weights of the samples [R, N]; for those that are about ranks.
        cost: numbers that `of_weights` goes through for a resample (count).
        values: metrics whose value was computed otherwise, such as by torchmetrics.
        smaller_is_better: of each metric that has a direction.
        classes: a line for each class: its name, what was counted and measured.
        arrays: what figures are drawn from.
        primary: the metrics that are shown where there is little room.
        remarks: what one should know of it.
    """

    sums: Sums
    of_sums: Callable[[Values], Values]
    of_weights: Callable[[Floats], Values] | None = None
    cost: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    smaller_is_better: Mapping[str, bool] = field(default_factory=dict)
    classes: tuple[Mapping[str, Any], ...] = ()
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    primary: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def point(self, num_samples: int) -> dict[str, float]:
        """Return the metrics of the samples as they are."""
        block = np.zeros(num_samples, np.int64)
        found = {name: float(value[0]) for name, value in self.of_sums(self.sums.by_block(block, 1)).items()}
        if self.of_weights is not None:
            ranked = self.of_weights(np.ones((1, num_samples)))
            found |= {name: float(value[0]) for name, value in ranked.items()}
        return {**found, **self.values}


def ratio(numerator: NDArray[Any], denominator: NDArray[Any], empty: float = np.nan) -> Floats:
    """Divide; where there is nothing to divide by, give `empty`."""
    safe = np.where(denominator == 0, 1, denominator)
    result: Floats = np.where(denominator == 0, empty, numerator / safe)
    return result


def mean_where(values: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Return the mean of [R, C] over the labels for which `mask` [R, C] holds: [R]."""
    return ratio(np.where(mask, values, 0.0).sum(1), mask.sum(1))
