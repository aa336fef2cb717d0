"""Loaders over small data sets, with an observer and with streams that are no more than lists."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    Dataset,
    IterableDataset,
)

from bessemer.config.data_settings import Data
from bessemer.data.datasets import Fetched, Fetcher, Recipe
from bessemer.data.iteration import LoaderPass
from bessemer.data.loaders import Loader
from bessemer.data.order import Plan
from bessemer.utils.collectives import Group


class Numbers(Dataset[int]):
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


class Endless(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


class Noisy(Numbers):
    """Draws from every generator, as augmentations do."""

    def __getitem__(self, index: int) -> Any:
        return [index + random.random(), index + np.random.rand(), index + torch.rand(()).item()]


class Observer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fetched: list[Fetched] = []

    def pass_started(self, entered: LoaderPass[Any]) -> bool:
        self.told.append("started")
        return True

    def between_batches(self, entered: LoaderPass[Any]) -> None:
        self.told.append("between")

    def batch_ready(self, entered: LoaderPass[Any], fetched: Fetched, waited_s: float) -> None:
        assert waited_s >= 0
        self.told.append("batch")
        self.fetched.append(fetched)

    def pass_ended(self, entered: LoaderPass[Any]) -> None:
        self.told.append("ended")

    def pass_abandoned(self, serial: int) -> None:
        self.told.append("abandoned")


class FakeSource:
    """A stream that fetches in this process, and knows where it began and what it was asked."""

    opened: list[FakeSource]

    def __init__(
        self, recipe: Recipe, plan: Plan, start: int, stop: int | None, place: tuple[int, int]
    ) -> None:
        self.fetcher = Fetcher(recipe)
        self.plan = plan
        self.start = self.position = start
        self.stop = stop
        self.place = place
        self.asked: list[int] = []
        self.has_delivered = True
        self.closed = False

    def is_ready(self, position: int) -> bool:
        self.position = position
        return True

    def get(self, position: int) -> Fetched:
        assert not self.closed
        assert self.stop is None or position < self.stop
        self.asked.append(position)
        self.position = position + 1
        return self.fetcher.fetch(self.plan, position, *self.place)

    def close(self) -> None:
        self.closed = True


class Streams:
    """Opens fake sources and keeps them."""

    least_share = 0.0

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.place = (rank, world_size)
        self.copies = False
        self.opened: list[FakeSource] = []

    def __call__(
        self, recipe: Recipe, plan: Plan, start: int, stop: int | None, block_steps: int
    ) -> FakeSource:
        if self.copies:  # as other processes do
            recipe = dataclasses.replace(recipe, dataset=copy.deepcopy(recipe.dataset))
        source = FakeSource(recipe, plan, start, stop, self.place)
        self.opened.append(source)
        return source


INLINE = Data(source="inline")
ALONE = Group()


def loader(
    dataset: Dataset[Any],
    *,
    shard: bool = True,
    number: int = 0,
    settings: Data = INLINE,
    group: Group = ALONE,
    observer: Observer | None = None,
    streams: Streams | None = None,
    **arguments: Any,
) -> Loader[Any]:
    torch.manual_seed(1)
    return Loader(
        {"dataset": dataset, **arguments},
        shard=shard,
        number=number,
        settings=settings,
        group=group,
        observer=observer or Observer(),
        open_source=streams,
    )


def lists(batches: Any) -> list[Any]:
    return [batch.tolist() if isinstance(batch, torch.Tensor) else batch for batch in batches]


def joined(parts: list[list[Any]]) -> list[Any]:
    """Put the parts of the workers together, batch by batch."""
    return [[value for part in batch for value in part] for batch in zip(*parts, strict=True)]


def on_workers(
    make: Callable[[Group], Loader[Any]], size: int, num_passes: int = 1
) -> list[tuple[list[Any], list[Fetched]]]:
    """Each worker's batches without stand-ins; every worker's loader is in this process."""
    results = []
    for rank in range(size):
        made = make(Group(rank, size))
        observer = made._observer
        assert isinstance(observer, Observer)
        batches = [batch for _ in range(num_passes) for batch in lists(made)]
        counted = [f.num_samples > 0 for f in observer.fetched]
        results.append(
            ([b if counts else [] for b, counts in zip(batches, counted, strict=True)], observer.fetched)
        )
    return results


# A stream is opened after the first step, for the next position but one.
BLOCKS = Data(block_steps=1)
