"""The order of rows that lie in groups, as a pure function of (key, pass, position). No torch, no Ray.

Data larger than memory are read in groups: a row group of Parquet, a range of lines. A pass visits the
groups in an order that depends on (key, pass) alone. Groups that follow each other in it form a *window*,
as many as fit into a number of rows, and the rows of a window are permuted by (key, pass, window). So a
batch comes from the few groups of one window, or of two, and a pass reads each group once. Any position
is found in O(log groups), without touching the data.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from bessemer.data.order import Ids, in_chunks, mix, num_batches, permute


@dataclass(frozen=True)
class WindowedPlan:
    """Every row once a pass, shuffled inside windows of groups that are shuffled themselves.

    Attributes:
        group_sizes: rows of each group (count); a row's id counts through all groups in this order.
        window_rows: most rows of a window (count); a group that is larger is a window of its own.
        batch_size: size of the global batch (rows).
        drop_last: whether a last batch smaller than `batch_size` is left out.
        key: 64 bits from the seed and the loader, choose the order of each pass.
    """

    # Plans are keys of caches: to hash as many numbers as there are groups would cost more than a batch.
    group_sizes: tuple[int, ...] = field(hash=False)
    window_rows: int
    batch_size: int
    drop_last: bool
    key: int

    @functools.cached_property
    def num_samples(self) -> int:
        """Rows of a pass (count)."""
        return sum(self.group_sizes)

    @property
    def steps_per_pass(self) -> int:
        """Global batches in one pass (count)."""
        return num_batches(self.num_samples, self.batch_size, self.drop_last)

    def batch(self, number: int, step: int) -> Ids:
        """Return the row ids of global batch `step` of pass `number`: int64 [batch]."""
        start = step * self.batch_size
        stop = min(start + self.batch_size, self.num_samples)
        return in_chunks(start, stop, self.batch_size, functools.partial(_rows, self, number))

    def windows(self, number: int) -> list[Ids]:
        """Return the groups of each window of pass `number`, in the order that they are visited."""
        layout = _layout(self, number)
        return np.split(layout.groups, layout.window_groups[1:-1])


@dataclass(frozen=True)
class _Layout:
    """How one pass visits the groups.

    Attributes:
        groups: group numbers in the order of the pass, int64 [groups].
        group_starts: position at which each of them begins, and the end, int64 [groups + 1].
        first_ids: id of the first row of each of them, int64 [groups].
        window_groups: place in `groups` at which each window begins, and the end, int64 [windows + 1].
    """

    groups: Ids
    group_starts: Ids
    first_ids: Ids
    window_groups: Ids


@functools.lru_cache(maxsize=8)
def _layout(plan: WindowedPlan, number: int) -> _Layout:
    sizes = np.asarray(plan.group_sizes, dtype=np.int64)
    places: Ids = np.arange(len(sizes), dtype=np.int64)
    groups = permute(places, len(sizes), mix(plan.key, number)) if len(sizes) else places
    starts = _starts(sizes[groups])
    bounds = [0]
    while bounds[-1] < len(groups):
        begin = bounds[-1]
        end = int(np.searchsorted(starts, starts[begin] + plan.window_rows, side="right")) - 1
        bounds.append(max(end, begin + 1))
    return _Layout(groups, starts, _starts(sizes)[groups], np.asarray(bounds, dtype=np.int64))


@functools.lru_cache(maxsize=8)
def _rows(plan: WindowedPlan, number: int, start: int, count: int) -> Ids:
    """Return the row ids at `count` positions from `start` on, as far as there are so many."""
    layout = _layout(plan, number)
    window_starts = layout.group_starts[layout.window_groups]
    stop = min(start + count, plan.num_samples)
    parts = []
    while start < stop:
        window = int(np.searchsorted(window_starts, start, side="right")) - 1
        begin, end = int(window_starts[window]), int(window_starts[window + 1])
        inside: Ids = np.arange(start - begin, min(stop, end) - begin, dtype=np.int64)
        positions = begin + permute(inside, end - begin, mix(plan.key, number, window))
        places = np.searchsorted(layout.group_starts, positions, side="right") - 1
        parts.append(layout.first_ids[places] + positions - layout.group_starts[places])
        start = min(stop, end)
    return np.concatenate(parts)


def _starts(sizes: Ids) -> Ids:
    """Return where each of some sizes begins when they are laid end to end, and the end: int64 [n + 1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
