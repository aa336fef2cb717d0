"""Files of tokens as a source: `{"input": ..., "target": ...}`, the target shifted by one.

A file is a flat list of numbers: raw ones of a dtype, or an `.npy` file. Local files are mapped into memory;
of remote ones a group is fetched at a time. Which windows of tokens there are, and their order, is the
same either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bessemer.data.order import Ids
from bessemer.data.sources.base import LazyRows, Row, Source, Values
from bessemer.data.sources.files import File, find_files, fingerprint_of
from bessemer.errors import DataError, UserError

GROUP_BYTES = 4 * 2**20


class TokensSource(Source):
    """Windows of `length` tokens; none goes from one file into the next.

    Args:
        path: file, folder (its `.bin` and `.npy` files) or pattern.
        dtype: of the numbers in files other than `.npy`, little-endian.
        length: tokens of a sample (count).
        stride: tokens from one sample to the next (count); 0: length.

    Raises:
        UserError: there is no file, or none has `length` + 1 tokens.
        DataError: a file is no list of such numbers.
    """

    def __init__(self, path: str, dtype: str, length: int, stride: int = 0) -> None:
        self._files = find_files(path, (".bin", ".npy"))
        self._length, self._stride = length, stride or length
        self._places = [_place(file, np.dtype(dtype)) for file in self._files]
        counts = [max(0, (place.num_tokens - length - 1) // self._stride + 1) for place in self._places]
        if not sum(counts):
            most = max(place.num_tokens for place in self._places)
            raise UserError(
                f"{path} has no sample of {length} tokens: its largest file has {most:,}",
                expected=f"a file of at least {length + 1:,} tokens, with the one behind the last",
                todo="lower length in settings.toml, or check dtype",
            )
        self._groups_of: list[tuple[int, int, int]] = []  # file, first sample, samples
        for file, (place, count) in enumerate(zip(self._places, counts, strict=True)):
            each = max(1, GROUP_BYTES // (self._stride * place.dtype.itemsize))
            self._groups_of += [(file, first, min(each, count - first)) for first in range(0, count, each)]
        self._sizes = tuple(count for _, _, count in self._groups_of)

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Samples of each group (count)."""
        return self._sizes

    @property
    def group_bytes(self) -> int:
        """Memory of the largest group, as its tokens lie in the file (bytes)."""
        widest = max(place.dtype.itemsize for place in self._places)
        return (max(self._sizes) * self._stride + self._length) * widest

    def fingerprint(self) -> str:
        """Hash names, sizes and tags of the files."""
        dtypes = [str(place.dtype) for place in self._places]
        return fingerprint_of(self._files, dtypes, self._length, self._stride)

    def read_group(self, number: int) -> Sequence[Row]:
        """Map the tokens of a group into memory, or fetch them."""
        place, first, count = self._groups_of[number]
        file, tokens = self._files[place], self._places[place]
        start = first * self._stride
        stop = start + (count - 1) * self._stride + self._length + 1
        begin = tokens.offset + start * tokens.dtype.itemsize
        if file.is_local:
            with file.open():  # it is what it was
                found = np.memmap(file.path, tokens.dtype, "r", begin, (stop - start,))
            return _Windows(found, count, self._length, self._stride)
        data = file.read(begin, begin + (stop - start) * tokens.dtype.itemsize)
        return _Windows(np.frombuffer(data, tokens.dtype), count, self._length, self._stride)


class _Windows(LazyRows):
    """The samples of a group of tokens."""

    def __init__(self, tokens: np.ndarray[Any, Any], count: int, length: int, stride: int) -> None:
        self._tokens, self._count, self._length, self._stride = tokens, count, length, stride

    def __len__(self) -> int:
        return self._count

    def row(self, place: int) -> Row:
        begin = place * self._stride
        found = self._tokens[begin : begin + self._length + 1].astype(np.int64)
        return {"input": found[:-1].copy(), "target": found[1:].copy()}

    def take(self, places: Ids) -> dict[str, Values]:
        """Return samples as two arrays, int64 [n, length]."""
        begins = places[:, None] * self._stride
        found = self._tokens[begins + np.arange(self._length + 1)].astype(np.int64)
        return {"input": found[:, :-1].copy(), "target": found[:, 1:].copy()}


@dataclass(frozen=True)
class _Place:
    """Where the tokens of a file lie in it: bytes before them, their dtype and number."""

    offset: int
    dtype: np.dtype[Any]
    num_tokens: int


def _place(file: File, dtype: np.dtype[Any]) -> _Place:
    if file.name.endswith(".npy"):
        with file.open() as opened:
            version = np.lib.format.read_magic(opened)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, found = read(opened)
            offset = opened.tell()
        if len(shape) != 1 or found.kind not in "iu":
            raise DataError(
                f"{file.path} holds {found} of shape {shape}",
                expected="a list of integers (one dimension)",
                todo="write it again with numpy.save of such a list",
            )
        missing = offset + shape[0] * found.itemsize - file.num_bytes
        if missing > 0:
            raise DataError(f"{file.path} lacks {missing:,} bytes", expected=f"{shape[0]:,} tokens")
        return _Place(offset, found, shape[0])
    dtype = dtype.newbyteorder("<")
    if file.num_bytes % dtype.itemsize:
        raise DataError(
            f"{file.path} has {file.num_bytes:,} bytes, which is no whole number of {dtype.name}",
            expected=f"a multiple of {dtype.itemsize}",
            todo="correct dtype in settings.toml, or write the file again",
        )
    return _Place(0, dtype, file.num_bytes // dtype.itemsize)
