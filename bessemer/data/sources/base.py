"""What a native source is: a map-style data set of rows that lie in groups, which are read whole.

A row group of a Parquet file, a range of lines, a part of a tar file. A pass over a source visits the
groups in an order of its own and permutes rows inside a window of groups (`data/windows.py`), so it reads
each group once, however large the data are. A process keeps the groups of a window, and no more.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
from torch.utils.data import Dataset

from bessemer.data.order import Ids

Row = dict[str, Any]
Values = np.ndarray[Any, Any] | list[Any]

DEFAULT_WINDOW_BYTES = 256 * 2**20
# What a look at the data may read, if it is more than two groups.
_LOOK_BYTES = 64 * 2**20


class LazyRows(Sequence[Any], ABC):
    """The rows of a group, each made when it is asked for."""

    @abstractmethod
    def row(self, place: int) -> Any:
        """Make the row at a place of the group, from 0."""

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        places = range(len(self))[place]
        return [self.row(each) for each in places] if isinstance(places, range) else self.row(places)


class Source(Dataset[Any], ABC):
    """Rows by position. It can be pickled, and opens files only when rows are asked for.

    Attributes:
        window_bytes: most memory of the groups that are shuffled together (bytes).
        transform: makes a sample of a row; None leaves the row as it is.
    """

    window_bytes: int = DEFAULT_WINDOW_BYTES
    transform: Callable[[Any], Any] | None = None
    _kept: Kept | None = None

    @property
    @abstractmethod
    def group_sizes(self) -> tuple[int, ...]:
        """Rows of each group, in order (count); a row's position counts through all of them."""

    @abstractmethod
    def read_group(self, number: int) -> Sequence[Any]:
        """Read a whole group.

        Raises:
            DataError: it cannot be read; names the file.
        """

    @property
    @abstractmethod
    def group_bytes(self) -> int:
        """Memory that a group takes, the largest or nearly so (bytes)."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return hexadecimal digits that change with what is read: names, sizes, times or tags of files."""

    @property
    def window_rows(self) -> int:
        """Most rows that are shuffled together (count)."""
        return max(1, self.window_bytes * max(self.group_sizes, default=1) // max(1, self.group_bytes))

    def __len__(self) -> int:
        return self._groups.starts[-1]

    def __getitem__(self, index: int) -> Any:
        groups = self._groups
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a source of {len(self)} rows")
        index = int(index) % len(self)
        number = bisect_right(groups.starts, index) - 1
        return self._sample(groups.get(self, number)[index - groups.starts[number]])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of several positions; torch's own loaders ask this way too."""
        return [self[index] for index in indices]

    def gather(self, indices: Sequence[int]) -> dict[str, Values] | None:
        """Return the rows of several positions column by column, where they lie in columns.

        Args:
            indices: positions, from 0.

        Returns:
            By name an array [positions, ...] or a list of as many values; None if a transform makes the
            samples, or groups give rows only.
        """
        if self.transform is not None:
            return None
        kept = self._groups
        ids = np.asarray(indices, dtype=np.int64)
        numbers = np.searchsorted(kept.bounds, ids, side="right") - 1
        parts = []
        for number in dict.fromkeys(numbers.tolist()):
            group = kept.get(self, number)
            if not isinstance(group, InColumns):
                return None
            where = np.flatnonzero(numbers == number)
            parts.append((where, group.take(ids[where] - kept.starts[number])))
        names = parts[0][1] if parts else {}
        return {name: _joined(len(ids), [(where, found[name]) for where, found in parts]) for name in names}

    def _sample(self, row: Any) -> Any:
        return row if self.transform is None else self.transform(row)

    def spread(self, count: int) -> list[int]:
        """Return positions that stand for all rows, for a look at the data that costs little.

        Args:
            count: how many at most.

        Returns:
            Positions in order, from as many groups as are read at once, spread over all of them.
        """
        filled = [number for number, size in enumerate(self.group_sizes) if size]
        most = min(count, len(filled), max(2, _LOOK_BYTES // max(1, self.group_bytes)))
        chosen = {filled[place] for place in _even(len(filled), most)}
        starts = self._groups.starts
        each = -(-count // max(1, len(chosen)))
        found = [
            starts[number] + place
            for number in sorted(chosen)
            for place in _even(self.group_sizes[number], each)
        ]
        return found[:count]

    @property
    def _groups(self) -> Kept:
        if self._kept is None:
            self._kept = Kept(self.group_sizes)
        return self._kept


@runtime_checkable
class InColumns(Protocol):
    """A group that gives many of its rows at once."""

    def take(self, places: Ids) -> dict[str, Values]:
        """Return the rows at some places, int64 [n], as columns: arrays [n, ...] or lists of n values."""


def _joined(count: int, parts: Sequence[tuple[Ids, Values]]) -> Values:
    """Put the values of groups where they belong among `count` values."""
    arrays = [values for _, values in parts if isinstance(values, np.ndarray)]
    kinds = {(values.dtype, values.shape[1:]) for values in arrays}
    if len(arrays) == len(parts) and len(kinds) == 1:
        whole = np.empty((count, *arrays[0].shape[1:]), arrays[0].dtype)
        for where, values in parts:
            whole[where] = values
        return whole
    mixed: list[Any] = [None] * count
    for where, values in parts:
        for place, value in zip(where.tolist(), values, strict=True):
            mixed[place] = value
    return mixed


def _even(size: int, count: int) -> list[int]:
    """Return up to `count` places in [0, size), from the first to the last, evenly spread."""
    count = min(size, count)
    return [place * (size - 1) // max(1, count - 1) for place in range(count)]


class Kept:
    """The groups that a process has read last, as many as a window has rows.

    It has no attributes that can be looked into, so that what it holds is no change of the data set
    (`data/changes.py`); and it is empty where it is unpickled.

    Args:
        sizes: rows of each group (count).
    """

    __slots__ = ("_groups", "_lock", "_num_rows", "_sizes", "bounds", "starts")

    # The same twice: one number is looked up faster in a list, many in an array.
    starts: list[int]
    bounds: Ids

    def __init__(self, sizes: Sequence[int]) -> None:
        self.starts = [0, *accumulate(sizes)]
        self.bounds = np.asarray(self.starts, dtype=np.int64)
        self._sizes = sizes
        self._num_rows = 0
        self._groups: OrderedDict[int, Sequence[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, source: Source, number: int) -> Sequence[Any]:
        """Return a group, read if it is not here; the one that was not used for longest goes."""
        with self._lock:
            found = self._groups.get(number)
            if found is not None:
                self._groups.move_to_end(number)
                return found
            largest = max(self._sizes)
            # One group more than a window: where two windows meet, a batch has rows of both.
            most_rows = max(source.window_rows, largest) + largest
            self._num_rows += self._sizes[number]
            while self._groups and self._num_rows > most_rows:
                gone, _ = self._groups.popitem(last=False)
                self._num_rows -= self._sizes[gone]
            try:
                found = source.read_group(number)
            except BaseException:
                self._num_rows -= self._sizes[number]
                raise
            self._groups[number] = found
            return found

    def __reduce__(self) -> tuple[type[Kept], tuple[Sequence[int]]]:
        return Kept, (self._sizes,)
