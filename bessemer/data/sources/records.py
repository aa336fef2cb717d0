"""CSV and JSON lines as sources: a record a row, types inferred once and held to in every file.

The types are those of the first group of the first file. A later value that does not fit them is refused
with file and line; it would make a batch of another dtype. A column that is empty there counts as text.
"""

from __future__ import annotations

import csv
import io
import re
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from bessemer.data.sources.base import Row, Source
from bessemer.data.sources.columns import Columns
from bessemer.data.sources.files import File, find_files, fingerprint_of
from bessemer.data.sources.lines import LineGroups, first_bad, first_record, line_groups
from bessemer.errors import BessemerError, DataError, UserError, nearest

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_SHOWN = 120
_PLACE = re.compile(r"Row #\d+: | in row \d+")


class Records(Source):
    """What is common to text files of records.

    Args:
        path: file, folder or pattern; `.gz` files are unpacked as they are read.
        columns: what is read of each row; none: everything.
        folder: `data.folder`, where indexes are kept; None to keep none.

    Raises:
        UserError: there is no file, no row, or no such column.
        DataError: a file cannot be read, or the files do not have the same columns.
    """

    _suffixes: tuple[str, ...]
    _quotes: bool
    _header: bool

    def __init__(self, path: str, columns: Sequence[str] = (), folder: Path | None = None) -> None:
        suffixes = [suffix + zipped for suffix in self._suffixes for zipped in ("", ".gz")]
        self._files = find_files(path, suffixes)
        self._columns = list(columns)
        self._check_files()
        self._parts: list[LineGroups] = [
            line_groups(folder, file, self._quotes, blank=False, header=self._header) for file in self._files
        ]
        self._first_groups = [0, *accumulate(len(part.sizes) for part in self._parts)]
        self._sizes = tuple(int(size) for part in self._parts for size in part.sizes)
        if not sum(self._sizes):
            raise UserError(f"{path} has no rows", expected="at least one", todo="make the data again")
        first = next(number for number, size in enumerate(self._sizes) if size)
        part, place = self._part(first)
        self._schema = self._inferred(part, place)
        for name in columns:
            if name not in self._schema.names:
                raise UserError(
                    f"{part.file.path} has no column {name!r}",
                    expected=nearest(name, self._schema.names) or f"one of {', '.join(self._schema.names)}",
                    todo="correct columns in settings.toml",
                )
        # Measured on one group: as numbers, records are larger or smaller than as text.
        table = self._table(part, place, part.read(place))
        taken = table.nbytes / max(1, int(part.starts[place + 1] - part.starts[place]))
        self._group_bytes = max(1, int(taken * max(part.largest_bytes for part in self._parts)))

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Records of each group (count)."""
        return self._sizes

    @property
    def group_bytes(self) -> int:
        """Memory of the largest group (bytes), by what the first one takes."""
        return self._group_bytes

    def fingerprint(self) -> str:
        """Hash names, sizes and tags of the files."""
        return fingerprint_of(self._files, self._columns)

    def read_group(self, number: int) -> Sequence[Row]:
        """Read and parse the records of a group."""
        part, place = self._part(number)
        return Columns(self._table(part, place, part.read(place)))

    @abstractmethod
    def _check_files(self) -> None:
        """Refuse files that do not go together, as far as their beginnings show it."""

    @abstractmethod
    def _parse(self, data: bytes, schema: pa.Schema | None) -> pa.Table:
        """Parse records; by the types of a schema, or by what they look like."""

    def _part(self, number: int) -> tuple[LineGroups, int]:
        place = bisect_right(self._first_groups, number) - 1
        return self._parts[place], number - self._first_groups[place]

    def _inferred(self, part: LineGroups, place: int) -> pa.Schema:
        data = self._without_mark(part, place, part.read(place))
        try:
            schema = self._parse(data, None).schema
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise self._refused(part, place, data, None, error) from error
        return pa.schema([pa.field(field.name, _kept_type(field.type)) for field in schema])

    def _table(self, part: LineGroups, place: int, data: bytes) -> pa.Table:
        data = self._without_mark(part, place, data)
        try:
            table = self._parse(data, self._schema)
            if table.num_rows != part.sizes[place]:
                raise pa.ArrowInvalid(f"{table.num_rows} records in {part.sizes[place]} lines")
        except pa.ArrowInvalid as error:
            raise self._refused(part, place, data, self._schema, error) from error
        if self._columns:
            table = table.select(self._columns)
        return table

    def _without_mark(self, part: LineGroups, place: int, data: bytes) -> bytes:
        return data.removeprefix(_BYTE_ORDER_MARK) if part.starts[place] == 0 else data

    def _refused(
        self, part: LineGroups, place: int, data: bytes, schema: pa.Schema | None, error: Exception
    ) -> BessemerError:
        """Say which line does not fit."""

        def fits(some: bytes) -> bool:
            try:
                num_rows = self._parse(some, schema).num_rows if some.strip() else 0
            except pa.ArrowInvalid:
                return False
            return bool(num_rows == len([line for line in some.splitlines() if line]) or self._quotes)

        before, record = first_bad(data, self._quotes, fits)
        reason = str(error)
        try:
            self._parse(record, schema)
        except pa.ArrowInvalid as alone:
            reason = _PLACE.sub("", str(alone))  # it tells the place in this record, which is its line
        shown = record[:_MAX_SHOWN].decode(errors="replace") + ("..." if len(record) > _MAX_SHOWN else "")
        types = ", ".join(f"{field.name}: {field.type}" for field in schema or [])
        return DataError(
            f"{part.file.path}, line {int(part.lines[place]) + before}: {reason.splitlines()[0]}: {shown}",
            expected=f"the types of the first lines: {types}" if types else "a whole record",
            todo="correct the line, or have the first line of the first file show the wider type",
        )


class CsvSource(Records):
    """Rows of CSV files with a header: commas, quotation marks doubled inside quoted values, UTF-8."""

    _suffixes = (".csv",)
    _quotes = True
    _header = True

    def _check_files(self) -> None:
        headers = [_header(file) for file in self._files]
        self._names = headers[0]
        for file, names in zip(self._files, headers, strict=True):
            if names != self._names:
                raise DataError(
                    f"{file.path} has the columns {', '.join(names)}",
                    expected=f"{', '.join(self._names)}, as {self._files[0].path} has",
                    todo="leave it out of the pattern, or make its header the same",
                )

    def _parse(self, data: bytes, schema: pa.Schema | None) -> pa.Table:
        read = pa_csv.ReadOptions(
            column_names=self._names, block_size=max(1, len(data) + 1), use_threads=False
        )
        types = {field.name: field.type for field in schema or []}
        # A text is never missing: NA may be a name, and an empty one is a text.
        convert = pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
        if not data.strip():
            return pa.table({name: pa.array([], types.get(name, pa.string())) for name in self._names})
        parse = pa_csv.ParseOptions(newlines_in_values=True)
        return pa_csv.read_csv(
            io.BytesIO(data), read_options=read, parse_options=parse, convert_options=convert
        )


class JsonLinesSource(Records):
    """Rows of files with a JSON object a line; a field that a line does not have is missing there."""

    _suffixes = (".jsonl", ".ndjson", ".json")
    _quotes = False
    _header = False

    def _check_files(self) -> None:
        """Find nothing: objects name their fields themselves."""

    def _parse(self, data: bytes, schema: pa.Schema | None) -> pa.Table:
        read = pa_json.ReadOptions(block_size=max(1, len(data) + 1), use_threads=False)
        parse = pa_json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "error"
        )
        return pa_json.read_json(io.BytesIO(data), read_options=read, parse_options=parse)


def _header(file: File) -> list[str]:
    record = first_record(file, quotes=True)
    try:
        names = next(csv.reader([record.decode("utf-8")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file.path} has no header: {error}", "names of columns in UTF-8") from error
    twice = [name for name in names if names.count(name) > 1]
    if not names or twice:
        raise DataError(
            f"{file.path} has {f'two columns {twice[0]!r}' if twice else 'no header'}",
            expected="names of columns in the first line, each once",
        )
    return names


def _kept_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that a column keeps: what is empty may be text later, a time stays one."""
    if pa.types.is_null(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_kept_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _kept_type(field.type)) for field in kind])
    return kind
