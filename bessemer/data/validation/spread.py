"""How numbers are spread, from a stream: exact moments, and an even sample for quantiles and histograms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bessemer.data.validation.findings import Histogram
from bessemer.data.validation.hashing import mixed

Array = npt.NDArray[Any]

_SLICE = 2**20
_MAX_SAMPLED = 2**15
_NUM_BINS = 32


class Moments:
    """Count, least, largest, mean and standard deviation of all numbers, joined slice by slice.

    The joining is that of Chan, Golub and LeVeque (1979), which loses no digits to large means.
    """

    def __init__(self) -> None:
        self.count = 0
        self.min = math.inf
        self.max = -math.inf
        self.mean = 0.0
        self._m2 = 0.0

    @property
    def std(self) -> float:
        """Standard deviation, of the whole population."""
        return math.sqrt(self._m2 / self.count) if self.count else 0.0

    def add(self, numbers: Array) -> None:
        """Take in finite numbers of any dtype, flat."""
        for start in range(0, len(numbers), _SLICE):
            part = numbers[start : start + _SLICE].astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                mean = float(part.mean())
                m2 = float(np.square(part - mean).sum())
                total, shift = self.count + len(part), mean - self.mean
                self._m2 += m2 + shift * shift * self.count * len(part) / total
                self.mean += shift * len(part) / total
            self.count = total
            self.min, self.max = min(self.min, float(part.min())), max(self.max, float(part.max()))


class Sample:
    """An even sample of at most 32,768 numbers: those whose row's mixed number is small enough.

    Which numbers are kept depends on their rows alone, not on how they come in blocks.
    """

    def __init__(self) -> None:
        self._bound = np.uint64(2**64 - 1)
        self._keys = np.zeros(0, np.uint64)
        self._values = np.zeros(0, np.float64)

    def add(self, rows: npt.NDArray[np.int64], values: Array) -> None:
        """Take in numbers and the rows that they are of, both flat and of one length."""
        keys = mixed(rows.view(np.uint64))
        kept = keys <= self._bound
        self._keys = np.concatenate([self._keys, keys[kept]])
        self._values = np.concatenate([self._values, values[kept].astype(np.float64)])
        while len(self._keys) > _MAX_SAMPLED and self._bound:
            self._bound //= np.uint64(2)
            kept = self._keys <= self._bound
            self._keys, self._values = self._keys[kept], self._values[kept]

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The numbers, in the order in which they came."""
        return self._values

    def histogram(self) -> Histogram | None:
        """Count the numbers in 32 equal parts of their range; None if there are none."""
        values = self._values[np.isfinite(self._values)]
        if not len(values):
            return None
        low, high = float(values.min()), float(values.max())
        if not math.isfinite(high - low):
            return None
        if high == low:
            return Histogram(low=low, high=high, counts=(len(values),))
        places = np.minimum(((values - low) / (high - low) * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)
        counts = np.bincount(places, minlength=_NUM_BINS)
        return Histogram(low=low, high=high, counts=tuple(counts.tolist()))
