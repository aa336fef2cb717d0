"""Takes in a data set block by block, and keeps what the checks need of it, in bounded memory.

Of each column what `columns.py` says; of each row two 64-bit hashes, one of its inputs and one of all of
it. For ten million rows that is 160 MB, whatever is in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from bessemer.config.data_settings import Checks
from bessemer.data.prepared.manifest import Column
from bessemer.data.validation.blocks import RAW, Block, Rows, numpy_dtype
from bessemer.data.validation.columns import MAX_NAMED, ColumnTally
from bessemer.data.validation.findings import DatasetSummary, Finding, Origin
from bessemer.data.validation.hashing import Hashes, combined, hash_column
from bessemer.data.validation.likeness import Likenesses
from bessemer.data.validation.pictures import Gallery


@dataclass(frozen=True)
class Examined:
    """What came of looking at some data that belong together.

    Attributes:
        tallies: of the data sets.
        findings: of what was seen on the way, such as a shard that is missing.
        notes: what was not looked at, and why.
    """

    tallies: list[DatasetTally] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class DatasetTally:
    """What is known of one data set so far.

    Args:
        name: what it is called.
        origin: where it comes from.
        num_samples: how many it has (count), of which some are looked at.
        checks: what it is held to.
        identifiers: columns that are no content, beside those that `checks` names.
        usual_labels: column of classes, if there is one of this name and `checks` names none.
    """

    def __init__(
        self,
        name: str,
        origin: Origin,
        num_samples: int,
        checks: Checks,
        identifiers: Iterable[str] = (),
        usual_labels: str = "",
    ) -> None:
        self.name = name
        self.origin = origin
        self.num_samples = num_samples
        self.checks = checks
        self.num_checked = 0
        self.columns: dict[str, ColumnTally] = {}
        self.structures: Counter[str] = Counter()
        self.unreadable: list[str] = []
        self.num_unreadable = 0
        self.labels = ""
        self.likenesses = Likenesses() if checks.near_duplicates else None
        self._num_rows = 0
        self._usual_labels = usual_labels
        self._identifiers = {*identifiers, *checks.identifiers}
        # Neighbours are a range: eight bytes less for each row.
        self._rows: list[range | Rows] = []
        self._starts: list[int] = []
        self._inputs: list[Hashes] = []
        self._wholes: list[Hashes] = []
        self._gallery = Gallery()

    def add(self, block: Block) -> None:
        """Take in some rows."""
        if not len(block.rows):
            return
        if not self.columns:
            self.labels = self._labels_of(block.columns)
        self._starts.append(self._num_rows)
        self._num_rows += len(block.rows)
        self.num_checked += len(block.rows)
        hashes: list[tuple[str, Hashes]] = []
        for column, array in zip(block.columns, block.arrays, strict=True):
            if column.name not in self.columns:
                bounds = self.checks.ranges.get(column.name)
                self.columns[column.name] = ColumnTally(column, bounds)
            values = hash_column(array)
            is_label = column.name == self.labels
            self.columns[column.name].add(block.rows, column, array, values, is_label)
            if column.name not in self._identifiers:
                hashes.append((column.name, values))
        inputs = combined([pair for pair in hashes if pair[0] != self.labels] or hashes)
        self._inputs.append(inputs)
        self._wholes.append(combined(hashes) if self.labels else inputs)
        self._rows.append(_compact(block.rows))
        self._gallery.add(block, self.labels)
        if self.likenesses is not None:
            self.likenesses.add(block, self._identifiers | {self.labels})

    def add_unreadable(self, text: str, num_samples: int = 1) -> None:
        """Take in that some samples cannot be read."""
        self.num_unreadable += num_samples
        self.num_checked += num_samples
        if len(self.unreadable) < MAX_NAMED:
            self.unreadable.append(text)

    def add_structure(self, structure: str, num_samples: int = 1) -> None:
        """Take in that some samples are made in this way."""
        self.structures[structure] += num_samples

    def rows(self, places: Rows) -> list[int]:
        """Return which rows of the data set are at some places of `inputs`."""
        blocks = np.searchsorted(self._starts, places, side="right") - 1
        return [
            int(self._rows[block][place - self._starts[block]])
            for block, place in zip(blocks.tolist(), places.tolist(), strict=True)
        ]

    @cached_property
    def inputs(self) -> Hashes:
        """Hash of each row without its label; uint64 [rows]."""
        inputs: Hashes = _joined(self._inputs, np.uint64)
        return inputs

    @cached_property
    def wholes(self) -> Hashes:
        """Hash of each row with its label; uint64 [rows]."""
        wholes: Hashes = _joined(self._wholes, np.uint64) if self.labels else self.inputs
        return wholes

    @property
    def class_counts(self) -> dict[str, int]:
        """Samples of each class, by the class; empty without labels, or with too many of them."""
        if not self.labels:
            return {}
        counts: Mapping[str, int] = self.columns[self.labels].counts or {}
        return dict(sorted(counts.items(), key=lambda pair: _as_number(pair[0])))

    def summary(self) -> DatasetSummary:
        """Return it for people."""
        return DatasetSummary(
            name=self.name,
            origin=self.origin,
            num_samples=self.num_samples,
            num_checked=self.num_checked,
            columns=tuple(column.summary() for column in self.columns.values()),
            labels=self.labels,
            class_counts=self.class_counts,
            pictures=self._gallery.pictures,
        )

    def _labels_of(self, columns: Sequence[Column]) -> str:
        names = [column.name for column in columns]
        for wished in (self.checks.labels, self._usual_labels):
            if wished in names:
                return wished
        content = [column for column in columns if column.name not in self._identifiers]
        return content[-1].name if len(content) > 1 and _is_class(content[-1]) else ""


def _is_class(column: Column) -> bool:
    """Whether a column holds one integer for each sample."""
    if column.kind == "int":
        return True
    dtype = numpy_dtype(column.dtype) if column.kind in RAW else None
    is_integer = dtype is not None and dtype.kind in "iu" and column.dtype != "bfloat16"
    return is_integer and column.shape is not None and all(size == 1 for size in column.shape)


def _compact(rows: Rows) -> range | Rows:
    first, last = int(rows[0]), int(rows[-1])
    is_range = last - first + 1 == len(rows) and bool((np.diff(rows) == 1).all())
    return range(first, last + 1) if is_range else rows


def _joined(parts: list[Any], dtype: type[np.generic]) -> Any:
    """Join what came in blocks, and free it."""
    joined = np.concatenate(parts) if parts else np.zeros(0, dtype)
    parts.clear()
    return joined


def _as_number(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text
