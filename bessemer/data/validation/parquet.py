"""Reads a Parquet file as blocks of bounded size, also inside a row group that is large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bessemer.data.prepared.manifest import Column
from bessemer.data.validation.blocks import Block, column_of

_BLOCK_BYTES = 16 * 2**20
_MAX_ROWS = 2**17


def blocks_of(
    opened: Any, first_row: int, columns: Sequence[Column] = (), names: Sequence[str] = ()
) -> Iterator[Block]:
    """Read a file block by block.

    Args:
        opened: a path or an open file.
        first_row: number of its first row in the data set.
        columns: what is in it, if that is known; else what its schema says.
        names: columns that are read; none: all.

    Raises:
        OSError, pyarrow.ArrowException: it is damaged.
    """
    with pq.ParquetFile(opened, pre_buffer=False) as file:
        wanted = [column.name for column in columns] or list(names) or None
        for batch in file.iter_batches(batch_size=_rows_of(file.metadata), columns=wanted):
            yield block_of(batch, first_row, columns)
            first_row += batch.num_rows


def block_of(batch: pa.RecordBatch, first_row: int, columns: Sequence[Column] = ()) -> Block:
    """Make a block of rows that lie one after the other."""
    known = columns or [column_of(field) for field in batch.schema]
    rows = np.arange(first_row, first_row + batch.num_rows, dtype=np.int64)
    return Block(rows, known, [batch.column(column.name) for column in known])


def _rows_of(footer: pq.FileMetaData) -> int:
    sizes = [footer.row_group(number).total_byte_size for number in range(footer.num_row_groups)]
    row_bytes: int = max(1, sum(sizes) // max(1, footer.num_rows))
    return max(1, min(_MAX_ROWS, _BLOCK_BYTES // row_bytes))
