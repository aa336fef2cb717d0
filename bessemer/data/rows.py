"""A Ray Data source as a data set with positions, so that it has the same order as any other."""

from __future__ import annotations

from collections import OrderedDict
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from torch.utils.data import Dataset

from bessemer.errors import UserError

# Blocks that a process keeps open; rows of one batch come from few of them unless it is shuffled.
_MAX_OPEN_BLOCKS = 16


class MaterialisedRows(Dataset[dict[str, Any]]):
    """Rows of a Ray Data source that lie in the object store.

    Args:
        blocks: references to Arrow tables.
        counts: rows of each block (count).
    """

    def __init__(self, blocks: list[ray.ObjectRef[Any]], counts: list[int]) -> None:
        self._blocks = blocks
        self._starts = np.array([0, *accumulate(counts)], dtype=np.int64)
        self._open: OrderedDict[int, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = self._table(number).slice(index - int(self._starts[number]), 1)
        return {name: _plain(row[name]) for name in row.column_names}

    def __getstate__(self) -> dict[str, Any]:
        # Only Ray's own pickler writes down whose the references are; without that, reading waits for ever.
        blocks = ray.cloudpickle.dumps(self._blocks)
        return {**self.__dict__, "_blocks": blocks, "_open": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._blocks = ray.cloudpickle.loads(state["_blocks"])

    def _table(self, number: int) -> pa.Table:
        if number not in self._open:
            while len(self._open) >= _MAX_OPEN_BLOCKS:
                self._open.popitem(last=False)
            self._open[number] = ray.get(self._blocks[number])
        self._open.move_to_end(number)
        return self._open[number]


def materialise(dataset: ray.data.Dataset) -> MaterialisedRows | UserError:
    """Run a Ray Data source to its end, in order, and keep its rows in the object store.

    Returns:
        The rows, or the error that every worker must raise: stages of a source take one CPU each by
        default, and Ray waits for ever where training has them all.
    """
    if ray.available_resources().get("CPU", 0.0) < 1:
        return UserError(
            "Ray Data has no CPU to read with: the workers have reserved all of the cluster",
            expected="at least one CPU that training does not reserve",
            todo="lower scaling.num_workers or scaling.cpus_per_worker, or add nodes",
        )
    blocks = dataset.to_arrow_refs()
    count = ray.remote(num_cpus=0)(_num_rows)
    counts = ray.get([count.remote(block) for block in blocks])
    return MaterialisedRows(blocks, counts)


def _plain(column: pa.ChunkedArray) -> Any:
    if isinstance(column.type, pa.ExtensionType):  # Ray's tensors
        return column.combine_chunks().to_numpy(zero_copy_only=False)[0]
    value = column[0].as_py()
    return np.asarray(value) if isinstance(value, list) else value


def _num_rows(table: pa.Table) -> int:
    return int(table.num_rows)
