"""What a column holds, gathered shard by shard and put together: counts, moments, extremes, quantiles.

Each shard's summary is small and can be written as JSON; summaries of shards add up to that of a split in
any grouping. Moments are merged by Chan, Golub and LeVeque's formulas ("Updating formulae and a pairwise
algorithm for computing sample variances", 1979), so a column of large values loses no digits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from bessemer.config.section import Section
from bessemer.data.prepared.manifest import Column, Statistics

MAX_COUNTED = 1000
QUANTILES = tuple(number / 10 for number in range(11))
# Values of a shard that are kept for quantiles: more than enough for tenths.
_MAX_KEPT = 512
_WIDTH = 4096
_NUMBERS = ("int", "float", "bool")


class Summary(Section):
    """A column of one shard, in a form that adds up.

    Attributes:
        num_missing, num_not_finite: samples without a value, and with NaN or infinity in it (count).
        num_finite: elements that are finite numbers (count).
        mean: of those; 0 if there is none.
        squares: sum of squared distances from the mean.
        min, max: of those.
        counts: samples by value; None once there are too many values.
        kept: (value, how many values it stands for) of plain numbers, sorted.
    """

    num_missing: int = 0
    num_not_finite: int = 0
    num_finite: int = 0
    mean: float = 0.0
    squares: float = 0.0
    min: float | None = None
    max: float | None = None
    counts: dict[str, int] | None = Field(default_factory=dict)
    kept: tuple[tuple[float, float], ...] = ()


def summarise(column: Column, values: Sequence[Any], elements: np.ndarray[Any, Any] | None = None) -> Summary:
    """Summarise the leaves of one column.

    Args:
        column: what they are.
        values: one for each sample; None is missing.
        elements: those of all samples in a row, where they lie so already.
    """
    there = [value for value in values if value is not None]
    missing = len(values) - len(there)
    if not there:
        return Summary(num_missing=missing)
    if column.kind in ("str", "bytes"):
        counts = _counts(there) if column.kind == "str" else None
        return Summary(num_missing=missing, counts=counts)
    numbers, sizes = _numbers(column, there, elements)
    if numbers is None:
        return Summary(num_missing=missing, counts=None)
    bad, good = 0, numbers
    if numbers.dtype.kind == "f" and not (finite := np.isfinite(numbers)).all():
        bad = len(np.unique(np.repeat(np.arange(len(there)), sizes)[~finite]))
        good = numbers[finite]
    is_number = column.kind in _NUMBERS or (column.kind == "scalar")
    is_integer = column.kind in ("int", "bool") or (is_number and numbers.dtype.kind in "iub")
    moments = _moments(good)
    return Summary(
        num_missing=missing,
        num_not_finite=bad,
        **moments,
        counts=_counts(numbers.tolist()) if is_integer else None,
        kept=_kept(good) if is_number else (),
    )


def _numbers(
    column: Column, values: Sequence[Any], elements: np.ndarray[Any, Any] | None
) -> tuple[np.ndarray[Any, Any] | None, list[int]]:
    """Return all elements of all samples in a row, and how many each sample has; None if not numbers."""
    if column.kind in _NUMBERS:
        wide = np.float64 if column.kind == "float" else np.int64
        return np.asarray(values, dtype=wide), [1] * len(values)
    if elements is not None:
        is_number = elements.dtype.kind in "biuf"
        return (elements, [elements.size // len(values)] * len(values)) if is_number else (None, [])
    if column.kind == "tensor":
        tensors = [value.float() if value.dtype is torch.bfloat16 else value for value in values]
        arrays = [value.detach().resolve_conj().resolve_neg().numpy().reshape(-1) for value in tensors]
    else:
        arrays = [np.asarray(value).reshape(-1) for value in values]
    if arrays[0].dtype.kind not in "biuf":
        return None, []
    return np.concatenate(arrays), [array.size for array in arrays]


def _moments(good: np.ndarray[Any, Any]) -> dict[str, Any]:
    if not good.size:
        return {}
    if good.dtype in (np.uint8, np.bool_):
        return _moments_of_bytes(good)
    mean = float(good.mean(dtype=np.float64))
    # In pieces, so that large columns do not need eight bytes for each of their elements at once.
    pieces = np.array_split(good, max(1, good.size // 2**20))
    squares = math.fsum(float(np.square(piece.astype(np.float64) - mean).sum()) for piece in pieces)
    return {
        "num_finite": int(good.size),
        "mean": mean,
        "squares": squares,
        "min": float(good.min()),
        "max": float(good.max()),
    }


def _moments_of_bytes(good: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Do the same by counting values, which pictures have 256 of."""
    flat = good.view(np.uint8)
    whole = flat.size // _WIDTH * _WIDTH
    counts = np.bincount(flat[whole:], minlength=256)
    if whole:
        # Pillow counts three times as fast as NumPy, which makes eight bytes of each first.
        picture = Image.frombuffer("L", (_WIDTH, whole // _WIDTH), flat[:whole], "raw", "L", 0, 1)
        counts = counts + np.array(picture.histogram())
    values = np.arange(256, dtype=np.float64)
    mean = float(counts @ values) / good.size
    present = np.flatnonzero(counts)
    return {
        "num_finite": int(good.size),
        "mean": mean,
        "squares": float(counts @ np.square(values - mean)),
        "min": float(present[0]),
        "max": float(present[-1]),
    }


def _counts(values: Sequence[Any]) -> dict[str, int] | None:
    counts = Counter(values)
    if len(counts) > MAX_COUNTED:
        return None
    return {str(value): count for value, count in sorted(counts.items())}


def _kept(good: np.ndarray[Any, Any]) -> tuple[tuple[float, float], ...]:
    if not good.size:
        return ()
    places = np.unique(np.linspace(0, good.size - 1, min(good.size, _MAX_KEPT)).round().astype(np.int64))
    weight = good.size / places.size
    return tuple((float(value), weight) for value in np.sort(good)[places])


def merge(summaries: Sequence[Summary]) -> Statistics:
    """Put the summaries of a column's shards together."""
    num_finite = sum(each.num_finite for each in summaries)
    mean = math.fsum(each.mean * each.num_finite for each in summaries) / num_finite if num_finite else None
    squares = math.fsum(
        each.squares + each.num_finite * (each.mean - (mean or 0.0)) ** 2 for each in summaries
    )
    counts: Counter[str] | None = Counter()
    for each in summaries:
        counts = None if counts is None or each.counts is None else counts + Counter(each.counts)
    if counts is not None and len(counts) > MAX_COUNTED:
        counts = None
    lows = [each.min for each in summaries if each.min is not None]
    highs = [each.max for each in summaries if each.max is not None]
    return Statistics(
        num_missing=sum(each.num_missing for each in summaries),
        num_not_finite=sum(each.num_not_finite for each in summaries),
        min=min(lows) if lows else None,
        max=max(highs) if highs else None,
        mean=mean,
        std=math.sqrt(squares / num_finite) if num_finite else None,
        counts=dict(sorted(counts.items(), key=_by_number)) if counts else {},
        quantiles=_quantiles([pair for each in summaries for pair in each.kept]),
    )


def _by_number(item: tuple[str, int]) -> tuple[int, float, str]:
    """Sort 2 before 10, and numbers before texts."""
    try:
        return 0, float(item[0]), item[0]
    except ValueError:
        return 1, 0.0, item[0]


def _quantiles(kept: list[tuple[float, float]]) -> tuple[float, ...]:
    if not kept:
        return ()
    values, weights = np.array(sorted(kept)).T
    # The value at a fraction is the first one up to which so much of the weight lies.
    upto = np.cumsum(weights) / weights.sum()
    places = np.searchsorted(upto, np.array(QUANTILES) - 1e-9)
    return tuple(float(value) for value in values[np.minimum(places, len(values) - 1)])
