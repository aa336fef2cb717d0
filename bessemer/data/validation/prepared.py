"""Looks at prepared data: is what lies in the folder what its manifest says, and is it fit to train on?

A shard with another SHA-256 than the manifest's is named and not read: what is in it is nobody's promise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bessemer.config.data_settings import Checks
from bessemer.data.prepared.manifest import (
    MANIFEST_FILE,
    PREPARED_FOLDER,
    Column,
    Manifest,
    Shard,
    read_manifest,
)
from bessemer.data.prepared.schema import SHAPE_SUFFIX
from bessemer.data.validation.blocks import RAW
from bessemer.data.validation.checks import COUNTS, EXTRA_SHARDS, HASH, MANIFEST, SCHEMA, SHARDS, Check
from bessemer.data.validation.findings import Finding, counted
from bessemer.data.validation.parquet import blocks_of
from bessemer.data.validation.tally import DatasetTally, Examined
from bessemer.errors import DataError

# Where a shard says what its columns are.
_NOTE = b"bessemer"
_MAX_NAMED = 20

Tell = Callable[[str], None]


def prepared_folders(data_folder: Path) -> list[Path]:
    """Return the folders of prepared data in `data.folder`, sorted."""
    root = data_folder / PREPARED_FOLDER
    return sorted(
        file.parent for file in (root / MANIFEST_FILE, *root.glob(f"*/{MANIFEST_FILE}")) if file.exists()
    )


def examine_prepared(folder: Path, checks: Checks, tell: Tell = lambda text: None) -> Examined:
    """Look at everything in a folder of prepared data.

    Args:
        folder: with the manifest.
        checks: what the data are held to.
        tell: told what is looked at now.
    """
    found = Examined()
    name = folder.name
    try:
        manifest = read_manifest(folder)
    except DataError as error:
        found.findings.append(MANIFEST.found(name, error.found))
        return found
    problems = _Problems(found.findings)
    for split_name, split in manifest.splits.items():
        label = f"{name}/{split_name}" if len(manifest.splits) > 1 else name
        tally = DatasetTally(label, "prepared", split.num_rows, checks)
        first_row = 0
        for shard in split.shards:
            tell(f"reading {label}: row {first_row:,} of {split.num_rows:,}")
            if _is_as_promised(folder, label, shard, manifest, problems):
                _take_in(folder / shard.path, first_row, manifest.columns, tally, problems)
            first_row += shard.num_rows
        found.tallies.append(tally)
    problems.add_all(name, EXTRA_SHARDS, _extra(folder, manifest))
    problems.finish()
    return found


class _Problems:
    """Gathers what is wrong with shards: one finding for each check and data set, which names many."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings
        self._texts: dict[tuple[str, Check], list[str]] = {}

    def add(self, dataset: str, check: Check, text: str) -> None:
        self._texts.setdefault((dataset, check), []).append(text)

    def add_all(self, dataset: str, check: Check, texts: Sequence[str]) -> None:
        for text in texts:
            self.add(dataset, check, text)

    def finish(self) -> None:
        for (dataset, check), texts in self._texts.items():
            left = len(texts) - _MAX_NAMED
            more = f"; and {left:,} more" if left > 0 else ""
            self._findings.append(check.found(dataset, "; ".join(texts[:_MAX_NAMED]) + more))


def _is_as_promised(folder: Path, label: str, shard: Shard, manifest: Manifest, problems: _Problems) -> bool:
    """Compare a shard's file with the manifest; tell whether it can be read."""
    path = folder / shard.path
    if not path.resolve().is_relative_to(folder.resolve()):
        problems.add(label, SHARDS, f"{shard.path} lies outside of {folder}")
        return False
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        problems.add(label, SHARDS, f"{shard.path} is missing")
        return False
    except OSError as error:
        problems.add(label, SHARDS, f"{shard.path} cannot be read: {error.strerror or error}")
        return False
    is_same = digest == shard.sha256
    if not is_same:
        sizes = (
            f", {num_bytes:,} bytes instead of {shard.num_bytes:,}" if num_bytes != shard.num_bytes else ""
        )
        text = f"{shard.path} has the SHA-256 {digest[:12]}… instead of {shard.sha256[:12]}…{sizes}"
        problems.add(label, HASH, text)
    try:
        footer = pq.read_metadata(path)
        schema = footer.schema.to_arrow_schema()
    except (OSError, ValueError, pa.ArrowException) as error:
        problems.add(label, SHARDS, f"{shard.path} is no whole Parquet file: {_first_line(error)}")
        return False
    groups = tuple(footer.row_group(number).num_rows for number in range(footer.num_row_groups))
    if footer.num_rows != shard.num_rows:
        problems.add(
            label, COUNTS, f"{shard.path} has {footer.num_rows:,} rows instead of {shard.num_rows:,}"
        )
    elif groups != shard.group_rows:
        problems.add(label, COUNTS, f"{shard.path} has other row groups than the manifest says")
    differences = list(_schema_differences(schema, manifest.columns))
    problems.add_all(label, SCHEMA, [f"{shard.path}: {text}" for text in differences])
    return is_same and not differences


def _take_in(
    path: Path, first_row: int, columns: Sequence[Column], tally: DatasetTally, problems: _Problems
) -> None:
    try:
        for block in blocks_of(path, first_row, columns):
            tally.add(block)
    except (OSError, ValueError, pa.ArrowException) as error:
        problems.add(tally.name, SHARDS, f"{path.name} cannot be read: {_first_line(error)}")


def _schema_differences(schema: pa.Schema, columns: Sequence[Column]) -> Iterator[str]:
    kinds = _noted_kinds(schema)
    for column in columns:
        places = schema.get_all_field_indices(column.name)
        if len(places) != 1:
            yield f"column {column.name!r} is {'missing' if not places else 'there twice'}"
            continue
        kind = schema.field(places[0]).type
        noted = kinds.get(column.name)
        if not pa.types.is_null(kind) and not _fits(column, kind):
            yield f"column {column.name!r} holds {kind} instead of {_wanted(column)}"
        elif noted is not None and noted[0] != "none" and noted != (column.kind, column.dtype):
            yield f"column {column.name!r} holds {' '.join(noted).strip()} instead of {_wanted(column)}"
    known = {column.name for column in columns} | {column.name + SHAPE_SUFFIX for column in columns}
    more = [name for name in schema.names if name not in known]
    if more:
        yield f"{counted(len(more), 'column')} more than in the manifest: {', '.join(more[:5])}"


def _noted_kinds(schema: pa.Schema) -> dict[str, tuple[str, str]]:
    """Return kind and dtype of each column as the shard itself says."""
    try:
        noted = json.loads((schema.metadata or {}).get(_NOTE, b"[]"))
        columns = [Column.model_validate(item) for item in noted]
    except (ValueError, TypeError):
        return {}
    return {column.name: (column.kind, column.dtype) for column in columns}


def _fits(column: Column, kind: pa.DataType) -> bool:
    types = pa.types
    if column.kind in (*RAW, "bytes"):
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))
    fits = {
        "int": types.is_integer(kind),
        "float": types.is_floating(kind),
        "bool": types.is_boolean(kind),
        "str": types.is_string(kind) or types.is_large_string(kind),
        "none": False,
    }
    return bool(fits[column.kind])


def _wanted(column: Column) -> str:
    return f"{column.kind} {column.dtype}".strip()


def _extra(folder: Path, manifest: Manifest) -> list[str]:
    named = {shard.path for _, shard in manifest.shards()}
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))
    return [f"{name} is not in the manifest" for name in files if name not in named]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
