"""Drift: how differently columns are spread than in a reference, as the population stability index (PSI).

PSI = sum over parts of (p - q) ln(p / q), with the shares p of the reference and q of these data; below 0.1
little has changed, above 0.2 much (Siddiqi, *Credit Risk Scorecards*, 2006). Numbers are parted by the
quantiles of the reference, what has few values by value. By chance alone it is about (B - 1)(1/n + 1/m) for
B parts and n and m samples (Yurdakul, 2018), so a small split must exceed that by four standard deviations
too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bessemer.data.prepared.manifest import Manifest, Split, Statistics
from bessemer.data.validation.checks import DRIFT
from bessemer.data.validation.columns import ColumnTally
from bessemer.data.validation.findings import Finding
from bessemer.data.validation.tally import DatasetTally

Shares = npt.NDArray[np.float64]

# An empty part would make the index infinite; half a sample in a thousand takes its place.
_LEAST_SHARE = 0.0005
_STANDARD_DEVIATIONS = 4.0


def drift(tally: DatasetTally, split: str, reference: Manifest, max_drift: float) -> Iterator[Finding]:
    """Compare a data set with the split of the same name of a reference.

    Args:
        tally: of the data set, complete.
        split: name of its split.
        reference: earlier data.
        max_drift: largest index that is no finding.
    """
    earlier = reference.splits.get(split)
    if earlier is None or not earlier.num_rows:
        return
    kinds = {column.name: column for column in reference.columns}
    for name in [name for name in kinds if name not in tally.columns and tally.columns]:
        yield DRIFT.found(tally.name, f"the reference has a column {name!r} that is gone", name)
    for name, column in tally.columns.items():
        if name not in kinds:
            yield DRIFT.found(tally.name, f"the reference has no column {name!r}", name)
            continue
        index = _index(column, earlier, name)
        if index is not None and index.value > max(max_drift, index.by_chance):
            text = (
                f"population stability index {index.value:.3f}, above {max(max_drift, index.by_chance):.3g}"
            )
            yield DRIFT.found(tally.name, f"{text}: {index.text}", name)


class Index:
    """How far two distributions are apart.

    Args:
        before, now: shares of the parts, each adds up to 1.
        num_before, num_now: samples that they are of (count).
        names: of the parts.
    """

    def __init__(self, before: Shares, now: Shares, num_before: int, num_now: int, names: list[str]) -> None:
        p, q = np.maximum(before, _LEAST_SHARE), np.maximum(now, _LEAST_SHARE)
        terms = (p - q) * np.log(p / q)
        self.value = float(terms.sum())
        degrees = len(before) - 1
        noise = 1 / num_before + 1 / num_now
        self.by_chance = noise * (degrees + _STANDARD_DEVIATIONS * math.sqrt(2 * degrees))
        most = int(terms.argmax())
        self.text = f"{names[most]} were {before[most]:.1%} of samples and are {now[most]:.1%}"


def _index(column: ColumnTally, earlier: Split, name: str) -> Index | None:
    """Compare one column; None where the reference says too little."""
    before = earlier.statistics.get(name)
    if before is None or not column.num_rows:
        return None
    if before.counts and column.counts:
        return _by_value(before.counts, column.counts)
    values = column.sample.values
    if len(before.quantiles) < 2 or not len(values) or column.column.kind == "str":
        return None
    return _by_quantile(before, values, earlier.num_rows)


def _by_value(before: Mapping[str, int], now: Mapping[str, int]) -> Index | None:
    num_before, num_now = sum(before.values()), sum(now.values())
    if not (num_before and num_now):
        return None
    names = sorted({*before, *now})
    p, q = (
        np.array([counts.get(name, 0) / total for name in names])
        for counts, total in ((before, num_before), (now, num_now))
    )
    return Index(p, q, num_before, num_now, [f"values {name[:40]!r}" for name in names])


def _by_quantile(before: Statistics, values: Shares, num_before: int) -> Index | None:
    cuts = np.sort(np.asarray(before.quantiles, np.float64))
    if not np.isfinite(cuts).all():
        return None
    # The first and the last are the extremes, and no edges of parts that are open to both sides.
    levels, cuts = np.arange(1, len(cuts) - 1) / (len(cuts) - 1), cuts[1:-1]
    if not len(cuts):
        return None
    # Where many samples have one value, several quantiles are it: they are one edge, with the last level.
    edges = np.unique(cuts)
    last = np.searchsorted(cuts, edges, side="right") - 1
    shares = np.diff(np.concatenate([[0.0], levels[last], [1.0]]))
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    texts = [f"{edge:.4g}" for edge in edges]
    names = [f"values up to {texts[0]}"]
    names += [f"values from {low} to {high}" for low, high in pairwise(texts)]
    return Index(shares, counts / len(values), num_before, len(values), [*names, f"values above {texts[-1]}"])
