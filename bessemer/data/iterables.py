"""Batches of an iterable data set, which has no positions: the promises as far as they can go.

Every worker iterates over all of it and keeps its slice of each global batch, so batches are the same
at any number of workers. Each sample is drawn with the generators seeded by (key, pass, its place), so a
pass is the same every time if the data set keeps nothing else from pass to pass. What is lost: the work of
reading is not shared, and going on in the middle of a pass reads it again from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from bessemer.data.datasets import Fetched
from bessemer.data.generators import Generators, seed_generators
from bessemer.data.order import mix, share_of
from bessemer.errors import DataError


def iterated(
    loader: DataLoader[Any], key: int, number: int, start: int, rank: int, world_size: int
) -> Iterator[Fetched]:
    """Yield one worker's parts of the global batches of a pass, from a step on.

    The process's generators are left as they were between batches.

    Args:
        loader: the research code's own; its data set is iterable.
        key: 64 bits that seed the generators before each sample.
        number: the pass.
        start: step to begin with.
        rank: the worker.
        world_size: number of workers.

    Raises:
        DataError: the data set or the collate function failed; names the place.
    """
    samples = _Samples(loader.dataset, key, number)
    # Without a batch size the data set makes whole batches itself.
    size = 1 if loader.batch_size is None else loader.batch_size
    for step in range(start + 1):
        batch = samples.take(size)
        if step < start and not batch:
            return
    step = start
    while batch and not (loader.drop_last and len(batch) < size):
        yield _collated(loader, batch, mix(key, number, step, 1), rank, world_size)
        batch = samples.take(size)
        step += 1


class _Samples:
    """A pass over an iterable data set, each sample with generators of its own."""

    def __init__(self, dataset: Any, key: int, number: int) -> None:
        self._name = type(dataset).__qualname__
        self._seed = key, number
        self._place = 0
        before = Generators()
        try:
            seed_generators(mix(*self._seed))
            self._samples = iter(dataset)
        finally:
            before.restore()

    def take(self, size: int) -> list[Any]:
        """Return the next samples, fewer than `size` at the end."""
        before = Generators()
        try:
            return list(islice(self._each(), size))
        except Exception as error:
            raise DataError(
                f"{self._name} failed at its sample {self._place}: {type(error).__name__}: {error}"
            ) from error
        finally:
            before.restore()

    def _each(self) -> Iterator[Any]:
        while True:
            seed_generators(mix(*self._seed, self._place, 0))
            try:
                sample = next(self._samples)
            except StopIteration:
                return
            self._place += 1
            yield sample


def _collated(loader: DataLoader[Any], batch: list[Any], seed: int, rank: int, world_size: int) -> Fetched:
    start, stop = share_of(len(batch), rank, world_size)
    # A worker without a sample computes on the first one, so that every worker takes every step.
    mine = batch[start:stop] or batch[:1]
    before = Generators()
    try:
        seed_generators(seed)
        made = loader.collate_fn(mine[0] if loader.batch_size is None else mine)
    except Exception as error:
        raise DataError(
            f"the collate function failed: {type(error).__name__}: {error}",
            expected="samples of one shape, or a collate_fn that can join them",
        ) from error
    finally:
        before.restore()
    return Fetched(made, stop - start, len(batch))
