"""The order of samples as a pure function of (key, pass, position). No torch, no Ray, no state.

A loader is iterated many times; each time is a *pass*. Pass p visits the samples in an order that
depends on (key, p) alone, cut into global batches; a worker gets a contiguous slice of each. Every
position is computed where it is needed, in O(1) and without storing a permutation, so training
resumes anywhere at once and at any number of workers with the same global batches.

The permutation is a generalised Feistel network with cycle walking (Black and Rogaway, "Ciphers with
arbitrary finite domains", CT-RSA 2002): a bijection on [0, a * b), with a and b next to the square root
of n, whose few values outside [0, n) are encrypted again until they fall inside. Round functions and
key mixing are SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
# Luby and Rackoff need 4 rounds of ideal functions; small domains mix worse, so twice that.
_NUM_ROUNDS = 8
# NumPy costs as much for one position as for some hundreds, so neighbours are permuted together.
_CHUNK_POSITIONS = 4096


def mix(*parts: int) -> int:
    """Hash integers to 64 well-mixed bits; every part and its place matter.

    >>> mix(1, 2) != mix(2, 1)
    True
    """
    state = 0
    for part in parts:
        state = (state + _GOLDEN + (part & _MASK)) & _MASK
        state = ((state ^ (state >> 30)) * _FIRST) & _MASK
        state = ((state ^ (state >> 27)) * _SECOND) & _MASK
        state ^= state >> 31
    return state


def permute(positions: Ids, size: int, key: int) -> Ids:
    """Map positions of [0, size) to sample ids of [0, size): a bijection chosen by `key`.

    Args:
        positions: int64 [n], each in [0, size).
        size: number of samples, at least 1.
        key: 64 bits that choose the permutation.

    Returns:
        int64 [n]; all positions together give every id exactly once.
    """
    rows = math.isqrt(size - 1) + 1
    columns = -(-size // rows)
    round_keys = [np.uint64(mix(key, number)) for number in range(_NUM_ROUNDS)]
    values = _encrypt(positions.astype(np.uint64), rows, columns, round_keys)
    outside = np.flatnonzero(values >= size)
    while outside.size:
        values[outside] = _encrypt(values[outside], rows, columns, round_keys)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64)


def _encrypt(
    values: NDArray[np.uint64], rows: int, columns: int, round_keys: Sequence[np.uint64]
) -> NDArray[np.uint64]:
    num_rows, num_columns = np.uint64(rows), np.uint64(columns)
    row, column = np.divmod(values, num_columns)
    for number, round_key in enumerate(round_keys):
        if number % 2:
            column = (column + _scramble(row ^ round_key) % num_columns) % num_columns
        else:
            row = (row + _scramble(column ^ round_key) % num_rows) % num_rows
    return row * num_columns + column


def _scramble(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(_GOLDEN)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    return values ^ (values >> np.uint64(31))


def share_of(num_samples: int, rank: int, world_size: int) -> tuple[int, int]:
    """Return (start, stop) of one worker's slice of a global batch.

    Slices are contiguous, in rank order, and differ by one sample at most; the first workers get
    the larger ones, so rank 0 has a sample whenever the batch has one.

    >>> [share_of(5, rank, 3) for rank in range(3)]
    [(0, 2), (2, 4), (4, 5)]
    """
    each, more = divmod(num_samples, world_size)
    start = rank * each + min(rank, more)
    return start, start + each + (rank < more)


def num_batches(num_samples: int, batch_size: int, drop_last: bool) -> int:
    """Return how many batches samples make (count)."""
    return num_samples // batch_size if drop_last else -(-num_samples // batch_size)


class Plan(Protocol):
    """Which samples form which global batch; the kinds that there are stand here and in `windows`."""

    @property
    def steps_per_pass(self) -> int:
        """Global batches in one pass (count)."""

    def batch(self, number: int, step: int) -> Ids:
        """Return the sample ids of global batch `step` of pass `number`: int64 [batch]."""


def in_chunks(start: int, stop: int, batch_size: int, ids: Callable[[int, int], Ids]) -> Ids:
    """Return the sample ids at the positions [start, stop) of one batch, int64 [stop - start].

    Args:
        start: of the batch.
        stop: of the batch.
        batch_size: of all batches (samples).
        ids: returns the ids at so many positions from one on; what it returned last should be kept.
    """
    # Whole batches to a chunk, so that each is a slice of one.
    chunk_size = max(1, _CHUNK_POSITIONS // batch_size) * batch_size
    begin = start // chunk_size * chunk_size
    return ids(begin, chunk_size)[start - begin : stop - begin].copy()


@dataclass(frozen=True)
class CanonicalPlan:
    """Every sample once a pass, shuffled or not.

    Attributes:
        num_samples: size of the data set (count).
        batch_size: size of the global batch (samples).
        shuffle: whether a pass is permuted.
        drop_last: whether a last batch smaller than `batch_size` is left out.
        key: 64 bits from the seed and the loader, choose the permutation of each pass.
    """

    num_samples: int
    batch_size: int
    shuffle: bool
    drop_last: bool
    key: int

    @property
    def steps_per_pass(self) -> int:
        """Global batches in one pass (count)."""
        return num_batches(self.num_samples, self.batch_size, self.drop_last)

    def batch(self, number: int, step: int) -> Ids:
        """Return the sample ids of global batch `step` of pass `number`: int64 [batch]."""
        start = step * self.batch_size
        stop = min(start + self.batch_size, self.num_samples)
        if not self.shuffle:
            return np.arange(start, stop, dtype=np.int64)
        return in_chunks(start, stop, self.batch_size, functools.partial(_permuted, self, number))


@functools.lru_cache(maxsize=8)
def _permuted(plan: CanonicalPlan, number: int, start: int, count: int) -> Ids:
    """Return the sample ids at `count` positions from `start` on, as far as there are so many."""
    positions: Ids = np.arange(start, min(start + count, plan.num_samples), dtype=np.int64)
    return permute(positions, plan.num_samples, mix(plan.key, number))


@dataclass(frozen=True)
class ReplacingPlan:
    """Samples drawn with replacement, of which a pass may have far more than there are.

    Attributes:
        num_samples: size of the data set (count).
        num_drawn: samples of a pass (count).
        batch_size: size of the global batch (samples).
        drop_last: whether a last batch smaller than `batch_size` is left out.
        key: 64 bits from the seed and the loader, choose the samples of each batch.
    """

    num_samples: int
    num_drawn: int
    batch_size: int
    drop_last: bool
    key: int

    @property
    def steps_per_pass(self) -> int:
        """Global batches in one pass (count)."""
        return num_batches(self.num_drawn, self.batch_size, self.drop_last)

    def batch(self, number: int, step: int) -> Ids:
        """Return the sample ids of global batch `step` of pass `number`: int64 [batch]."""
        count = min(self.batch_size, self.num_drawn - step * self.batch_size)
        generator = np.random.Generator(np.random.Philox(key=mix(mix(self.key, number), step)))
        return generator.integers(self.num_samples, size=count, dtype=np.int64)


@dataclass(frozen=True)
class ListedPlan:
    """The batches of a single pass as a sampler of the research code drew them.

    Attributes:
        batches: sample ids of each global batch, in order.
    """

    batches: tuple[tuple[int, ...], ...]

    @property
    def steps_per_pass(self) -> int:
        """Global batches in one pass (count)."""
        return len(self.batches)

    def batch(self, number: int, step: int) -> Ids:
        """Return the sample ids of global batch `step`: int64 [batch]; all passes are alike."""
        return np.asarray(self.batches[step], dtype=np.int64)
