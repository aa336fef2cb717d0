"""A block: some rows of a data set as Arrow columns; what every kind of data is turned into to be checked.

Numbers of any form (plain, in lists, as the raw bytes of a tensor) become `Elements`: one flat NumPy
array, and how much of it is each row's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bessemer.data.prepared.manifest import Column, Kind
from bessemer.data.validation.hashing import byte_ranges

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]

# Kinds that are stored as raw bytes.
RAW = ("tensor", "array", "scalar")
_MAX_DIMENSIONS = 32


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of a data set.

    Attributes:
        rows: which they are, in the data set; int64 [rows].
        columns: what the columns are.
        arrays: what is in them.
    """

    rows: Rows
    columns: Sequence[Column]
    arrays: Sequence[pa.Array]


@dataclass(frozen=True, eq=False)
class Elements:
    """The numbers of one column in some rows.

    Attributes:
        flat: all of them, one row after the other; of any numeric dtype, complex ones as pairs.
        lengths: how many are each row's; int64 [rows].
        misfits: rows whose bytes are not what their dtype and shape need; bool [rows].
    """

    flat: Array
    lengths: Rows
    misfits: npt.NDArray[np.bool_]

    def any_by_row(self, marks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Tell which rows have a marked element.

        Args:
            marks: bool, one for each element of `flat`.

        Returns:
            bool [rows].
        """
        found = np.zeros(len(self.lengths), np.bool_)
        if marks.any():
            owners = np.repeat(np.arange(len(self.lengths)), self.lengths)
            found[owners[marks]] = True
        return found

    def extremes_by_row(self) -> tuple[Array, Array, Rows]:
        """Return the least and the largest element of each row that has some, and which rows those are."""
        filled = np.flatnonzero(self.lengths > 0)
        if not len(filled):
            return self.flat[:0], self.flat[:0], filled
        starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])[filled]
        return np.minimum.reduceat(self.flat, starts), np.maximum.reduceat(self.flat, starts), filled


def column_of(field: pa.Field) -> Column:
    """Describe a native Parquet column as a manifest does."""
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if isinstance(kind, pa.FixedShapeTensorType):
        return Column(name=field.name, kind="array", dtype=_name_of(kind.value_type), shape=tuple(kind.shape))
    names: list[tuple[bool, Kind]] = [
        (pa.types.is_boolean(kind), "bool"),
        (pa.types.is_integer(kind), "int"),
        (pa.types.is_floating(kind) or pa.types.is_decimal(kind), "float"),
        (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind), "str"),
        (pa.types.is_binary(kind) or pa.types.is_large_binary(kind), "bytes"),
        (pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind), "bytes"),
        (pa.types.is_null(kind), "none"),
    ]
    found = next((name for matches, name in names if matches), "array")
    shape: list[int | None] = []
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        shape.append(kind.list_size if pa.types.is_fixed_size_list(kind) else None)
        kind = kind.value_type
    return Column(name=field.name, kind=found, dtype=_name_of(kind), shape=tuple(shape))


def _name_of(kind: pa.DataType) -> str:
    """Return NumPy's name of numbers, Arrow's of anything else."""
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return np.dtype(kind.to_pandas_dtype()).name if is_number else str(kind)


def shown_shape(column: Column) -> str:
    """Return a shape for people: `[3, *, 32]`, `[*]` if nothing is known of it, "" of plain values."""
    if column.shape is None:
        return "[*]"
    sizes = ("*" if size is None else str(size) for size in column.shape)
    return f"[{', '.join(sizes)}]" if column.shape else ""


def numpy_dtype(name: str) -> np.dtype[Any] | None:
    """Return the dtype of a tensor's elements; None if the name stands for no kind of number.

    NumPy has no bfloat16: its bits are read as uint16, and `elements` widens them.
    """
    if name == "bfloat16":
        return np.dtype(np.uint16)
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, SyntaxError):
        return None
    return dtype if dtype.kind in "biufc" and dtype.itemsize else None


def elements(column: Column, array: pa.Array) -> Elements | None:
    """Return the numbers of a column; None if it holds texts, plain bytes or something else.

    Args:
        column: what it is.
        array: what is in it; missing values have no elements.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if column.kind in RAW and _has_bytes(array.type):
        dtype = numpy_dtype(column.dtype)
        return None if dtype is None else _decoded(column, array, dtype)
    return _of_lists(array)


def _has_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


def _decoded(column: Column, array: pa.Array, dtype: np.dtype[Any]) -> Elements:
    _, _, lengths = byte_ranges(array)
    shape = (None,) if column.shape is None else column.shape
    known = [size for size in shape if size is not None]
    row_bytes = math.prod(known) * dtype.itemsize
    is_fixed = len(known) == len(shape)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    # Where one size is open, any whole number of rows of the others fits.
    fits = lengths == row_bytes if is_fixed or not row_bytes else lengths % row_bytes == 0
    if not (fits & valid).all():
        array = array.filter(pa.array(fits & valid))
    memory, _, _ = byte_ranges(array)
    flat = memory[: len(memory) // dtype.itemsize * dtype.itemsize].view(dtype.newbyteorder("<"))
    counts = np.where(fits & valid, lengths // dtype.itemsize, 0)
    if column.dtype == "bfloat16":
        flat = (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype.kind == "c":
        flat, counts = flat.view(np.dtype(f"<f{dtype.itemsize // 2}")), counts * 2
    return Elements(flat, counts, ~fits & valid)


def _of_lists(array: pa.Array) -> Elements | None:
    lengths = np.ones(len(array), np.int64)
    for _ in range(_MAX_DIMENSIONS):
        kind = array.type
        valid = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
        if pa.types.is_fixed_size_list(kind):
            sizes = np.full(len(array), kind.list_size, np.int64)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            sizes = np.diff(array.offsets.to_numpy()).astype(np.int64)
        else:
            return _of_plain(array, lengths)
        sizes = sizes if valid is None else np.where(valid, sizes, 0)
        lengths = _sums(sizes, lengths)
        array = array.flatten()
    return None


def _of_plain(array: pa.Array, lengths: Rows) -> Elements | None:
    kind = array.type
    if pa.types.is_decimal(kind):
        array = array.cast(pa.float64(), safe=False)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return None
    if array.null_count:
        valid = array.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)
        lengths = _sums(valid, lengths)
        array = array.drop_null()
    return Elements(array.to_numpy(zero_copy_only=False), lengths, np.zeros(len(lengths), np.bool_))


def _sums(values: Rows, lengths: Rows) -> Rows:
    """Add up runs of values: how many each row has of what is one level deeper."""
    totals = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(lengths)
    return np.asarray(totals[ends] - totals[ends - lengths], np.int64)
