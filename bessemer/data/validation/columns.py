"""Takes in one column of a data set, block by block, and keeps what the checks need of it.

Which rows are missing, not finite, constant or out of range (how many, and the first); the moments of its
numbers, or of the lengths of its texts; the values that occur, where they are few; and an even sample.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bessemer.data.prepared.manifest import Column
from bessemer.data.validation.blocks import Elements, Rows, elements, shown_shape
from bessemer.data.validation.findings import ColumnSummary
from bessemer.data.validation.hashing import Hashes
from bessemer.data.validation.spread import Moments, Sample

MAX_DISTINCT = 1000
MAX_NAMED = 20
# So many elements of a tensor go into the sample of its column.
_SAMPLED_ELEMENTS = 16
# A byte image of so many pixels is not all one value by chance.
_LEAST_IMAGE_ELEMENTS = 64


class Marked:
    """Rows that something is wrong with: how many, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[int] = []

    def add(self, rows: Rows, marks: npt.NDArray[np.bool_]) -> None:
        """Take in the marked ones of some rows."""
        self.count += int(np.count_nonzero(marks))
        if len(self.first) < MAX_NAMED:
            self.first += rows[marks][: MAX_NAMED - len(self.first)].tolist()

    @property
    def text(self) -> str:
        """The first five rows: `[3, 17, …]`."""
        more = ", …" if self.count > 5 else ""
        return f"[{', '.join(str(row) for row in self.first[:5])}{more}]"


class ColumnTally:
    """What is known of one column so far.

    Args:
        column: what it is.
        bounds: least and largest value that is allowed, None for any.
    """

    def __init__(self, column: Column, bounds: tuple[float, float] | None) -> None:
        self.column = column
        self.bounds = bounds
        self.num_rows = 0
        self.missing, self.not_finite, self.constant = Marked(), Marked(), Marked()
        self.outside, self.misfits = Marked(), Marked()
        self.moments, self.sample = Moments(), Sample()
        self.counts: Counter[str] | None = Counter()
        self.is_constant = True
        self._hash: np.uint64 | None = None

    def add(self, rows: Rows, column: Column, array: pa.Array, hashes: Hashes, is_label: bool) -> None:
        """Take in the values of some rows, with their hashes."""
        if self.column.kind == "none":  # until now, all were missing
            self.column = column
        self.num_rows += len(rows)
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        if pa.types.is_null(array.type):
            valid = np.zeros(len(rows), np.bool_)
        self.missing.add(rows, ~valid)
        present = hashes[valid]
        if len(present) and self.is_constant:
            self._hash = present[0] if self._hash is None else self._hash
            self.is_constant = bool((present == self._hash).all())
        numbers = elements(column, array)
        if numbers is not None:
            self._add_numbers(rows, column, numbers, is_label)
        elif (lengths := _lengths(array)) is not None:
            if column.kind == "str":
                self._count(array)
            self._spread(rows[valid], lengths.drop_null().to_numpy(zero_copy_only=False))
        else:
            self.counts = None

    def _add_numbers(self, rows: Rows, column: Column, numbers: Elements, is_label: bool) -> None:
        flat = numbers.flat
        self.misfits.add(rows, numbers.misfits)
        owners = rows if (numbers.lengths == 1).all() else np.repeat(rows, numbers.lengths)
        if flat.dtype.kind == "f":
            finite = np.isfinite(flat)
            if not finite.all():
                self.not_finite.add(rows, numbers.any_by_row(~finite))
                flat, owners = flat[finite], owners[finite]
        if self.bounds is not None:
            low, high = self.bounds
            outside = (numbers.flat < low) | (numbers.flat > high)
            self.outside.add(rows, numbers.any_by_row(outside))
        if numbers.flat.dtype.kind == "f" or column.dtype == "uint8":
            self._add_constant(rows, numbers)
        is_scalar = owners is rows or column.shape == ()
        if flat.dtype.kind in "iub" and (is_scalar or is_label):
            self._count(pa.array(flat))
        else:
            self.counts = None
        self._spread(owners, flat, thin=not is_scalar)

    def _add_constant(self, rows: Rows, numbers: Elements) -> None:
        least = 2 if numbers.flat.dtype.kind == "f" else _LEAST_IMAGE_ELEMENTS
        if int(numbers.lengths.max(initial=0)) < least:
            return
        low, high, filled = numbers.extremes_by_row()
        marks = np.zeros(len(rows), np.bool_)
        marks[filled] = (low == high) & (numbers.lengths[filled] >= least)
        self.constant.add(rows, marks)

    def _spread(self, owners: Rows, numbers: npt.NDArray[Any], thin: bool = False) -> None:
        if not len(numbers):
            return
        self.moments.add(numbers)
        if thin:
            # An even few of each row; a step that is odd meets all channels and columns.
            per_row = len(numbers) // max(1, len(np.unique(owners)))
            step = max(1, per_row // _SAMPLED_ELEMENTS) | 1
            owners, numbers = owners[::step], numbers[::step]
        self.sample.add(owners, numbers)

    def _count(self, array: pa.Array) -> None:
        if self.counts is None:
            return
        # Where values are many, a look at a few tells, which spares counting a large block of them.
        if len(array[: 2 * MAX_DISTINCT].unique()) > MAX_DISTINCT:
            self.counts = None
            return
        for entry in pc.value_counts(array.drop_null()):
            self.counts[str(entry["values"].as_py())] += entry["counts"].as_py()
            if len(self.counts) > MAX_DISTINCT:
                self.counts = None
                return

    def summary(self) -> ColumnSummary:
        """Return it for people."""
        moments = self.moments
        spread = {"min": moments.min, "max": moments.max, "mean": moments.mean, "std": moments.std}
        finite = {name: value for name, value in spread.items() if np.isfinite(value)}
        kind = f"{self.column.dtype or self.column.kind} {shown_shape(self.column)}".rstrip()
        return ColumnSummary(
            name=self.column.name,
            kind=self.column.kind if self.column.kind in ("str", "bytes") else kind,
            num_missing=self.missing.count,
            num_not_finite=self.not_finite.count,
            counts=dict((self.counts or Counter()).most_common(MAX_DISTINCT)),
            histogram=self.sample.histogram(),
            **(finite if moments.count else {}),
        )


def _lengths(array: pa.Array) -> pa.Array | None:
    """Return how long each text (characters) or binary value (bytes) is; None of other types."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.utf8_length(array)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pc.binary_length(array)
    return None
