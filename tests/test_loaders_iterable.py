"""Iterable data sets, and data sets that the program changes between epochs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    IterableDataset,
)

from bessemer.data.loaders import Loader
from bessemer.errors import DataError
from bessemer.utils.collectives import Group
from loading import BLOCKS, Endless, Numbers, Streams, joined, lists, loader, on_workers

pytestmark = pytest.mark.usefixtures("streams_at_once")


# Iterable data sets


class Lines(IterableDataset[Any]):
    """Shuffles what it reads, and draws for each sample."""

    def __init__(self, length: int = 23) -> None:
        self.length = length
        self.read = 0

    def __iter__(self) -> Iterator[Any]:
        numbers = list(range(self.length))
        random.shuffle(numbers)
        for number in numbers:
            self.read += 1
            yield [number, random.random() + np.random.rand() + torch.rand(()).item()]


def test_an_iterable_data_set_gives_the_same_batches_at_any_number_of_workers() -> None:
    def made(group: Group) -> Loader[Any]:
        return loader(Lines(), batch_size=5, group=group, collate_fn=list)

    ((alone, fetched),) = on_workers(made, 1, num_passes=2)
    assert [sorted(line[0] for batch in pass_ for line in batch) for pass_ in (alone[:5], alone[5:])] == [
        list(range(23))
    ] * 2
    assert alone[:5] != alone[5:]
    assert [f.num_global for f in fetched] == [5, 5, 5, 5, 3] * 2
    for size in (2, 3, 4, 5):
        parts = on_workers(made, size, num_passes=2)
        assert joined([batches for batches, _ in parts]) == alone
        assert [sum(f.num_samples for f in step) for step in zip(*(f for _, f in parts), strict=True)] == [
            f.num_global for f in fetched
        ]


@pytest.mark.parametrize("step", range(6))
def test_a_pass_over_an_iterable_data_set_goes_on_anywhere(step: int) -> None:
    whole = list(loader(Lines(), batch_size=5, collate_fn=list))
    again = loader(Lines(), batch_size=5, collate_fn=list)
    assert [fetched.batch for fetched in again.batches(0, step)] == whole[step:]


def test_an_iterable_data_set_obeys_the_arguments_of_its_loader() -> None:
    assert [len(b) for b in loader(Lines(), batch_size=5, drop_last=True, collate_fn=list)] == [5, 5, 5, 5]
    assert len(list(loader(Lines(), batch_size=None))) == 23
    assert lists(loader(Endless(), batch_size=2)) == [[0, 1], [2]]


def test_a_loader_over_an_iterable_data_set_reads_no_more_than_it_gives() -> None:
    dataset = Lines(1000)
    batches = iter(loader(dataset, batch_size=5, collate_fn=list))
    next(batches)
    assert dataset.read == 5


def test_an_iterable_data_set_leaves_the_generators_as_they_were() -> None:
    torch.manual_seed(5)
    made = loader(Lines(), batch_size=4, collate_fn=list)
    random.seed(5)
    before = torch.get_rng_state(), random.getstate()
    list(made)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_an_iterable_data_set_is_said_to_cost_more_and_one_with_positions_is_not() -> None:
    assert "reads all of it" in (loader(Lines(), batch_size=2).remark or "")
    assert loader(Numbers(5), batch_size=2).remark is None
    assert loader(Lines(), batch_size=2).num_batches is None


def test_a_failing_iterable_data_set_is_named_with_its_place() -> None:
    class Broken(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            yield 0
            raise ValueError("no more")

    with pytest.raises(DataError, match=r"Broken failed at its sample 1: ValueError: no more"):
        list(loader(Broken(), batch_size=1))


class Resampled(Numbers):
    """What the program does to it between epochs decides what it gives."""

    def __init__(self) -> None:
        super().__init__(40)
        self.factor = 1
        self.order = np.arange(40)
        self.inner: list[Any] = [{"shift": torch.zeros(1)}]
        self.cache: dict[int, int] = {}

    def __getitem__(self, index: int) -> int:
        self.cache[index] = index
        return int(self.order[index]) * self.factor + int(self.inner[0]["shift"])


def _times_two(dataset: Resampled) -> None:
    dataset.factor *= 2


def _shuffled(dataset: Resampled) -> None:
    np.random.shuffle(dataset.order)


def _shifted(dataset: Resampled) -> None:
    dataset.inner[0]["shift"] += 1


@pytest.mark.parametrize("change", [_times_two, _shuffled, _shifted])
def test_a_data_set_that_the_program_changes_between_epochs_is_sent_again(
    change: Callable[[Resampled], None],
) -> None:
    def seen(streams: Streams | None) -> list[list[int]]:
        dataset = Resampled()
        made = loader(dataset, batch_size=2, shuffle=True, settings=BLOCKS, streams=streams)
        np.random.seed(3)
        epochs = []
        for _ in range(3):
            epochs.append([int(value) for batch in made for value in batch])
            change(dataset)
        return epochs

    streams = Streams()
    streams.copies = True
    assert seen(streams) == seen(None)
    assert len(streams.opened) == 3


def test_a_data_set_that_only_fills_its_cache_is_sent_once() -> None:
    streams = Streams()
    made = loader(Resampled(), batch_size=2, settings=BLOCKS, streams=streams)
    for _ in range(3):
        list(made)
    assert len(streams.opened) == 1
