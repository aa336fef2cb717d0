"""Fetches the samples of a plan from the researcher's own `Dataset`, with its own collate function.

The same few lines serve every source of batches: a Ray Data task, the training process, a test.
Random transforms are seeded by (key, pass, sample id) for each sample, so a batch has the same
content wherever it is fetched, and however many workers share the work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from bessemer.data.generators import Generators, preserved_generators, seed_generators
from bessemer.data.order import Plan, mix, share_of
from bessemer.data.sources.base import Source, Values
from bessemer.data.wire import encode
from bessemer.errors import DataError

NUM_FINGERPRINT_SAMPLES = 64


@dataclass(frozen=True, eq=False)
class Recipe:
    """With a plan, all that is needed to make any batch of a loader, anywhere.

    Attributes:
        dataset: the researcher's map-style data set.
        key: 64 bits that seed the random transforms.
        collate_fn: makes a batch from a list of samples.
        worker_init_fn: called once with 0 in each process that only fetches, or None.
    """

    dataset: Dataset[Any]
    key: int
    collate_fn: Callable[[list[Any]], Any]
    worker_init_fn: Callable[[int], None] | None = None


@dataclass(frozen=True)
class Fetched:
    """One worker's part of one global batch.

    Attributes:
        batch: what the collate function returned.
        num_samples: real samples of this worker (count); 0 where the global batch has fewer
            samples than there are workers: then `batch` holds a stand-in that must not count.
        num_global: samples of the whole global batch (count).
    """

    batch: Any
    num_samples: int
    num_global: int


class Fetcher:
    """Makes batches of one recipe in this process; the process's generators are left as they were.

    Seeding the generators before each sample costs more than a cheap sample does. So it is done only
    for data that draw: as long as no sample has moved a generator, none is seeded.

    Args:
        recipe: what is made.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._draws: bool | None = None

    def fetch(self, plan: Plan, position: int, rank: int, world_size: int) -> Fetched:
        """Make one worker's part of the global batch at a position; see `fetch_all`."""
        return self.fetch_all(plan, range(position, position + 1), rank, world_size)[0]

    def fetch_all(self, plan: Plan, positions: range, rank: int, world_size: int) -> list[Fetched]:
        """Make one worker's parts of the global batches at some positions; several at once cost less.

        Args:
            plan: which samples form which batch.
            positions: step s of pass p is at p * plan.steps_per_pass + s.
            rank: the worker.
            world_size: number of workers.

        Raises:
            DataError: the data set or the collate function failed; names the sample.
        """
        wanted = [_part(plan, position, rank, world_size) for position in positions]
        batches = self._in_columns(wanted)
        if batches is None:
            batches = self._row_by_row(wanted)
        return [
            Fetched(batch, part.num_samples, part.num_global)
            for part, batch in zip(wanted, batches, strict=True)
        ]

    def _in_columns(self, wanted: Sequence[_Part]) -> list[Any] | None:
        """Make batches of rows that lie in columns: the same that collating them row by row gives.

        Returns:
            None where samples or batches are made by somebody's own function, or rows do not lie so.
        """
        dataset = self.recipe.dataset
        if not isinstance(dataset, Source) or self.recipe.collate_fn is not default_collate:
            return None
        batches: list[Any] = []
        for part in wanted:
            columns = dataset.gather(part.ids)
            if columns is None:
                return None
            batches.append(self._checked(part, columns, _tensors))
        return batches

    def _row_by_row(self, wanted: Sequence[_Part]) -> list[Any]:
        own_collate = self.recipe.collate_fn is not default_collate
        before, touched = Generators(), True
        try:
            samples = self._samples(wanted, before)
            touched = own_collate or bool(self._draws)
            return [self._collated(part, own) for part, own in zip(wanted, samples, strict=True)]
        finally:
            if touched:
                before.restore()

    def _samples(self, wanted: Sequence[_Part], before: Generators) -> list[list[Any]]:
        dataset, key = self.recipe.dataset, self.recipe.key
        if self._draws is None:
            self._draws = draws(dataset, wanted[0].ids[0])
            before.restore()
        if not self._draws:
            samples = [[get_sample(dataset, index) for index in part.ids] for part in wanted]
            if Generators() == before:
                return samples
            self._draws = True
        return [
            [sample(dataset, index, mix(key, part.number, index)) for index in part.ids] for part in wanted
        ]

    def _collated(self, part: _Part, samples: list[Any]) -> Any:
        recipe = self.recipe
        if recipe.collate_fn is not default_collate:
            # One of the research code's own may draw, for example to mask tokens.
            seed_generators(mix(recipe.key, part.number, part.ids[0], 1))
        return self._checked(part, samples, recipe.collate_fn)

    def _checked(self, part: _Part, samples: Any, collate: Callable[[Any], Any]) -> Any:
        try:
            return collate(samples)
        except Exception as error:
            raise DataError(
                f"the collate function failed on samples {part.ids}: {_named(error)}",
                expected="samples of one shape, or a collate_fn that can join them",
            ) from error


def _tensors(columns: dict[str, Values]) -> dict[str, Any]:
    """Collate columns as `default_collate` collates rows."""
    return {
        name: torch.from_numpy(values) if isinstance(values, np.ndarray) else default_collate(values)
        for name, values in columns.items()
    }


@dataclass(frozen=True)
class _Part:
    """One worker's part of a global batch, as its plan has it."""

    number: int
    ids: list[int]
    num_samples: int
    num_global: int


def _part(plan: Plan, position: int, rank: int, world_size: int) -> _Part:
    number, step = divmod(position, plan.steps_per_pass)
    ids = plan.batch(number, step)
    start, stop = share_of(len(ids), rank, world_size)
    # A worker without a sample computes on the first one, so that every worker takes every step.
    mine: list[int] = (ids[start:stop] if stop > start else ids[:1]).tolist()
    return _Part(number, mine, stop - start, len(ids))


def draws(dataset: Dataset[Any], index: int) -> bool:
    """Whether a sample depends on the random generators, as far as two looks at it tell.

    Also found are samples that put the generators back, or ask for torch's seed.

    Raises:
        DataError: the data set failed on that index.
    """
    seen = []
    for seed in (0, 1):
        value = sample(dataset, index, seed)
        after = Generators()
        seed_generators(seed)
        if after != Generators():
            return True
        seen.append(_bytes_of(value))
    return seen[0] is None or seen[0] != seen[1]


def _bytes_of(value: Any) -> list[bytes] | None:
    try:
        head, buffers = encode(value)
    except Exception:  # what cannot be pickled cannot be compared
        return None
    # The next sample may be put into the same memory.
    return [head, *map(bytes, buffers)]


def sample(dataset: Dataset[Any], index: int, seed: int) -> Any:
    """Return `dataset[index]` with every random generator seeded by `seed` just before.

    Raises:
        DataError: the data set failed on that index.
    """
    seed_generators(seed)
    return get_sample(dataset, index)


def get_sample(dataset: Dataset[Any], index: int) -> Any:
    """Return `dataset[index]`.

    Raises:
        DataError: the data set failed on that index; names it.
    """
    try:
        return dataset[index]
    except DataError:
        raise
    except Exception as error:
        name = type(dataset).__qualname__
        raise DataError(f"{name}[{index}] failed: {_named(error)}") from error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def fingerprint(dataset: Dataset[Any]) -> str:
    """Hash what a data set holds: its class, its length and up to 64 samples spread over it.

    Cheap enough for every run; a change of a sample that is not among the 64 goes unnoticed. Of a native
    source they come from few groups, since each is read whole; how rows are grouped counts as well.

    Returns:
        16 hexadecimal digits.
    """
    length = len(dataset)  # type: ignore[arg-type]
    digest = hashlib.sha256(f"{type(dataset).__qualname__} {length}".encode())
    if isinstance(dataset, Source):
        digest.update(repr(dataset.group_sizes).encode())
        chosen = dataset.spread(NUM_FINGERPRINT_SAMPLES)
    else:
        chosen = np.unique(np.linspace(0, length - 1, NUM_FINGERPRINT_SAMPLES).astype(np.int64)).tolist()
    with preserved_generators():
        for index in chosen if length else []:
            head, buffers = encode(sample(dataset, index, mix(0, index)))
            digest.update(head)
            for buffer in buffers:
                digest.update(buffer)
    return digest.hexdigest()[:16]
