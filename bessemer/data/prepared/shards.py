"""A shard: one Parquet file of samples, written whole or not at all, and read by row groups.

Row groups are small, so that a sample at any place costs little.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bessemer.config.section import Section
from bessemer.data.files import put_file
from bessemer.data.prepared.manifest import Column, Shard
from bessemer.data.prepared.schema import ColumnReader, assemble, elements, encode_column, leaves_of
from bessemer.data.prepared.statistics import Summary, summarise
from bessemer.data.sources.base import LazyRows
from bessemer.errors import DataError

_GROUP_BYTES = 2**20
_COLUMN_KEY = b"bessemer"


class ShardRecord(Section):
    """What is known of a shard that is whole.

    Attributes:
        shard: the file.
        columns: as they are in this file.
        summaries: by column.
    """

    shard: Shard
    columns: tuple[Column, ...]
    summaries: dict[str, Summary]


def write_shard(folder: Path, name: str, samples: Sequence[Any], structure: str) -> ShardRecord:
    """Write samples into a Parquet file.

    Args:
        folder: where to; it is there.
        name: of the file.
        samples: all of the shard; at least one.
        structure: how they are put together.

    Raises:
        DataError: they are not alike, or the file cannot be written.
    """
    leaves = [leaves_of(sample, structure) for sample in samples]
    columns: list[Column] = []
    arrays: dict[str, pa.Array] = {}
    summaries: dict[str, Summary] = {}
    for column_name in leaves[0]:
        values = [each[column_name] for each in leaves]
        column, stored = encode_column(column_name, values)
        columns.append(column)
        arrays.update(stored)
        summaries[column_name] = summarise(column, values, elements(column, stored[0][1]))
    table = pa.table(arrays)
    note = json.dumps([column.model_dump(mode="json") for column in columns])
    table = table.replace_schema_metadata({_COLUMN_KEY: note.encode()})
    group_rows = _group_rows(table)
    content = pa.BufferOutputStream()
    # What was raw bytes has no words that come again.
    plain = [column.name for column in columns if column.kind not in ("tensor", "array", "scalar")]
    pq.write_table(table, content, row_group_size=group_rows, use_dictionary=plain, write_statistics=plain)
    data = memoryview(content.getvalue())
    shard = Shard(
        path=name,
        num_rows=len(samples),
        num_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        group_rows=tuple(
            min(group_rows, len(samples) - start) for start in range(0, len(samples), group_rows)
        ),
    )
    record = ShardRecord(shard=shard, columns=tuple(columns), summaries=summaries)
    put_file(folder / name, data)
    return record


def is_whole(folder: Path, shard: Shard, thorough: bool = False) -> bool:
    """Tell whether a shard's file is there in its size and, if wished, with its content."""
    path = folder / shard.path
    try:
        if path.stat().st_size != shard.num_bytes:
            return False
        if not thorough:
            return True
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
    except OSError:
        return False


class SampleRows(LazyRows):
    """The samples of a row group; each is put together when it is asked for.

    Args:
        table: of one row group.
        columns: of its shard.
        structure: how a sample is put together, parsed.
    """

    def __init__(self, table: pa.Table, columns: Iterable[Column], structure: Any) -> None:
        arrays = {name: table.column(name).combine_chunks() for name in table.column_names}
        arrays = {
            name: each.chunk(0) if isinstance(each, pa.ChunkedArray) else each
            for name, each in arrays.items()
        }
        self._readers = {column.name: ColumnReader(column, arrays) for column in columns}
        self._structure = structure
        self._num_rows = int(table.num_rows)

    def __len__(self) -> int:
        return self._num_rows

    def row(self, place: int) -> Any:
        """Put the sample at a place together."""
        return assemble(self._structure, lambda name: self._readers[name][place])


class ShardReader:
    """An open shard.

    Args:
        path: of the file.
        structure: how a sample is put together, parsed.

    Raises:
        DataError: it is not a shard of prepared data.
    """

    def __init__(self, path: Path, structure: Any) -> None:
        self._path = path
        self._structure = structure
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            note = (self._file.schema_arrow.metadata or {}).get(_COLUMN_KEY, b"")
            self._columns = [Column.model_validate(item) for item in json.loads(note)]
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(
                f"{path} cannot be read: {(str(error).splitlines() or [''])[0]}",
                expected="a shard that `bessemer data preprocess` wrote",
                todo="bessemer data preprocess makes it again",
            ) from None

    @property
    def group_bytes(self) -> int:
        """What the largest of its row groups takes when it is unpacked (bytes)."""
        metadata = self._file.metadata
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        return max((int(group.total_byte_size) for group in groups), default=0)

    def group(self, number: int) -> SampleRows:
        """Read a row group.

        Raises:
            DataError: the file is damaged.
        """
        try:
            table = self._file.read_row_group(number)
            return SampleRows(table, self._columns, self._structure)
        except (OSError, ValueError, KeyError, IndexError, pa.ArrowException) as error:
            raise DataError(
                f"row group {number} of {self._path} cannot be read: {(str(error).splitlines() or [''])[0]}",
                expected="a shard that `bessemer data preprocess` wrote",
                todo="bessemer data preprocess makes it again",
            ) from None


def _group_rows(table: pa.Table) -> int:
    each = max(1, int(table.nbytes) // table.num_rows)
    rows: int = min(table.num_rows, _GROUP_BYTES // each)
    return max(1, rows)
