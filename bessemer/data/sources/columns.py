"""Rows of an Arrow table: its columns become NumPy arrays once, and a row is a slice of them.

What a value is: a number is a NumPy scalar of its own dtype, so that a batch keeps it; a text is `str`,
binary data are `bytes`; a list is a NumPy array, of any depth, if it is rectangular, and else a list of them;
a structure is a dictionary. A missing number of a floating type is NaN, any other missing value None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa

from bessemer.data.order import Ids
from bessemer.data.sources.base import Row, Values

_At = Callable[[int], Any]


class Columns(Sequence[Row]):
    """The rows of a table.

    Attributes:
        table: what they are in.

    Args:
        table: likewise.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._num_rows: int = table.num_rows
        self._columns = {name: _column(_whole(table[name])) for name in table.column_names}

    def __len__(self) -> int:
        return self._num_rows

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | Sequence[Row]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(self._num_rows))]
        if not 0 <= place < self._num_rows:
            raise IndexError(place)
        row = place
        return {name: column.at(row) for name, column in self._columns.items()}

    def take(self, places: Ids) -> dict[str, Values]:
        """Return rows as columns.

        Args:
            places: int64 [n].

        Returns:
            By name an array [n, ...], or a list of n values.
        """
        return {name: column.take(places) for name, column in self._columns.items()}


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array; what a dictionary or an extension stands for takes its place."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # several, as columns above 2 GiB are
        whole = pa.concat_arrays(whole.chunks)
    return whole


class _Array:
    """A column of numbers, or of arrays of one shape: NumPy gives one value, or many at once."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self._values = values
        # A row is the program's own: what it writes into its arrays must not be read again.
        self.at: _At = values.__getitem__ if values.ndim == 1 else lambda place: values[place].copy()

    def take(self, places: Ids) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = self._values[places]
        return found


class _Values:
    """A column of anything else, one value at a time."""

    def __init__(self, at: _At) -> None:
        self.at = at

    def take(self, places: Ids) -> list[Any]:
        return [self.at(place) for place in places.tolist()]


def _column(array: pa.Array) -> _Array | _Values:
    kind = array.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return _Array(array.to_numpy_ndarray())
    if isinstance(kind, pa.BaseExtensionType):
        if hasattr(array, "to_numpy"):
            values = array.to_numpy(zero_copy_only=False)
            return _Values(lambda place: np.array(values[place]))
        array, kind = array.storage, array.type.storage_type
    numbers = _numbers(array)
    if numbers is not None:
        return _Array(numbers)
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and array.null_count == 0:
        inner = _numbers(array.flatten())
        if inner is not None:
            ends = array.offsets.to_numpy() - array.offsets[0].as_py()
            return _Values(lambda place: inner[ends[place] : ends[place + 1]].copy())
    return _Values(lambda place: _plain(array[place]))


def _numbers(array: pa.Array) -> np.ndarray[Any, Any] | None:
    """Return the numbers of an array, or of fixed-size lists in it, as one NumPy array; None of others."""
    kind = array.type
    if pa.types.is_fixed_size_list(kind) and array.null_count == 0:
        inner = _numbers(array.flatten())
        return None if inner is None else inner.reshape(len(array), kind.list_size, *inner.shape[1:])
    if _is_number(kind) and (array.null_count == 0 or pa.types.is_floating(kind)):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    return None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _plain(value: pa.Scalar) -> Any:
    """Return a value that has no array of its own: a text, a list of lists, a structure, a date."""
    if not value.is_valid:
        return None
    kind = value.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _joined(value.values)
    if pa.types.is_struct(kind):
        return {field.name: _plain(value[field.name]) for field in kind}
    if _is_number(kind):
        return kind.to_pandas_dtype()(value.as_py())
    return value.as_py()


def _joined(values: pa.Array) -> Any:
    """Return the values of a list: an array if they are numbers or lists of one shape, else a list."""
    numbers = _numbers(values)
    if numbers is not None:
        return numbers.copy()  # Arrow's own memory is for reading only
    parts = [_plain(value) for value in values]
    shapes = {part.shape if isinstance(part, np.ndarray) else None for part in parts}
    if len(shapes) == 1 and None not in shapes:
        return np.stack(parts)
    return parts
