"""Samples of a research data set that were computed once: where they are, and whether they may be used.

They may be used where it is proved that equal indices give equal samples, and as long as the inputs and the
code are those that they were made of. `bessemer data preprocess` makes them; a loader reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from bessemer.config.data_settings import Data
from bessemer.data.datasets import draws
from bessemer.data.prepared.dataset import PreparedDataset
from bessemer.data.prepared.determinism import examine
from bessemer.data.prepared.making import Work, current
from bessemer.data.prepared.manifest import PREPARED_FOLDER, Origin
from bessemer.data.prepared.origins import inputs_of, origin_of
from bessemer.errors import DataError

SPLIT = "all"
# Not of the settings: a smaller shard has the same samples in it.
_SHARD_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Candidate:
    """A data set whose samples may be computed once.

    Attributes:
        name: of the data set, for messages.
        folder: where its samples are, or would be.
        origin: what they depend on; None where they cannot be computed once.
        reason: why not, or "".
    """

    name: str
    folder: Path
    origin: Origin | None
    reason: str = ""


def candidate(dataset: Dataset[Any], data: Data, package: str, number: int) -> Candidate:
    """Find out whether the samples of a loader's data set can be computed once.

    Args:
        dataset: of the loader.
        data: settings of the data.
        package: of the project.
        number: of the loader, from 0.
    """
    name = type(dataset).__qualname__
    folder = Path(data.folder) / PREPARED_FOLDER / f"{package}.{number}-{name}"
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return Candidate(name, folder, None, f"{name} has no positions: it is read as a stream")
    examined = examine(dataset)
    if examined.reasons:
        return Candidate(name, folder, None, examined.reasons[0])
    try:
        if len(dataset) and any(draws(dataset, place) for place in (0, len(dataset) - 1)):
            return Candidate(name, folder, None, f"{name}[0] differs from one time to the next")
        inputs = inputs_of(dataset)
    except DataError as error:
        return Candidate(name, folder, None, error.found)
    return Candidate(name, folder, origin_of(inputs, examined, {"kind": "samples"}))


def work_of(dataset: Dataset[Any], chosen: Candidate) -> Work:
    """Return what has to be done to compute the samples of a data set once."""
    assert chosen.origin is not None
    return Work(chosen.name, dataset, None, chosen.origin, (SPLIT,), None, _SHARD_BYTES)


def stored(
    dataset: Dataset[Any], data: Data, package: str, number: int
) -> tuple[PreparedDataset | None, str]:
    """Return the stored samples of a loader's data set; or None and a remark for the user.

    Raises:
        DataError: they are there, and damaged.
    """
    found = candidate(dataset, data, package, number)
    if found.origin is None:
        return None, ""
    manifest, changes = current(found.folder, found.origin)
    if manifest is None:
        why = "were never prepared" if changes == ("new",) else f"have changed ({', '.join(changes)})"
        return None, f"samples of {found.name} {why} and are made in each pass; `bessemer data preprocess`"
    return PreparedDataset(found.folder, SPLIT), ""
