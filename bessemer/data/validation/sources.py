"""Looks at native sources: Parquet files by columns, tables by groups, everything else by rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from torch.utils.data import Dataset

from bessemer.config.data_settings import Checks
from bessemer.data.sources.base import Source
from bessemer.data.sources.columns import Columns
from bessemer.data.sources.parquet import ParquetSource
from bessemer.data.sources.tars import KEY
from bessemer.data.validation.parquet import block_of, blocks_of
from bessemer.data.validation.prepared import Tell
from bessemer.data.validation.samples import Gatherer, examine_samples
from bessemer.data.validation.tally import DatasetTally
from bessemer.errors import BessemerError

# What a format adds that is no content, and what it calls classes, by format.
_IDENTIFIERS = {"images": ("path",), "tar": (KEY,)}
_LABELS = {"images": "label", "tar": "cls"}
_TOLD_EVERY = 1000


def examine_source(
    name: str,
    source: Dataset[Any],
    form: str,
    checks: Checks,
    max_samples: int,
    tell: Tell = lambda text: None,
) -> DatasetTally:
    """Look at all rows of a source; of one that is no `Source`, at up to `max_samples` samples.

    Args:
        name: of the source.
        source: opened.
        form: its format, as settings call it.
        checks: what it is held to.
        max_samples: the most samples of a torch data set that are looked at (count).
        tell: told what is looked at now.
    """
    if not isinstance(source, Source):
        tally = examine_samples(source, name, max_samples, checks)
        tally.origin = "source"
        return tally
    identifiers, labels = _IDENTIFIERS.get(form, ()), _LABELS.get(form, "")
    tally = DatasetTally(name, "source", len(source), checks, identifiers, labels)
    if isinstance(source, ParquetSource):
        _take_in_files(source, tally, tell)
    else:
        _take_in_groups(source, tally, tell)
    return tally


def _take_in_files(source: ParquetSource, tally: DatasetTally, tell: Tell) -> None:
    first_row = 0
    for file in source.files:
        tell(f"reading {tally.name}: row {first_row:,} of {tally.num_samples:,}")
        try:
            with file.open() as opened:
                for block in blocks_of(opened, first_row, names=source.columns):
                    tally.add(block)
                    first_row = int(block.rows[-1]) + 1 if len(block.rows) else first_row
        except (BessemerError, OSError, ValueError, pa.ArrowException) as error:
            tally.add_unreadable(_said(error, file.path))


def _take_in_groups(source: Source, tally: DatasetTally, tell: Tell) -> None:
    gatherer = Gatherer(tally, shapes_count=False)
    first_row = 0
    for number, size in enumerate(source.group_sizes):
        if number % _TOLD_EVERY == 0:
            tell(f"reading {tally.name}: row {first_row:,} of {tally.num_samples:,}")
        try:
            group = source.read_group(number)
            if isinstance(group, Columns):
                for batch in group.table.to_batches():
                    tally.add(block_of(batch, first_row))
                    first_row += batch.num_rows
                continue
        except Exception as error:  # data of any kind, through decoders of any kind
            tally.add_unreadable(_said(error, f"group {number}"), size)
            first_row += size
            continue
        for place in range(len(group)):
            try:
                gatherer.add(first_row + place, group[place])
            except Exception as error:
                tally.add_unreadable(_said(error, f"row {first_row + place}"))
        first_row += size
    gatherer.flush()


def _said(error: Exception, place: str) -> str:
    if isinstance(error, BessemerError):
        return error.found
    return f"{place}: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
