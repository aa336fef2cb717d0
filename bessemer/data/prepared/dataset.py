"""Prepared data as a data set: the samples of a split, as they were when they were stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from bessemer.data.prepared.manifest import Manifest, read_manifest
from bessemer.data.prepared.shards import ShardReader
from bessemer.data.sources.base import Source
from bessemer.data.sources.opened import Opened
from bessemer.errors import DataError, nearest


class PreparedDataset(Source):
    """The samples of one split, in the order that they were prepared in.

    Files are opened when samples are asked for, in each process that asks.

    Attributes:
        manifest: of the data.

    Args:
        folder: with the manifest.
        split: its name.

    Raises:
        DataError: there is no manifest, or no such split in it.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.manifest: Manifest = read_manifest(folder)
        if split not in self.manifest.splits:
            known = list(self.manifest.splits)
            raise DataError(
                f"{folder} has no split {split!r}",
                expected=nearest(split, known) or f"one of: {', '.join(known)}",
            )
        self._folder = folder.absolute()
        self._structure = json.loads(self.manifest.structure)
        self._shards = self.manifest.splits[split].shards
        counts = [len(shard.group_rows) for shard in self._shards]
        self._first_groups = np.array([0, *accumulate(counts)], dtype=np.int64)
        self._group_sizes = tuple(rows for shard in self._shards for rows in shard.group_rows)
        self._readers: Opened[ShardReader] = Opened()

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Rows of each row group, in order (count)."""
        return self._group_sizes

    @property
    def group_bytes(self) -> int:
        """Memory that a row group takes, the largest or nearly so (bytes)."""
        # A file says what its row groups take when they are unpacked.
        return self._reader(0).group_bytes if self._shards else 0

    def read_group(self, number: int) -> Sequence[Any]:
        """Read a whole row group.

        Raises:
            DataError: its shard cannot be read.
        """
        shard = int(np.searchsorted(self._first_groups, number, side="right")) - 1
        return self._reader(shard).group(number - int(self._first_groups[shard]))

    def _reader(self, shard: int) -> ShardReader:
        path = self._folder / self._shards[shard].path
        return self._readers.get(shard, lambda: ShardReader(path, self._structure))

    def fingerprint(self) -> str:
        """Return hexadecimal digits of the content."""
        return self.manifest.fingerprint
