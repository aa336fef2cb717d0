"""Rows of a native source, through a function of the project, split by their keys: `[preparation]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bessemer.config.data_settings import Preparation
from bessemer.config.project import resolve_function
from bessemer.config.settings import Settings
from bessemer.data.prepared.determinism import Examined, examine
from bessemer.data.prepared.making import Work
from bessemer.data.prepared.manifest import PREPARED_FOLDER
from bessemer.data.prepared.origins import inputs_of, origin_of
from bessemer.data.prepared.splits import SplitNumbers, assign
from bessemer.data.sources.base import Source
from bessemer.data.sources.opening import open_source
from bessemer.errors import SettingsError, nearest

_AS_THEY_ARE = Examined((), "rows as they are")


def work_of_preparation(settings: Settings, search_path: Sequence[str]) -> tuple[Work, Path]:
    """Return what `[preparation]` asks for, and the folder for it.

    Raises:
        SettingsError: it names a source or a column that is not there.
        ProjectError: its function cannot be imported.
        DataError: the source cannot be read.
    """
    wished = settings.preparation
    if wished.source not in settings.data.sources:
        known = list(settings.data.sources)
        raise SettingsError(
            f"preparation.source = {wished.source!r} is no source",
            expected=nearest(wished.source, known)
            or f"one of data.sources: {', '.join(known) or 'none yet'}",
            todo=f"declare it in settings.toml under [data.sources.{wished.source}]",
        )
    source = open_source(settings, wished.source, search_path)
    inputs = source.fingerprint() if isinstance(source, Source) else inputs_of(source)
    function = resolve_function(wished.function, list(search_path)) if wished.function else None
    examined = examine(function) if function is not None else _AS_THEY_ARE
    work = Work(
        name=wished.source,
        items=source,
        make=function,
        origin=origin_of(
            inputs,
            examined,
            {
                "preparation": wished.model_dump(mode="json"),
                "source": settings.data.sources[wished.source].model_dump(mode="json"),
            },
        ),
        splits=tuple(wished.splits),
        assigned=_assigned(settings, search_path),
        shard_bytes=wished.shard_bytes,
    )
    return work, Path(settings.data.folder) / PREPARED_FOLDER / wished.source


def _assigned(settings: Settings, search_path: Sequence[str]) -> SplitNumbers | None:
    """Read the columns that decide, and nothing else, and assign each row."""
    wished = settings.preparation
    if len(wished.splits) == 1:
        return None
    deciding = wished.group or wished.key
    columns = [name for name in (deciding, wished.stratify) if name]
    narrow = settings
    if deciding:
        # A source that can read some columns alone reads no others.
        source = settings.data.sources[wished.source].model_copy(update={"columns": columns})
        sources = {**settings.data.sources, wished.source: source}
        narrow = settings.model_copy(update={"data": settings.data.model_copy(update={"sources": sources})})
    rows = open_source(narrow, wished.source, search_path)
    keys: list[Any] = []
    classes: list[Any] = []
    for place in range(len(rows)):  # type: ignore[arg-type]
        row = rows[place]
        keys.append(_value(row, deciding, wished) if deciding else _content(row))
        if wished.stratify:
            classes.append(_value(row, wished.stratify, wished))
    return assign(keys, wished.splits, classes or None)


def _value(row: Any, column: str, wished: Preparation) -> Any:
    if not isinstance(row, dict) or column not in row:
        known = list(row) if isinstance(row, dict) else []
        raise SettingsError(
            f"source {wished.source} has no column {column!r}, which [preparation] splits by",
            expected=nearest(column, known) or f"one of: {', '.join(known)}",
        )
    return row[column]


def _content(row: Any) -> bytes:
    from bessemer.data.wire import encode

    head, buffers = encode(row)
    return b"".join([head, *map(bytes, buffers)])
