"""Turns samples, as a data set or a source returns them, into blocks; and looks at whole data sets.

Each leaf of a sample (a tensor, an array, a plain value) becomes a column, named by its place: `0`, `image`,
`meta/id`. What is no number, text or bytes is compared by its pickle.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from bessemer.config.data_settings import Checks
from bessemer.data.datasets import sample
from bessemer.data.generators import preserved_generators
from bessemer.data.order import mix
from bessemer.data.prepared.manifest import Column, Kind
from bessemer.data.prepared.schema import common_shape
from bessemer.data.validation.blocks import Block
from bessemer.data.validation.tally import DatasetTally
from bessemer.data.wire import encode
from bessemer.errors import DataError

_BLOCK_BYTES = 16 * 2**20
_BLOCK_ROWS = 8192
# A sample that is one leaf has one column.
_ONLY = "value"
_PLAIN: Mapping[type, tuple[Kind, pa.DataType]] = {
    bool: ("bool", pa.bool_()),
    int: ("int", pa.int64()),
    float: ("float", pa.float64()),
    str: ("str", pa.large_string()),
    bytes: ("bytes", pa.large_binary()),
}
# Lists of data sets that name a sample's file: torchvision's, and what research code calls them.
_FILE_LISTS = ("samples", "imgs", "images", "files", "paths", "filenames", "image_paths", "img_paths")


@dataclass(frozen=True)
class _Leaf:
    name: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    value: Any

    @property
    def form(self) -> tuple[str, Kind, str, int]:
        return self.name, self.kind, self.dtype, len(self.shape)

    @property
    def text(self) -> str:
        return f"{self.dtype}{list(self.shape)}" if self.dtype else self.kind


class Gatherer:
    """Gathers samples and gives them to a tally in blocks.

    Args:
        tally: takes them in.
        shapes_count: whether samples of different shapes are different; rows of files may well be.
    """

    def __init__(self, tally: DatasetTally, shapes_count: bool) -> None:
        self._tally = tally
        self._shapes_count = shapes_count
        self._waiting: dict[Any, list[tuple[int, list[_Leaf]]]] = {}
        self._num_bytes = self._num_rows = 0

    def add(self, row: int, value: Any) -> None:
        """Take in a sample, with its number in the data set."""
        leaves = list(_leaves(value, ""))
        self._tally.add_structure(self._structure(leaves))
        self._waiting.setdefault(tuple(leaf.form for leaf in leaves), []).append((row, leaves))
        self._num_rows += 1
        self._num_bytes += sum(len(leaf.value) for leaf in leaves if isinstance(leaf.value, bytes))
        if self._num_bytes >= _BLOCK_BYTES or self._num_rows >= _BLOCK_ROWS:
            self.flush()

    def flush(self) -> None:
        """Give what was gathered to the tally."""
        for form, samples in self._waiting.items():
            columns = [[leaves[place] for _, leaves in samples] for place in range(len(form))]
            described = [_column(leaves) for leaves in columns]
            arrays = [_array_of(leaves) for leaves in columns]
            self._tally.add(Block(np.array([row for row, _ in samples], np.int64), described, arrays))
        self._waiting.clear()
        self._num_bytes = self._num_rows = 0

    def _structure(self, leaves: Sequence[_Leaf]) -> str:
        texts = []
        for leaf in leaves:
            open_shape = [] if self._shapes_count or not leaf.dtype else ["*"] * len(leaf.shape)
            text = f"{leaf.dtype}[{', '.join(open_shape)}]" if open_shape else leaf.text
            # A value that is missing is no other structure.
            texts.append(
                f"{leaf.name} {'' if leaf.kind == 'none' else text}" if not self._shapes_count else text
            )
        return ", ".join(texts)


def examine_samples(dataset: Dataset[Any], name: str, max_samples: int, checks: Checks) -> DatasetTally:
    """Look at up to `max_samples` samples, spread evenly over a data set; the first ones of a stream.

    Args:
        dataset: any data set of torch's.
        name: for the report.
        max_samples: the most that are looked at (count).
        checks: what it is held to.
    """
    if isinstance(dataset, IterableDataset):
        return _examine_stream(dataset, name, max_samples, checks)
    length = len(dataset)  # type: ignore[arg-type]
    tally = DatasetTally(name, "program", length, checks)
    gatherer = Gatherer(tally, shapes_count=True)
    chosen = np.unique(np.linspace(0, max(length - 1, 0), min(length, max_samples)).astype(np.int64))
    with preserved_generators():
        for index in chosen.tolist() if length else []:
            try:
                gatherer.add(index, sample(dataset, index, mix(0, index)))
            except DataError as error:
                file = file_of(dataset, index)
                tally.add_unreadable(
                    f"{file}: {error.found}" if file and file not in error.found else error.found
                )
        gatherer.flush()
    return tally


def _examine_stream(
    dataset: IterableDataset[Any], name: str, max_samples: int, checks: Checks
) -> DatasetTally:
    tally = DatasetTally(name, "program", 0, checks)
    gatherer = Gatherer(tally, shapes_count=True)
    num_samples, ended = 0, False
    with preserved_generators():
        try:
            for value in itertools.islice(dataset, max_samples):
                gatherer.add(num_samples, value)
                num_samples += 1
            ended = num_samples < max_samples
        except Exception as error:  # whatever the research code raises
            tally.add_unreadable(f"the stream failed after {num_samples:,} samples: {_named(error)}")
        gatherer.flush()
    # How long a stream is, nobody knows before its end; one more says that not all was looked at.
    tally.num_samples = num_samples if ended else num_samples + 1
    return tally


def file_of(dataset: Any, index: int) -> str:
    """Return the file that a sample comes from, where the data set keeps a list of them; else ""."""
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        return file_of(dataset.dataset, int(dataset.indices[index]))
    for name in _FILE_LISTS:
        files = getattr(dataset, name, None)
        if isinstance(files, list | tuple) and index < len(files):
            entry = files[index][0] if isinstance(files[index], tuple) and files[index] else files[index]
            if isinstance(entry, str) or hasattr(entry, "__fspath__"):
                return str(entry)
    return ""


def _leaves(value: Any, place: str) -> Iterator[_Leaf]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{place}/{key}" if place else str(key))
    elif isinstance(value, list | tuple) and not (place and _is_numbers(value)):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{place}/{number}" if place else str(number))
    else:
        yield _leaf(place or _ONLY, value)


def _is_numbers(value: Sequence[Any]) -> bool:
    return bool(value) and all(type(item) in (int, float, bool) for item in value)


def _leaf(name: str, value: Any) -> _Leaf:
    if value is None:
        return _Leaf(name, "none", "", (), None)
    if type(value) in _PLAIN and not (type(value) is int and not -(2**63) <= value < 2**63):
        return _Leaf(name, _PLAIN[type(value)][0], "", (), value)
    array = _as_array(value)
    if array is None or array.dtype.kind not in "biufc":
        return _Leaf(name, "bytes", "", (), _pickled(value) if array is None else array.tobytes())
    kind: Kind = "scalar" if isinstance(value, np.generic) else "array"
    kind = "tensor" if isinstance(value, torch.Tensor) else kind
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return _Leaf(name, kind, array.dtype.name, tuple(array.shape), little.tobytes())


def _as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """Return the numbers of a leaf; None if it holds something else."""
    if isinstance(value, torch.Tensor):
        try:
            whole = value.detach().to_dense() if value.layout is not torch.strided else value.detach()
            whole = whole.cpu().resolve_conj().resolve_neg()
            # NumPy has no bfloat16; nothing that is checked is lost in a wider type.
            array: np.ndarray[Any, Any] = (whole.float() if whole.dtype is torch.bfloat16 else whole).numpy()
        except (RuntimeError, TypeError):
            return None
        return array
    if isinstance(value, np.ndarray | np.generic | Image.Image) or (
        isinstance(value, list | tuple) and _is_numbers(value)
    ):
        array = np.asarray(value)
        return None if array.dtype.hasobject else array
    return None


def _pickled(value: Any) -> bytes:
    try:
        head, buffers = encode(value)
    except Exception:  # what cannot be pickled cannot be compared either
        return repr(value).encode("utf-8", "replace")
    return b"".join([head, *map(bytes, buffers)])


def _column(leaves: Sequence[_Leaf]) -> Column:
    first = leaves[0]
    shape = common_shape([leaf.shape for leaf in leaves]) if first.dtype else ()
    return Column(name=first.name, kind=first.kind, dtype=first.dtype, shape=shape)


def _array_of(leaves: Sequence[_Leaf]) -> pa.Array:
    first = leaves[0]
    if first.kind == "none":
        return pa.nulls(len(leaves))
    values = [leaf.value for leaf in leaves]
    if first.dtype:
        return pa.array(values, pa.large_binary())
    kinds = dict(_PLAIN.values())
    if first.kind == "str":
        values = [value.encode("utf-8", "replace").decode() for value in values]
    return pa.array(values, kinds[first.kind])


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
