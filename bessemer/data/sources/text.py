"""Text files as a source: a line a sample, `{"text": "..."}`.

Lines are UTF-8 and come without what ends them. Empty lines are samples too, so that sample i is line i.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from bessemer.data.sources.base import LazyRows, Row, Source
from bessemer.data.sources.files import find_files, fingerprint_of
from bessemer.data.sources.lines import LineGroups, line_groups, record_ends
from bessemer.errors import DataError, UserError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TextSource(Source):
    """Lines of text files.

    Args:
        path: file, folder (its `.txt` files) or pattern; `.gz` files are unpacked as they are read.
        folder: `data.folder`, where indexes are kept; None to keep none.

    Raises:
        UserError: there is no file, or no line.
        DataError: a file cannot be read.
    """

    def __init__(self, path: str, folder: Path | None = None) -> None:
        self._files = find_files(path, (".txt", ".txt.gz"))
        self._parts = [
            line_groups(folder, file, quotes=False, blank=True, header=False) for file in self._files
        ]
        self._first_groups = [0, *accumulate(len(part.sizes) for part in self._parts)]
        self._sizes = tuple(int(size) for part in self._parts for size in part.sizes)
        if not sum(self._sizes):
            raise UserError(f"{path} has no lines", expected="at least one", todo="make the data again")

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Lines of each group (count)."""
        return self._sizes

    @property
    def group_bytes(self) -> int:
        """Memory of the largest group (bytes): its text, and where each line begins."""
        return max(part.largest_bytes + 8 * int(part.sizes.max()) for part in self._parts)

    def fingerprint(self) -> str:
        """Hash names, sizes and tags of the files."""
        return fingerprint_of(self._files)

    def read_group(self, number: int) -> Sequence[Row]:
        """Read the lines of a group."""
        place = bisect_right(self._first_groups, number) - 1
        part, number = self._parts[place], number - self._first_groups[place]
        return _Lines(part, number)


class _Lines(LazyRows):
    """The lines of a group, decoded when they are asked for."""

    def __init__(self, part: LineGroups, number: int) -> None:
        data = part.read(number)
        ends = record_ends(data, quotes=False)
        if not len(ends) or ends[-1] < len(data):
            ends = np.append(ends, len(data))
        self._file, self._first_line = part.file, int(part.lines[number])
        self._is_first = part.starts[number] == 0
        self._data, self._ends = data, ends

    def __len__(self) -> int:
        return len(self._ends)

    def row(self, place: int) -> Row:
        line = self._data[int(self._ends[place - 1]) if place else 0 : int(self._ends[place])]
        if self._is_first and not place:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        try:
            return {"text": line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")}
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self._file.path}, line {self._first_line + place} is not UTF-8: {error.reason}",
                expected="text in UTF-8",
                todo="convert the file: iconv -t UTF-8",
            ) from error
