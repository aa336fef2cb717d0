"""Samples as columns and back, to the last bit: what a research data set returns, in a Parquet file.

A sample is a tree of tuples, lists and dictionaries whose leaves are tensors, NumPy arrays and scalars, and
plain values. Each leaf is a column. Tensors and arrays are stored as their raw bytes (little-endian,
C order), which a reader takes as they are; lists of numbers would cost Parquet many times as much. A
column whose shapes differ has its shapes beside it, in a column of its own.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from bessemer.data.prepared.manifest import Column, Kind
from bessemer.errors import DataError
from bessemer.utils.bits import bytes_of

SHAPE_SUFFIX = "#shape"
# A sample that is one leaf has one column.
_ONLY = "value"
_PLAIN: dict[type, tuple[Kind, pa.DataType]] = {
    bool: ("bool", pa.bool_()),
    int: ("int", pa.int64()),
    float: ("float", pa.float64()),
    str: ("str", pa.large_string()),
    bytes: ("bytes", pa.large_binary()),
}
# Booleans, integers, floats, complex numbers, texts, times; no objects, no records.
_DTYPE_KINDS = "biufcSUmM"


def structure_of(sample: Any) -> str:
    """Describe how a sample is put together, as JSON; leaves are names of columns.

    >>> structure_of(({"image": 1.0}, 3))
    '["tuple", [["dict", {"image": "0/image"}], "1"]]'

    Raises:
        DataError: it holds something that cannot be stored, with its place.
    """
    return json.dumps(_described(sample, ""))


def _described(value: Any, place: str) -> Any:
    kind = type(value)
    if kind in (tuple, list):
        return [kind.__name__, [_described(item, _join(place, str(n))) for n, item in enumerate(value)]]
    if kind is dict:
        if any(not isinstance(key, str) or "/" in key or SHAPE_SUFFIX in key for key in value):
            raise _unstorable(value, place, "dictionaries whose keys are texts without / in them")
        return ["dict", {key: _described(item, _join(place, key)) for key, item in value.items()}]
    _kind_of(value, place)
    return place or _ONLY


def leaves_of(sample: Any, structure: str) -> dict[str, Any]:
    """Return the leaves of a sample by column.

    Raises:
        DataError: it is put together in another way.
    """
    found: dict[str, Any] = {}
    _gather(sample, _parsed(structure), found)
    return found


@functools.lru_cache(maxsize=16)
def _parsed(structure: str) -> Any:
    return json.loads(structure)


def _gather(value: Any, described: Any, found: dict[str, Any]) -> None:
    if isinstance(described, str):
        if type(value) in (tuple, list, dict):
            raise _differs(described, value)
        found[described] = value
        return
    name, below = described
    same = type(value).__name__ == name and len(value) == len(below)
    if not same or (name == "dict" and value.keys() != below.keys()):
        raise _differs(name, value)
    for key in below if name == "dict" else range(len(below)):
        _gather(value[key], below[key], found)


def assemble(structure: Any, leaf: Callable[[str], Any]) -> Any:
    """Put a sample together again.

    Args:
        structure: as `structure_of` wrote it, parsed.
        leaf: returns the leaf of a column.
    """
    if isinstance(structure, str):
        return leaf(structure)
    name, below = structure
    if name == "dict":
        return {key: assemble(item, leaf) for key, item in below.items()}
    items = [assemble(item, leaf) for item in below]
    return tuple(items) if name == "tuple" else items


def encode_column(name: str, values: Sequence[Any]) -> tuple[Column, list[tuple[str, pa.Array]]]:
    """Store the leaves of one column.

    Args:
        name: of the column.
        values: a leaf of each sample; None where there is none.

    Returns:
        What the column is, and its Arrow arrays by name: one, or two with the shapes.

    Raises:
        DataError: they are not all of one kind and dtype, or cannot be stored; names the sample's place.
    """
    kinds: dict[tuple[Kind, str], int] = {}
    for place, value in enumerate(values):
        kinds.setdefault(_kind_of(value, name), place)
    kinds.pop(("none", ""), None)
    if len(kinds) > 1:
        (first, at), (second, then), *_ = kinds.items()
        raise DataError(
            f"column {name!r} holds {_shown(*first)} (such as row {at}) and {_shown(*second)} (row {then})",
            expected="values of one kind and dtype",
            todo="convert them where samples are made",
        )
    if not kinds:
        return Column(name=name, kind="none"), [(name, pa.nulls(len(values)))]
    ((kind, dtype),) = kinds
    if kind in ("tensor", "array", "scalar"):
        return _encode_arrays(name, kind, dtype, values)
    arrow = next(type_ for known, type_ in _PLAIN.values() if known == kind)
    try:
        return Column(name=name, kind=kind), [(name, pa.array(values, arrow))]
    except (pa.ArrowInvalid, OverflowError) as error:
        raise DataError(
            f"column {name!r} cannot be stored: {error}", expected="integers of 64 bits"
        ) from None


def _encode_arrays(
    name: str, kind: Kind, dtype: str, values: Sequence[Any]
) -> tuple[Column, list[tuple[str, pa.Array]]]:
    shapes = [None if value is None else tuple(value.shape) for value in values]
    known = [shape for shape in shapes if shape is not None]
    shape = common_shape(known)
    column = Column(name=name, kind=kind, dtype=dtype, shape=shape)
    raw = [None if value is None else _raw(value) for value in values]
    if shape is not None and None not in shape and known[0] and len(known) == len(values) and raw[0]:
        size = len(raw[0])
        joined = pa.py_buffer(b"".join(raw))  # type: ignore[arg-type]
        return column, [(name, pa.Array.from_buffers(pa.binary(size), len(values), [None, joined]))]
    arrays = [(name, pa.array(raw, pa.large_binary()))]
    if shape is None or None in shape:
        arrays.append((name + SHAPE_SUFFIX, pa.array(shapes, pa.list_(pa.int64()))))
    return column, arrays


def common_shape(shapes: Sequence[tuple[int | None, ...] | None]) -> tuple[int | None, ...] | None:
    """Return what shapes have in common: None for a length that differs; None if the axes do.

    >>> common_shape([(3, 4), (3, 5)])
    (3, None)
    """
    if any(shape is None or len(shape) != len(shapes[0] or ()) for shape in shapes) or shapes[0] is None:
        return None
    lengths = zip(*[shape for shape in shapes if shape is not None], strict=True)
    return tuple(each[0] if len(set(each)) == 1 else None for each in lengths)


def common_column(columns: Sequence[Column]) -> Column:
    """Return what the same column of several shards is.

    Raises:
        DataError: its kind or dtype differs.
    """
    real = [column for column in columns if column.kind != "none"] or list(columns)
    first = real[0]
    for other in real[1:]:
        if (other.kind, other.dtype) != (first.kind, first.dtype):
            raise DataError(
                f"column {first.name!r} holds {_shown(first.kind, first.dtype)} in one shard and "
                f"{_shown(other.kind, other.dtype)} in another",
                expected="values of one kind and dtype",
                todo="convert them where samples are made",
            )
    return first.model_copy(update={"shape": common_shape([column.shape for column in real])})


def elements(column: Column, array: pa.Array) -> np.ndarray[Any, Any] | None:
    """Return the elements of all samples of a column in a row, not copied; None if they lie apart."""
    if not pa.types.is_fixed_size_binary(array.type) or array.null_count or column.dtype == "bfloat16":
        return None
    return np.frombuffer(array.buffers()[1], dtype=np.dtype(column.dtype))


class ColumnReader:
    """The leaves of a column of some rows, each made when it is asked for, of memory of its own.

    Args:
        column: what is stored.
        arrays: Arrow arrays by name, as `encode_column` made them.
    """

    def __init__(self, column: Column, arrays: Mapping[str, pa.Array]) -> None:
        self._column = column
        self._values = arrays[column.name]
        self._shapes = arrays.get(column.name + SHAPE_SUFFIX)
        self._plain = column.kind not in ("tensor", "array", "scalar")

    def __getitem__(self, row: int) -> Any:
        value = self._values[row]
        if not value.is_valid:
            return None
        if self._plain:
            return value.as_py()
        column = self._column
        shape = column.shape if self._shapes is None else tuple(self._shapes[row].as_py())
        assert shape is not None
        memory = bytearray(value.as_buffer())
        if column.kind == "tensor":
            dtype = getattr(torch, column.dtype)
            if not memory:
                return torch.empty(shape, dtype=dtype)  # type: ignore[arg-type]
            return torch.frombuffer(memory, dtype=dtype).reshape(shape)  # type: ignore[arg-type]
        array: Any = np.frombuffer(memory, dtype=np.dtype(column.dtype)).reshape(shape)
        return array[()] if column.kind == "scalar" else array


def _kind_of(value: Any, place: str) -> tuple[Kind, str]:
    """Return the kind and dtype of a leaf.

    Raises:
        DataError: it cannot be stored.
    """
    if value is None:
        return "none", ""
    if type(value) in _PLAIN:
        return _PLAIN[type(value)][0], ""
    if type(value) is torch.Tensor:
        is_plain = value.layout is torch.strided and not value.is_quantized and not value.requires_grad
        if is_plain and value.device.type == "cpu":
            return "tensor", str(value.dtype).removeprefix("torch.")
    is_array = type(value) is np.ndarray
    if (is_array or isinstance(value, np.generic)) and value.dtype.kind in _DTYPE_KINDS:
        return "array" if is_array else "scalar", _dtype_name(value.dtype)
    raise _unstorable(
        value, place, "tensors on the CPU, NumPy arrays and scalars, int, float, bool, str, bytes or None"
    )


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return dtype.name if dtype.isnative and dtype.kind in "biufc" else dtype.str


def _raw(value: Any) -> bytes:
    if isinstance(value, torch.Tensor):
        whole = value.detach().resolve_conj().resolve_neg().contiguous()
        return bytes_of(whole).numpy().tobytes() if whole.numel() else b""
    return value.tobytes()  # type: ignore[no-any-return]


def _join(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _shown(kind: str, dtype: str) -> str:
    return f"{kind} of {dtype}" if dtype else kind


def _differs(expected: str, value: Any) -> DataError:
    return DataError(
        f"samples are put together in different ways: {type(value).__name__} in the place of {expected!r}",
        expected="samples of one structure",
    )


def _unstorable(value: Any, place: str, expected: str) -> DataError:
    where = f" at {place!r}" if place else ""
    return DataError(
        f"a sample has {type(value).__module__}.{type(value).__qualname__}{where}", expected=expected
    )
