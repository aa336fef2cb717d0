"""Looks at the data that a program trains on before it does: can it be read, is it finite, is it alike?

Named checks over the samples of a data set; each finding says how bad it is and where. What is
checked here is what any map-style data set has: samples that can be fetched, of one structure, with
finite values that are not all the same, and classes that all occur in training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.utils._pytree import tree_flatten
from torch.utils.data import Dataset

from bessemer.data.datasets import sample
from bessemer.data.generators import preserved_generators
from bessemer.data.order import mix
from bessemer.data.wire import encode
from bessemer.errors import DataError

_MAX_CLASSES = 1000


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        severity: errors make training wrong or impossible, warnings may.
        check: name of the check.
        text: what was found, with numbers and the first samples concerned.
    """

    severity: Literal["error", "warning"]
    check: str
    text: str


@dataclass(frozen=True)
class DataReport:
    """What is in one data set.

    Attributes:
        name: how the program calls it, or its class.
        num_samples: its length (count).
        num_checked: samples that were looked at (count).
        structure: shape and dtype of each part of a sample.
        class_counts: samples of each class, where the last part of a sample is a class (counts).
        hashes: content hash of each sample that was looked at.
        findings: what is wrong.
    """

    name: str
    num_samples: int
    num_checked: int
    structure: tuple[str, ...]
    class_counts: dict[int, int]
    hashes: frozenset[int]
    findings: tuple[Finding, ...]


def validate(dataset: Dataset[Any], name: str, max_samples: int) -> DataReport:
    """Check up to `max_samples` samples, spread evenly over a data set.

    Args:
        dataset: any map-style data set.
        name: for the report.
        max_samples: the most that are looked at (count).
    """
    length = len(dataset)  # type: ignore[arg-type]
    chosen = np.unique(np.linspace(0, max(length - 1, 0), min(length, max_samples)).astype(np.int64))
    unreadable: list[str] = []
    structures: Counter[tuple[str, ...]] = Counter()
    not_finite: list[int] = []
    constant: list[int] = []
    classes: Counter[int] = Counter()
    hashes: list[int] = []
    with preserved_generators():
        for index in chosen.tolist() if length else []:
            try:
                value = sample(dataset, index, mix(0, index))
            except DataError as error:
                unreadable.append(error.found)
                continue
            parts = [_array(part) for part in tree_flatten(value)[0]]
            structures[tuple(f"{part.dtype}{list(part.shape)}" for part in parts)] += 1
            numeric = [part for part in parts if part.dtype.kind == "f"]
            if any(not np.isfinite(part).all() for part in parts if part.dtype.kind in "fc"):
                not_finite.append(index)
            if any(part.size > 1 and part.min() == part.max() for part in numeric):
                constant.append(index)
            if len(parts) > 1 and parts[-1].size == 1 and parts[-1].dtype.kind in "iu":
                classes[int(parts[-1].item())] += 1
            head, buffers = encode(value)
            hashes.append(hash((head, *map(bytes, buffers))))
    findings = list(_findings(length, unreadable, structures, not_finite, constant, hashes))
    return DataReport(
        name=name,
        num_samples=length,
        num_checked=len(chosen) if length else 0,
        structure=structures.most_common(1)[0][0] if structures else (),
        class_counts=dict(sorted(classes.items())) if len(classes) <= _MAX_CLASSES else {},
        hashes=frozenset(hashes),
        findings=tuple(findings),
    )


def overlap(train: DataReport, other: DataReport) -> Finding | None:
    """Find samples that are in the training data and in another data set too."""
    shared = len(train.hashes & other.hashes)
    if not shared:
        return None
    return Finding("error", "leak", f"{shared} samples of {other.name} are in {train.name} too")


def missing_classes(train: DataReport, other: DataReport) -> Finding | None:
    """Find classes that are judged but never trained."""
    missing = sorted(set(other.class_counts) - set(train.class_counts))
    if not missing or not train.class_counts or train.num_checked < train.num_samples:
        return None
    return Finding("warning", "classes", f"{other.name} has classes that {train.name} lacks: {missing}")


def _findings(
    length: int,
    unreadable: list[str],
    structures: Counter[tuple[str, ...]],
    not_finite: list[int],
    constant: list[int],
    hashes: list[int],
) -> Iterator[Finding]:
    if not length:
        yield Finding("error", "empty", "there is no sample")
    if unreadable:
        yield Finding("error", "readable", f"{len(unreadable)} samples fail: {unreadable[0]}")
    if len(structures) > 1:
        common, rare = structures.most_common(1)[0], structures.most_common()[-1]
        yield Finding(
            "warning",
            "structure",
            f"samples differ: {', '.join(common[0])} ({common[1]}) and {', '.join(rare[0])} ({rare[1]})",
        )
    if not_finite:
        yield Finding("error", "finite", f"{len(not_finite)} samples have NaN or infinity: {not_finite[:5]}")
    if constant:
        yield Finding(
            "warning",
            "constant",
            f"{len(constant)} samples have one value throughout: {constant[:5]}",
        )
    if duplicates := len(hashes) - len(set(hashes)):
        yield Finding("warning", "duplicates", f"{duplicates} samples are there more than once")


def _array(part: Any) -> np.ndarray[Any, Any]:
    if not isinstance(part, torch.Tensor):
        return np.asarray(part)
    part = part.detach().cpu().resolve_conj().resolve_neg()
    # NumPy has no bfloat16; nothing that is checked is lost in a wider type.
    array: np.ndarray[Any, Any] = (part.float() if part.dtype is torch.bfloat16 else part).numpy()
    return array
