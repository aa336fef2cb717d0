"""Files of lines: where groups of whole records begin, and the bytes of a group.

CSV, JSON lines and text share it. A file is read once, from end to end, to find the records; a record
ends at a line feed, in CSV at one that is not in quotes. After that any group is read by itself.

A gzip file has no places to begin at: it is one group, and all of it is in memory when a row of it is.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bessemer.data.order import Ids
from bessemer.data.sources.files import File
from bessemer.data.sources.index import Index, indexed
from bessemer.errors import DataError

# Large enough that reading one costs more than finding it, small enough that a window has many.
GROUP_BYTES = 4 * 2**20
_CHUNK_BYTES = 8 * 2**20
_LINE_FEED, _RETURN, _QUOTE = 10, 13, 34


@dataclass(frozen=True)
class LineGroups:
    """The groups of one file.

    Attributes:
        file: that it is of.
        starts: first byte of each group, and the end, int64 [groups + 1].
        sizes: records of each group, int64 [groups].
        lines: number of the line that each group begins with, from 1, int64 [groups].
    """

    file: File
    starts: Ids
    sizes: Ids
    lines: Ids

    @property
    def largest_bytes(self) -> int:
        """Size of the largest group (bytes)."""
        return int(np.diff(self.starts).max(initial=0))

    def read(self, number: int) -> bytes:
        """Read the bytes of a group.

        Raises:
            DataError: the file cannot be read, or is not what it was.
        """
        if not _is_zipped(self.file):
            return self.file.read(int(self.starts[number]), int(self.starts[number + 1]))
        return b"".join(_chunks(self.file))[int(self.starts[number]) :]


def line_groups(folder: Path | None, file: File, quotes: bool, blank: bool, header: bool) -> LineGroups:
    """Find the groups of a file, or take what was found before.

    Args:
        folder: `data.folder`, where indexes are kept; None to keep none.
        file: of lines.
        quotes: whether a line feed between quotation marks is part of a record.
        blank: whether an empty line is a record.
        header: whether the first record is left out.

    Raises:
        DataError: the file cannot be read, or a quotation mark is not closed.
    """
    kind = f"lines {quotes} {blank} {header} {GROUP_BYTES}"
    index = indexed(folder, file, kind, lambda file: _index(file, quotes, blank, header))
    return LineGroups(file, index["starts"], index["sizes"], index["lines"])


def first_record(file: File, quotes: bool) -> bytes:
    """Return the first record of a file, without what ends it and without a byte order mark."""
    found = b""
    for chunk in _chunks(file):
        found += chunk
        ends = record_ends(found, quotes)
        if len(ends):
            found = found[: ends[0]]
            break
    return found.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")


def record_ends(data: bytes, quotes: bool) -> Ids:
    """Return where records end, each behind its line feed; a rest without one is not among them.

    Args:
        data: begins with a record.
        quotes: whether a line feed between quotation marks is part of a record.

    Returns:
        int64 [records].
    """
    return _ends(np.frombuffer(data, np.uint8), quotes, False)[0]


def first_bad(data: bytes, quotes: bool, fits: Callable[[bytes], bool]) -> tuple[int, bytes]:
    """Find the first record of a group that does not fit, by halving.

    Args:
        data: of the group.
        quotes: as above.
        fits: whether some records that follow each other are right.

    Returns:
        The lines before it in the group (count), and the record.
    """
    ends = record_ends(data, quotes)
    bounds = [0, *ends.tolist()]
    if bounds[-1] < len(data):
        bounds.append(len(data))
    low, high = 0, len(bounds) - 1  # the first `low` records fit, the first `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(data[bounds[low] : bounds[middle]]) else (low, middle)
    return data[: bounds[low]].count(b"\n"), data[bounds[low] : bounds[high]].rstrip(b"\r\n")


def _index(file: File, quotes: bool, blank: bool, header: bool) -> Index:
    """Go through a file once."""
    target = 2**62 if _is_zipped(file) else GROUP_BYTES
    starts, sizes, lines = [0], [0], [1]
    at, line, inside, rest = 0, 1, False, b""
    for chunk in _chunks(file):
        ends, inside = _ends(np.frombuffer(chunk, np.uint8), quotes, inside)
        feeds = np.flatnonzero(np.frombuffer(chunk, np.uint8) == _LINE_FEED)
        begin = 0
        if header and len(ends):
            begin, header, rest = int(ends[0]), False, b""
            starts, lines = [at + begin], [line + int(np.searchsorted(feeds, begin))]
            ends = ends[1:]
        while len(ends):
            # As many records as bring the group to its size; the last of them brings it over.
            count = int(np.searchsorted(ends, starts[-1] + target - at)) + 1
            some = ends[:count]
            sizes[-1] += len(some) if blank else _num_filled(chunk, begin, some, rest)
            begin, rest, ends = int(some[-1]), b"", ends[count:]
            if at + begin - starts[-1] >= target:
                starts.append(at + begin)
                sizes.append(0)
                lines.append(line + int(np.searchsorted(feeds, begin)))
        rest += chunk[begin:]
        at += len(chunk)
        line += len(feeds)
    if inside:
        raise DataError(
            f"{file.path} has a quotation mark that is not closed",
            expected="quotation marks in pairs; one in a quoted value is written twice",
            todo="correct the file",
        )
    if not header and (rest.strip(b"\r") or (blank and rest)):
        sizes[-1] += 1
    if len(sizes) > 1 and not sizes[-1] and starts[-1] == at:
        starts, sizes, lines = starts[:-1], sizes[:-1], lines[:-1]
    return {
        "starts": np.asarray([*starts, max(at, starts[-1])], np.int64),
        "sizes": np.asarray(sizes, np.int64),
        "lines": np.asarray(lines, np.int64),
    }


def _ends(data: NDArray[np.uint8], quotes: bool, inside: bool) -> tuple[Ids, bool]:
    """Return where records end, and whether the data end in quotes, as they began or not."""
    feeds = data == _LINE_FEED
    if quotes:
        parity = np.bitwise_xor.accumulate(data == _QUOTE) if len(data) else feeds
        parity = parity ^ inside
        feeds &= ~parity
        inside = bool(parity[-1]) if len(data) else inside
    return np.flatnonzero(feeds).astype(np.int64) + 1, inside


def _num_filled(chunk: bytes, begin: int, ends: Ids, rest: bytes) -> int:
    """Count records that are not empty lines."""
    starts = np.concatenate([[begin], ends[:-1]])
    lengths = ends - starts - 1
    data = np.frombuffer(chunk, np.uint8)
    empty = (lengths == 0) | ((lengths == 1) & (data[starts] == _RETURN))
    if rest.strip(b"\r"):  # the first of them began in the chunk before
        empty[0] = False
    return int(len(ends) - empty.sum())


def _is_zipped(file: File) -> bool:
    return file.path.lower().endswith(".gz")


def _chunks(file: File) -> Iterator[bytes]:
    with file.open() as opened, file.reading():
        try:
            stream: Any = gzip.GzipFile(fileobj=opened) if _is_zipped(file) else opened
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
        except zlib.error as error:
            raise DataError(f"{file.path} cannot be unpacked: {error}", "a whole gzip file") from error
