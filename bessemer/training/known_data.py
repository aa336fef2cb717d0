"""What is known of the data sets of a run's loaders: fingerprints, and samples that were computed once.

Whether stored samples still belong to the program's data the main worker finds out, and all workers do alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from bessemer.config.data_settings import Data
from bessemer.data.changes import signature
from bessemer.data.datasets import fingerprint
from bessemer.data.generators import preserved_generators
from bessemer.data.loaders import Loader
from bessemer.errors import DataError
from bessemer.training.outlet import Outlet
from bessemer.utils.collectives import Group
from bessemer.utils.events import Note


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found for a data set as it was then; held, so that no other gets its identity."""

    dataset: Dataset[Any]
    signature: Any
    samples: Dataset[Any] | None


class KnownData:
    """Finds out once what it is asked again and again; every worker asks alike.

    Args:
        data: settings of the data.
        package: of the project.
        group: the workers.
        outlet: where it is said that there are none, and why.
        takes_stored: whether stored samples are looked for at all.
    """

    def __init__(self, data: Data, package: str, group: Group, outlet: Outlet, takes_stored: bool) -> None:
        self._takes_stored = takes_stored and data.cache != "none" and data.order != "research"
        self._data = data
        self._package = package
        self._group = group
        self._outlet = outlet
        self._found: dict[int, _Found] = {}
        self._fingerprints: dict[int, str] = {}

    def fingerprints(self, loaders: Mapping[int, Loader[Any]]) -> dict[int, str]:
        """Return what each loader's data set holds, by its number; looked at once."""
        with preserved_generators():
            for number, loader in loaders.items():
                dataset = loader.dataset
                if number not in self._fingerprints and hasattr(dataset, "__len__"):
                    self._fingerprints[number] = fingerprint(dataset)
        return dict(self._fingerprints)

    def samples(self, dataset: Dataset[Any], number: int) -> Dataset[Any] | None:
        """Return the stored samples of a loader's data set, or None.

        Args:
            dataset: what the program gave.
            number: of the loader.

        Raises:
            DataError: they are there, and damaged.
        """
        if not self._takes_stored:
            return None
        now, known = signature(dataset), self._found.get(number)
        if known is None or known.dataset is not dataset or known.signature != now:
            known = self._found[number] = _Found(dataset, now, self._look_up(dataset, number))
        return known.samples

    def _look_up(self, dataset: Dataset[Any], number: int) -> Dataset[Any] | None:
        from bessemer.data.prepared.cache import stored

        answer: tuple[Any, str] = None, ""
        if self._group.rank == 0:
            try:
                with preserved_generators():
                    answer = stored(dataset, self._data, self._package, number)
            except DataError as error:
                answer = error, ""
        found, remark = self._group.broadcast_object(answer)
        if isinstance(found, DataError):
            raise found
        if remark:
            self._outlet.event(Note(remark))
        chosen: Dataset[Any] | None = found
        return chosen
