"""Parquet files as a source: each row group is a group."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bessemer.data.sources.base import Row, Source
from bessemer.data.sources.columns import Columns
from bessemer.data.sources.files import File, find_files, fingerprint_of
from bessemer.data.sources.index import Index, indexed
from bessemer.data.sources.opened import Opened
from bessemer.errors import DataError, UserError, nearest

_NUM_THREADS = 8
_MEASURED_ROWS = 2**14


class ParquetSource(Source):
    """Rows of Parquet files of one schema.

    Args:
        path: file, folder or pattern.
        columns: what is read of each row; none: everything.
        folder: `data.folder`, where indexes are kept; None to keep none.

    Raises:
        UserError: there is no file, or no such column.
        DataError: a file cannot be read, or has another schema than the first.
    """

    def __init__(self, path: str, columns: Sequence[str] = (), folder: Path | None = None) -> None:
        self._files = find_files(path, (".parquet", ".pq"))
        self._columns = list(columns)
        schema = _schema(self._files[0])
        for name in columns:
            if name not in schema.names:
                raise UserError(
                    f"{self._files[0].path} has no column {name!r}",
                    expected=nearest(name, schema.names) or f"one of {', '.join(schema.names)}",
                    todo="correct columns in settings.toml",
                )
        kind = f"parquet {','.join(columns)}"
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            indexes = list(pool.map(lambda file: indexed(folder, file, kind, self._index), self._files))
        for file, index in zip(self._files, indexes, strict=True):
            if index["schema"].tolist() != indexes[0]["schema"].tolist():
                raise DataError(
                    f"{file.path} has another schema than {self._files[0].path}: "
                    + _difference(_schema(file), schema),
                    expected="files of one schema",
                    todo="name the common columns in settings.toml, or leave files out of the pattern",
                )
        self._first_groups = [0, *accumulate(len(index["sizes"]) for index in indexes)]
        self._sizes = tuple(int(size) for index in indexes for size in index["sizes"])
        self._group_bytes = max(int(index["group_bytes"][0]) for index in indexes)
        self._footers: Opened[pq.FileMetaData] = Opened()
        if not sum(self._sizes):
            raise UserError(f"{path} has no rows", expected="at least one", todo="make the data again")

    @property
    def files(self) -> tuple[File, ...]:
        """The files, in order."""
        return self._files

    @property
    def columns(self) -> list[str]:
        """What is read of each row; none: everything."""
        return self._columns

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Rows of each row group (count)."""
        return self._sizes

    @property
    def group_bytes(self) -> int:
        """Memory of the largest row group (bytes), by what the rows of each file's first one take."""
        return self._group_bytes

    def fingerprint(self) -> str:
        """Hash names, sizes and tags of the files."""
        return fingerprint_of(self._files, self._columns)

    def read_group(self, number: int) -> Sequence[Row]:
        """Read a row group."""
        place = int(np.searchsorted(self._first_groups, number, side="right")) - 1
        file = self._files[place]
        footer = self._footers.get(file.path, lambda: _footer(file))
        table = _read(file, footer, number - self._first_groups[place], self._columns)
        return Columns(table)

    def _index(self, file: File) -> Index:
        footer = _footer(file)
        sizes = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
        group_bytes = 0
        if sum(sizes):
            # Measured and not taken from the footer: what a dictionary saves in a file it does not in memory.
            first = next(number for number, size in enumerate(sizes) if size)
            rows, num_bytes = _measure(file, footer, first, self._columns)
            group_bytes = num_bytes * max(sizes) // rows
        schema = footer.schema.to_arrow_schema().remove_metadata()
        chosen = pa.schema([field for field in schema if not self._columns or field.name in self._columns])
        digest = hashlib.sha256(str(chosen).encode()).digest()[:8]
        return {
            "sizes": np.asarray(sizes, np.int64),
            "group_bytes": np.asarray([group_bytes], np.int64),
            "schema": np.frombuffer(digest, np.int64),
        }


def _footer(file: File) -> pq.FileMetaData:
    with file.open() as opened:
        return pq.read_metadata(opened)


def _schema(file: File) -> pa.Schema:
    return _footer(file).schema.to_arrow_schema().remove_metadata()


def _read(file: File, footer: pq.FileMetaData, number: int, columns: Sequence[str]) -> pa.Table:
    with file.open(cache="none") as opened:
        # A task of Ray Data has one processor; threads of Arrow would take those of others.
        parquet = pq.ParquetFile(opened, metadata=footer, pre_buffer=not file.is_local)
        return parquet.read_row_group(number, columns=list(columns) or None, use_threads=False)


def _measure(file: File, footer: pq.FileMetaData, number: int, columns: Sequence[str]) -> tuple[int, int]:
    """Return rows and memory (bytes) of the beginning of a row group: many files are measured at a time."""
    with file.open(cache="none") as opened:
        parquet = pq.ParquetFile(opened, metadata=footer, pre_buffer=not file.is_local)
        batches = parquet.iter_batches(
            _MEASURED_ROWS, row_groups=[number], columns=list(columns) or None, use_threads=False
        )
        batch = next(batches)
        return int(batch.num_rows), int(batch.nbytes)


def _difference(schema: pa.Schema, first: pa.Schema) -> str:
    """Say in what the schema of a file differs from that of the first one."""
    for name in first.names:
        if name not in schema.names:
            return f"it has no column {name!r}"
        if schema.field(name).type != first.field(name).type:
            return f"column {name!r} is {schema.field(name).type} and not {first.field(name).type}"
    added = [name for name in schema.names if name not in first.names]
    return f"it has a column {added[0]!r} more" if added else "its columns have another order"
