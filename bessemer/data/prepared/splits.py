"""Which split a row goes to: a pure function of its key, so that it stays there when data grow.

A key is hashed to a fraction of [0, 1), and the splits share that line by their fractions: what else is in
the data does not matter. Rows of one group have one key, so a group is never torn. With classes, the rows
(or groups) of each class are ranked by their hash and cut at the fractions, so each class is split in the
same way up to one row (or group); there, rows next to a cut may move when data grow.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SplitNumbers = NDArray[np.int16]


def assign(
    keys: Sequence[Any], splits: Mapping[str, float], classes: Sequence[Any] | None = None
) -> SplitNumbers:
    """Return the split of each row.

    Args:
        keys: of each row: texts, numbers, bytes; equal keys are of one split.
        splits: fractions by name; they add up to 1.
        classes: of each row, to split each class alike; None: not.

    Returns:
        int16 [rows]: numbers of splits, in the order of `splits`.
    """
    fractions = np.array([hash_fraction(key) for key in keys])
    cuts = np.cumsum(list(splits.values()))[:-1]
    if classes is not None:
        fractions = _ranked(keys, fractions, classes)
    return np.searchsorted(cuts, fractions, side="right").astype(np.int16)


def hash_fraction(key: Any) -> float:
    """Hash a key to [0, 1), the same in every process and for ever.

    >>> hash_fraction("a") == hash_fraction("a"), hash_fraction(1) == hash_fraction("1")
    (True, False)
    """
    if isinstance(key, np.generic):
        key = key.item()
    data = key if isinstance(key, bytes) else f"{type(key).__name__}:{key!r}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest()) / 2**56


def _ranked(
    keys: Sequence[Any], fractions: NDArray[np.float64], classes: Sequence[Any]
) -> NDArray[np.float64]:
    """Put in the place of each hash the share of its class's rows that come before its group's middle."""
    rows: dict[Any, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    groups: dict[Any, list[Any]] = defaultdict(list)
    for key, members in rows.items():
        (most, _), *_ = Counter(classes[row] for row in members).most_common(1)
        groups[most].append(key)
    ranked = np.empty(len(keys))
    for members in groups.values():
        members.sort(key=lambda key: (fractions[rows[key][0]], repr(key)))
        total = sum(len(rows[key]) for key in members)
        before = 0
        for key in members:
            ranked[rows[key]] = (before + len(rows[key]) / 2) / total
            before += len(rows[key])
    return ranked
