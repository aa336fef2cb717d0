"""What a native source is: a map-style data set of rows that lie in groups, which are read whole.

A row group of a Parquet file, a range of lines, a tar file. A pass over a source visits the groups in an
order of its own and permutes rows inside a window of groups (`data/windows.py`), so it reads each group
once, however large the data are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

Row = dict[str, Any]


class Source(Dataset[Row], ABC):
    """Rows by position. It can be pickled, and opens files only when rows are asked for."""

    @property
    @abstractmethod
    def group_sizes(self) -> tuple[int, ...]:
        """Rows of each group, in order (count); a row's position counts through all of them."""

    @abstractmethod
    def read_group(self, number: int) -> Sequence[Row]:
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

    def __len__(self) -> int:
        return sum(self.group_sizes)
