"""The checks between data sets: what is trained on and judged on too, and what is judged only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bessemer.config.data_settings import Checks
from bessemer.data.validation.checks import CLASSES, COLUMNS, LEAK, NEAR_LEAK
from bessemer.data.validation.findings import Finding, counted
from bessemer.data.validation.judging import is_among
from bessemer.data.validation.tally import DatasetTally
from bessemer.errors import nearest

_TRAINING = "train"


def training_of(tallies: Sequence[DatasetTally]) -> DatasetTally | None:
    """Return what is trained on: the data set that is called train, else the first."""
    named = [tally for tally in tallies if tally.name.split("/")[-1] == _TRAINING]
    return next(iter(named or tallies), None)


def compare(train: DatasetTally, other: DatasetTally) -> list[Finding]:
    """Hold a data set against the one that is trained on."""
    return [*_leaks(train, other), *_near_leaks(train, other), *_missing_classes(train, other)]


def unknown_columns(tallies: Sequence[DatasetTally], checks: Checks) -> list[Finding]:
    """Find columns that settings name and that no data set has."""
    known = sorted({name for tally in tallies for name in tally.columns})
    named = [("checks.labels", checks.labels)] if checks.labels else []
    named += [("checks.ranges", name) for name in checks.ranges]
    named += [("checks.identifiers", name) for name in checks.identifiers]
    return [
        COLUMNS.found(
            "settings",
            f"{setting} names {name!r}, which no data have; "
            + (nearest(name, known) or f"there are: {', '.join(known[:20])}"),
            name,
        )
        for setting, name in named
        if known and name not in known
    ]


def _leaks(train: DatasetTally, other: DatasetTally) -> Iterator[Finding]:
    leaked = is_among(other.inputs, np.sort(train.inputs))
    if not leaked.any():
        return
    where = np.flatnonzero(leaked)
    twin = np.flatnonzero(train.inputs == other.inputs[where[0]])
    example = f"such as {other.rows(where[:1])[0]}, which is {train.rows(twin[:1])[0]} there"
    verb = "is" if len(where) == 1 else "are"
    differ = int(np.count_nonzero(~is_among(other.wholes[where], np.sort(train.wholes))))
    labels = f"; {differ:,} of them with another label" if differ and train.labels else ""
    text = f"{counted(len(where), 'sample')} {verb} in {train.name} too, {example}{labels}"
    yield LEAK.found(other.name, text)


def _near_leaks(train: DatasetTally, other: DatasetTally) -> Iterator[Finding]:
    if train.likenesses is None or other.likenesses is None:
        return
    pairs = train.likenesses.near(other.likenesses)
    # What is equal to the last bit is a leak already.
    same = set(other.rows(np.flatnonzero(is_among(other.inputs, np.sort(train.inputs)))))
    pairs = [pair for pair in pairs if pair[1] not in same]
    if pairs:
        mine, theirs = pairs[0]
        verb = "is" if len(pairs) == 1 else "are"
        text = f"{counted(len(pairs), 'sample')} {verb} almost like one of {train.name}"
        yield NEAR_LEAK.found(other.name, f"{text}, such as {theirs}, which is like {mine} there")


def _missing_classes(train: DatasetTally, other: DatasetTally) -> Iterator[Finding]:
    # A class may well be among the samples that were not looked at.
    if not train.class_counts or train.num_checked < train.num_samples:
        return
    missing = [label for label in other.class_counts if label not in train.class_counts]
    if missing:
        text = f"has classes that {train.name} lacks: [{', '.join(missing)}]"
        yield CLASSES.found(other.name, text, other.labels)
