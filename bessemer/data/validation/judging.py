"""The checks of one data set: what its tally says, held against `[checks]`. One function each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt

from bessemer.config.data_settings import Checks
from bessemer.data.validation.blocks import shown_shape
from bessemer.data.validation.checks import (
    BALANCE,
    CLASSES,
    CONFLICT,
    CONSTANT,
    CONSTANT_COLUMN,
    DUPLICATES,
    EMPTY,
    FINITE,
    LABELS,
    MISSING,
    RANGE,
    READABLE,
    SCHEMA,
    STRUCTURE,
)
from bessemer.data.validation.columns import ColumnTally
from bessemer.data.validation.findings import Finding, counted
from bessemer.data.validation.hashing import Hashes
from bessemer.data.validation.tally import DatasetTally

_MAX_SHOWN = 5


def judge(tally: DatasetTally, checks: Checks, is_training: bool = False) -> list[Finding]:
    """Hold one data set against every check that concerns it alone.

    Args:
        tally: of the data set, complete.
        checks: what it is held to.
        is_training: whether it is what is trained on.
    """
    found = [_empty(tally), _readable(tally), _structure(tally), _labels(tally, checks), _repeated(tally)]
    if is_training:
        found.append(_balance(tally, checks))
    for column in tally.columns.values():
        found += [_of_column(tally.name, column, checks)]
    return list(chain.from_iterable(found))


def _empty(tally: DatasetTally) -> Iterator[Finding]:
    if not tally.num_samples:
        yield EMPTY.found(tally.name, "there is no sample")


def _readable(tally: DatasetTally) -> Iterator[Finding]:
    if tally.num_unreadable:
        names = "; ".join(tally.unreadable)
        left = tally.num_unreadable - len(tally.unreadable)
        more = f"; and {left:,} more" if left else ""
        verb = "cannot be read"
        yield READABLE.found(tally.name, f"{counted(tally.num_unreadable, 'sample')} {verb}: {names}{more}")


def _structure(tally: DatasetTally) -> Iterator[Finding]:
    if len(tally.structures) > 1:
        (common, often), (rare, seldom) = (
            tally.structures.most_common(1)[0],
            tally.structures.most_common()[-1],
        )
        kinds = f" of {len(tally.structures)} kinds" if len(tally.structures) > 2 else ""
        yield STRUCTURE.found(
            tally.name, f"samples differ{kinds}: {common} ({often:,}) and {rare} ({seldom:,})"
        )


def _of_column(dataset: str, column: ColumnTally, checks: Checks) -> Iterator[Finding]:
    name = column.column.name
    if column.misfits.count:
        wanted = f"{column.column.dtype}{shown_shape(column.column)}"
        text = f"{_samples(column.misfits.count)} not the bytes of {wanted}: {column.misfits.text}"
        yield SCHEMA.found(dataset, text, name)
    missing, rows = column.missing.count, column.num_rows
    if missing > checks.max_missing_fraction * rows:
        text = (
            f"{counted(missing, 'value')} of {rows:,} missing ({missing / rows:.2%}): {column.missing.text}"
        )
        yield MISSING.found(dataset, text, name)
    if column.not_finite.count:
        text = f"{_samples(column.not_finite.count)} NaN or infinity: {column.not_finite.text}"
        yield FINITE.found(dataset, text, name)
    if column.constant.count:
        text = f"{_samples(column.constant.count)} one value throughout: {column.constant.text}"
        yield CONSTANT.found(dataset, text, name)
    if column.is_constant and rows - missing > 1:
        yield CONSTANT_COLUMN.found(dataset, f"all {rows - missing:,} samples have one value", name)
    if column.outside.count and column.bounds is not None:
        low, high = column.bounds
        text = f"{_samples(column.outside.count)} values outside {low:g} to {high:g}: {column.outside.text}"
        span = f"; there are {column.moments.min:g} to {column.moments.max:g}"
        yield RANGE.found(dataset, text + span, name)


def _labels(tally: DatasetTally, checks: Checks) -> Iterator[Finding]:
    if not tally.labels or not checks.num_classes:
        return
    counts, moments = tally.class_counts, tally.columns[tally.labels].moments
    last = checks.num_classes - 1
    if tally.columns[tally.labels].column.kind == "str":
        if len(counts) > checks.num_classes:
            text = f"there are {len(counts)} classes, checks.num_classes is {checks.num_classes}"
            yield LABELS.found(tally.name, text, tally.labels)
        return
    if not counts:
        if moments.count and (moments.min < 0 or moments.max > last):
            text = f"labels go from {moments.min:g} to {moments.max:g}, classes from 0 to {last}"
            yield LABELS.found(tally.name, text, tally.labels)
        return
    wrong = {label: count for label, count in counts.items() if not 0 <= float(label) <= last}
    if wrong:
        text = f"{counted(sum(wrong.values()), 'label')} outside 0 to {last}: {_classes(wrong)}"
        yield LABELS.found(tally.name, text, tally.labels)


def _balance(tally: DatasetTally, checks: Checks) -> Iterator[Finding]:
    counts = tally.class_counts
    total = sum(counts.values())
    is_text = bool(counts) and tally.columns[tally.labels].column.kind == "str"
    if checks.num_classes and counts and not is_text and tally.num_checked == tally.num_samples:
        absent = [str(label) for label in range(checks.num_classes) if str(label) not in counts]
        if absent:
            text = f"{counted(len(absent), 'class')} without a sample: {_listed(absent)}"
            yield CLASSES.found(tally.name, text, tally.labels)
    rare = {label: count for label, count in counts.items() if count < checks.min_class_fraction * total}
    if rare:
        text = f"less than {checks.min_class_fraction:.2%} of {total:,} samples each: {_classes(rare)}"
        yield BALANCE.found(tally.name, text, tally.labels)


def _repeated(tally: DatasetTally) -> Iterator[Finding]:
    again = repeated(tally.inputs)
    if not len(again):
        return
    places = np.flatnonzero(is_among(tally.inputs, again))
    # From here on only rows whose inputs come more than once; equal inputs lie side by side.
    order = np.lexsort((tally.wholes[places], tally.inputs[places]))
    places = places[order]
    inputs, wholes = tally.inputs[places], tally.wholes[places]
    same_inputs, same_wholes = inputs[1:] == inputs[:-1], wholes[1:] == wholes[:-1]
    if num_again := int(np.count_nonzero(same_wholes)):
        first = int(np.flatnonzero(same_wholes)[0])
        pair = sorted(tally.rows(places[first : first + 2]))
        verb = "is" if num_again == 1 else "are"
        text = f"{counted(num_again, 'sample')} {verb} there more than once, such as {pair[0]} and {pair[1]}"
        yield DUPLICATES.found(tally.name, text)
    conflicts = same_inputs & ~same_wholes
    if conflicts.any():
        first = int(np.flatnonzero(conflicts)[0])
        num_inputs = len(np.unique(inputs[1:][conflicts]))
        pair = sorted(tally.rows(places[first : first + 2]))
        verb = "has" if num_inputs == 1 else "have"
        text = f"{counted(num_inputs, 'input')} {verb} different labels, such as {pair[0]} and {pair[1]}"
        yield CONFLICT.found(tally.name, text, tally.labels)


def repeated(hashes: Hashes) -> Hashes:
    """Return the hashes that come more than once, sorted, each once."""
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def is_among(hashes: Hashes, ordered: Hashes) -> npt.NDArray[np.bool_]:
    """Tell which hashes are among some sorted ones; bool, one for each of `hashes`."""
    marks = np.zeros(len(hashes), np.bool_)
    for start in range(0, len(hashes) if len(ordered) else 0, 2**20):
        part = hashes[start : start + 2**20]
        places = np.minimum(np.searchsorted(ordered, part), len(ordered) - 1)
        marks[start : start + 2**20] = ordered[places] == part
    return marks


def _samples(number: int) -> str:
    return f"{counted(number, 'sample')} {'has' if number == 1 else 'have'}"


def _classes(counts: dict[str, int]) -> str:
    return _listed([f"{label} ({count:,})" for label, count in counts.items()])


def _listed(texts: list[str]) -> str:
    return ", ".join(texts[:_MAX_SHOWN]) + (", …" if len(texts) > _MAX_SHOWN else "")
