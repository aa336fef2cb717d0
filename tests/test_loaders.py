"""A loader behaves as torch's `DataLoader` does, with the same batches at any number of workers."""

from __future__ import annotations

import copy
import dataclasses
import gc
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from bessemer.config.settings import Data
from bessemer.data.datasets import Fetched, Fetcher, Recipe
from bessemer.data.iteration import LoaderPass
from bessemer.data.loaders import Loader
from bessemer.data.order import Plan
from bessemer.errors import DataError, UserError
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


# As torch's DataLoader


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 4},
        {"batch_size": 4, "drop_last": True},
        {"batch_size": 4, "shuffle": True},
        {},
        {"batch_size": None},
        {"batch_size": 100},
        {"batch_size": 3, "sampler": SubsetRandomSampler(range(5))},
    ],
    ids=str,
)
def test_a_loader_answers_as_the_data_loader_does(arguments: dict[str, Any]) -> None:
    dataset = Numbers(10)
    torch_loader: DataLoader[int] = DataLoader(dataset, **arguments)
    made = loader(dataset, **arguments)
    assert len(made) == len(torch_loader)
    assert made.dataset is dataset
    assert made.batch_size == torch_loader.batch_size
    assert made.drop_last == torch_loader.drop_last
    assert type(made.sampler) is type(torch_loader.sampler)
    assert len(lists(made)) == len(torch_loader)
    with pytest.raises(AttributeError, match="batchsize"):
        made.batchsize  # noqa: B018


@pytest.mark.parametrize(
    "arguments", [{"batch_size": 4}, {"batch_size": 4, "drop_last": True}, {"batch_size": None}], ids=str
)
def test_batches_in_order_are_those_of_the_data_loader(arguments: dict[str, Any]) -> None:
    assert lists(loader(Numbers(10), **arguments)) == lists(DataLoader(Numbers(10), **arguments))


def test_single_samples_get_no_new_axis() -> None:
    data = TensorDataset(torch.arange(6.0).reshape(3, 2), torch.arange(3))
    ours, theirs = list(loader(data, batch_size=None)), list(DataLoader(data, batch_size=None))
    assert [(x.tolist(), y.tolist()) for x, y in ours] == [(x.tolist(), y.tolist()) for x, y in theirs]
    assert ours[0][0].shape == (2,)


def test_a_collate_function_makes_the_batch() -> None:
    made = loader(Numbers(5), batch_size=2, collate_fn=lambda samples: {"sum": sum(samples)})
    assert list(made) == [{"sum": 1}, {"sum": 5}, {"sum": 4}]


def test_enumerate_counts_the_batches() -> None:
    made = loader(Numbers(5), batch_size=2)
    assert [(i, b.tolist()) for i, b in made.enumerate()] == [(0, [0, 1]), (1, [2, 3]), (2, [4])]
    assert [i for i, _ in made.enumerate(7)] == [7, 8, 9]


def test_a_shuffled_pass_has_every_sample_once_and_each_pass_another_order() -> None:
    made = loader(Numbers(50), batch_size=8, shuffle=True)
    passes = [[i for batch in lists(made) for i in batch] for _ in range(3)]
    assert all(sorted(order) == list(range(50)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3


def test_loaders_of_one_data_set_have_orders_of_their_own() -> None:
    orders = {str(lists(loader(Numbers(50), batch_size=8, shuffle=True, number=n))) for n in range(3)}
    assert len(orders) == 3


def test_the_seed_decides_the_order() -> None:
    def order(seed: int) -> list[Any]:
        generator = torch.Generator().manual_seed(seed)
        return lists(loader(Numbers(50), batch_size=8, shuffle=True, generator=generator))

    assert order(3) == order(3)
    assert order(3) != order(4)


def test_what_was_drawn_before_does_not_decide_the_order() -> None:
    made = loader(Numbers(50), batch_size=8, shuffle=True)
    first = lists(made)
    again = loader(Numbers(50), batch_size=8, shuffle=True)
    torch.rand(100)
    assert lists(again) == first


def test_a_loader_leaves_the_generator_of_the_process_as_it_was() -> None:
    made = loader(Noisy(20), batch_size=4, shuffle=True)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(made)
    assert torch.equal(torch.get_rng_state(), before)


# Workers


@bounded(max_examples=25, deadline=None)
@given(
    num_samples=st.integers(1, 40),
    batch_size=st.integers(3, 12),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    size=st.sampled_from([2, 3]),
)
def test_workers_see_the_batches_that_one_would_see(
    num_samples: int, batch_size: int, shuffle: bool, drop_last: bool, size: int
) -> None:
    if drop_last and num_samples < batch_size:
        num_samples = batch_size

    def make(group: Group) -> Loader[Any]:
        return loader(
            Numbers(num_samples), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, group=group
        )

    whole = on_workers(make, 1, num_passes=2)[0][0]
    parts = on_workers(make, size, num_passes=2)
    assert joined([batches for batches, _ in parts]) == whole
    for fetched in zip(*(fetched for _, fetched in parts), strict=True):
        assert sum(part.num_samples for part in fetched) == fetched[0].num_global


def test_random_transforms_are_alike_at_any_number_of_workers() -> None:
    def make(group: Group) -> Loader[Any]:
        return loader(Noisy(20), batch_size=6, shuffle=True, group=group, collate_fn=list)

    whole = on_workers(make, 1, num_passes=2)[0][0]
    assert joined([batches for batches, _ in on_workers(make, 3, num_passes=2)]) == whole


def test_a_loader_that_is_not_sharded_gives_every_worker_the_whole_batch() -> None:
    whole = lists(loader(Numbers(10), batch_size=4, shuffle=True))
    for rank in range(3):
        made = loader(Numbers(10), batch_size=4, shuffle=True, shard=False, group=Group(rank, 3))
        assert lists(made) == whole


def test_a_sampler_of_the_research_code_is_shared_by_the_workers() -> None:
    def make(group: Group) -> Loader[Any]:
        return loader(Numbers(10), batch_size=4, sampler=[7, 7, 3, 1, 0, 2, 9], group=group)

    assert on_workers(make, 1)[0][0] == [[7, 7, 3, 1], [0, 2, 9]]
    assert joined([batches for batches, _ in on_workers(make, 3)]) == [[7, 7, 3, 1], [0, 2, 9]]


def test_a_batch_sampler_of_the_research_code_is_shared_by_the_workers() -> None:
    def make(group: Group) -> Loader[Any]:
        return loader(Numbers(10), batch_sampler=[[1, 2, 3], [4], [9, 8]], group=group)

    assert len(make(Group())) == 3
    assert on_workers(make, 1)[0][0] == [[1, 2, 3], [4], [9, 8]]
    assert joined([batches for batches, _ in on_workers(make, 2)]) == [[1, 2, 3], [4], [9, 8]]


@pytest.mark.parametrize(
    "sampler",
    [
        lambda data: WeightedRandomSampler([1.0] * 10, 10),
        lambda data: SubsetRandomSampler(range(10)),
        lambda data: RandomSampler(data, replacement=True, num_samples=10),
        lambda data: RandomSampler(data, num_samples=10),
    ],
    ids=["weighted", "subset", "replacement", "plain"],
)
def test_a_random_sampler_draws_another_order_each_pass_and_the_same_each_time(
    sampler: Callable[[Any], Any],
) -> None:
    def orders() -> list[Any]:
        data = Numbers(10)
        made = loader(data, batch_size=3, sampler=sampler(data))
        torch.manual_seed(1)
        return [lists(made) for _ in range(3)]

    first = orders()
    assert first == orders()
    assert len({str(order) for order in first}) == 3


def test_a_sampler_with_fewer_draws_than_samples_is_obeyed() -> None:
    data = Numbers(10)
    made = loader(data, batch_size=3, sampler=RandomSampler(data, num_samples=7))
    drawn = [i for batch in lists(made) for i in batch]
    assert len(drawn) == len(set(drawn)) == 7


def test_a_random_sampler_over_another_source_is_obeyed() -> None:
    # Indices of the sampler's own source, which is not the data set, but as long.
    made = loader(Numbers(10), batch_size=3, sampler=RandomSampler(range(10)))
    assert sorted(i for batch in lists(made) for i in batch) == list(range(10))


def test_a_sequential_sampler_over_part_of_the_data_is_obeyed() -> None:
    made = loader(Numbers(10), batch_size=3, sampler=SequentialSampler(range(7)))
    assert lists(made) == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(made) == 3


def test_a_batch_sampler_of_torch_is_obeyed() -> None:
    sampler = BatchSampler(SequentialSampler(range(10)), batch_size=4, drop_last=True)
    made = loader(Numbers(10), batch_sampler=sampler)
    assert lists(made) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(made) == 2


def test_a_shuffled_batch_sampler_of_torch_is_obeyed() -> None:
    data = Numbers(10)
    made = loader(data, batch_sampler=BatchSampler(RandomSampler(data), batch_size=4, drop_last=False))
    passes = [lists(made) for _ in range(2)]
    assert [[len(batch) for batch in batches] for batches in passes] == [[4, 4, 2]] * 2
    assert all(sorted(i for batch in batches for i in batch) == list(range(10)) for batches in passes)
    assert passes[0] != passes[1]


# Leaving early


def test_an_observer_is_told_of_each_pass_and_batch() -> None:
    observer = Observer()
    list(loader(Numbers(5), batch_size=2, observer=observer))
    assert observer.told == ["started", "batch", *["between", "batch"] * 2, "between", "ended"]


def test_a_loop_that_is_left_is_told_and_the_next_pass_goes_on() -> None:
    observer = Observer()
    made = loader(Numbers(20), batch_size=5, shuffle=True, observer=observer)
    whole = loader(Numbers(20), batch_size=5, shuffle=True)
    for _ in made:
        break
    gc.collect()
    assert observer.told == ["started", "batch", "abandoned"]
    first, second = lists(whole), lists(whole)
    assert first != second
    assert lists(made) == second


def test_a_loop_that_fails_is_told_as_one_that_is_left() -> None:
    observer = Observer()
    made = loader(Numbers(5), batch_size=2, observer=observer)

    def body() -> None:
        for _ in made:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    gc.collect()
    assert observer.told == ["started", "batch", "abandoned"]


def test_a_loop_that_ended_stays_ended() -> None:
    observer = Observer()
    batches = iter(loader(Numbers(2), batch_size=2, observer=observer))
    assert len(list(batches)) == 1
    assert next(batches, None) is None
    assert observer.told.count("ended") == 1


def test_an_iterator_that_is_never_asked_is_no_pass() -> None:
    observer = Observer()
    made = loader(Numbers(6), batch_size=2, shuffle=True, observer=observer)
    iter(made)
    gc.collect()
    assert observer.told == []
    assert lists(made) == lists(loader(Numbers(6), batch_size=2, shuffle=True))


def test_a_silent_loader_yields_nothing_and_does_not_count_as_a_pass() -> None:
    made = loader(Numbers(20), batch_size=5, shuffle=True)
    made.silent = True
    assert list(made) == []
    assert made.passes == 0
    made.silent = False
    assert lists(made) == lists(loader(Numbers(20), batch_size=5, shuffle=True))


def test_a_restored_loader_goes_on_with_the_next_pass() -> None:
    made = loader(Numbers(20), batch_size=5, shuffle=True)
    orders = [lists(made) for _ in range(3)]
    assert made.state_dict() == {"passes": 3}
    again = loader(Numbers(20), batch_size=5, shuffle=True)
    again.load_state_dict({"passes": 2})
    assert lists(again) == orders[2]


# What cannot be trained on


def test_a_batch_smaller_than_the_number_of_workers_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        loader(Numbers(10), batch_size=2, group=Group(0, 3))
    assert "2 samples for 3 workers" in caught.value.found
    assert "shard=False" in caught.value.todo
    loader(Numbers(10), batch_size=2, shard=False, group=Group(0, 3))
    loader(Numbers(10), batch_size=3, group=Group(0, 3))


def test_single_samples_cannot_be_shared() -> None:
    with pytest.raises(UserError, match="batch_size=None"):
        loader(Numbers(10), batch_size=None, group=Group(0, 2))


@pytest.mark.parametrize(
    ("length", "arguments"), [(0, {"batch_size": 2}), (3, {"batch_size": 4, "drop_last": True})]
)
def test_a_loader_without_a_batch_is_refused(length: int, arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"over {length} samples has no batch"):
        loader(Numbers(length), **arguments)


def test_wrong_arguments_are_refused_as_torch_does() -> None:
    with pytest.raises(ValueError, match="mutually exclusive"):
        loader(Numbers(5), shuffle=True, sampler=[1])
    gc.collect()


# The research order

RESEARCH = Data(order="research")


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 4, "shuffle": True},
        {"batch_size": 4, "shuffle": True, "drop_last": True},
        {"batch_size": 4},
        {"batch_size": None, "shuffle": True},
        {"batch_size": 4, "sampler": WeightedRandomSampler([1.0] * 17, 9)},
    ],
    ids=str,
)
def test_the_research_order_is_torchs_own_to_the_bit(arguments: dict[str, Any]) -> None:
    def batches(make: Callable[[], Any]) -> tuple[list[Any], list[int]]:
        made = make()
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)
        result = []
        for _ in range(2):
            for batch in made:
                result.append(repr(batch))
                torch.rand(2)  # the program draws between batches
        return result, torch.get_rng_state().tolist()

    ours = batches(lambda: loader(Noisy(17), settings=RESEARCH, **arguments))
    assert ours == batches(lambda: DataLoader(Noisy(17), **arguments))


def test_the_research_order_takes_iterable_data_sets() -> None:
    assert lists(loader(Endless(), settings=RESEARCH, batch_size=2)) == [[0, 1], [2]]


def test_the_research_order_is_for_one_worker() -> None:
    with pytest.raises(UserError, match="with 2 workers") as caught:
        loader(Numbers(10), settings=RESEARCH, batch_size=4, group=Group(0, 2))
    assert "canonical" in caught.value.todo


# Streams; when one is opened, and when it is left, is up to the feed

# A stream is opened after the first step, for the next position but one.
BLOCKS = Data(block_steps=1)


@pytest.fixture(autouse=True)
def _streams_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine's clock a fake stream may be slower than none, or never be worth it."""
    monkeypatch.setattr("bessemer.data.feed._NUM_COMPARED", 10**9)
    for name in ("_FIRST_LEAD_S", "_LATER_LEAD_S", "_LEAST_S"):
        monkeypatch.setattr(f"bessemer.data.feed.{name}", 0.0)


@pytest.mark.parametrize(("rank", "size"), [(0, 1), (0, 2), (1, 2)])
def test_a_stream_gives_the_same_batches(rank: int, size: int) -> None:
    arguments: dict[str, Any] = {"batch_size": 4, "shuffle": True, "group": Group(rank, size)}
    plain = loader(Noisy(30), collate_fn=list, **arguments)
    streams = Streams(rank, size)
    streamed = loader(Noisy(30), collate_fn=list, settings=BLOCKS, streams=streams, **arguments)
    assert [list(streamed) for _ in range(12)] == [list(plain) for _ in range(12)]
    assert len(streams.opened) == 1
    assert streams.opened[0].asked == list(range(streams.opened[0].start, 96))


def test_a_loader_that_gives_a_single_batch_starts_no_stream() -> None:
    streams = Streams()
    for _ in loader(Numbers(20), batch_size=2, settings=BLOCKS, streams=streams):
        break
    assert streams.opened == []


def test_a_restored_loader_starts_its_stream_where_it_goes_on() -> None:
    streams = Streams()
    made = loader(Numbers(200), batch_size=2, shuffle=True, settings=BLOCKS, streams=streams)
    made.load_state_dict({"passes": 7})
    plain = loader(Numbers(200), batch_size=2, shuffle=True)
    plain.load_state_dict({"passes": 7})
    assert lists(made) == lists(plain)
    assert 701 < streams.opened[0].start < 710


def test_a_stream_is_not_started_before_it_is_needed() -> None:
    streams = Streams()
    made = loader(Numbers(200), batch_size=2, settings=BLOCKS, streams=streams)
    assert streams.opened == []
    made.silent = True
    list(made)
    assert streams.opened == []


def test_closing_a_loader_ends_its_stream_and_a_later_pass_opens_another() -> None:
    streams = Streams()
    made = loader(Numbers(200), batch_size=2, shuffle=True, settings=BLOCKS, streams=streams)
    plain = loader(Numbers(200), batch_size=2, shuffle=True)
    list(made), list(plain)
    made.close()
    assert streams.opened[0].closed
    made.close()
    assert lists(made) == lists(plain)
    assert len(streams.opened) == 2


def test_a_loader_that_goes_away_ends_its_stream() -> None:
    streams = Streams()
    made = loader(Numbers(200), batch_size=2, settings=BLOCKS, streams=streams)
    list(made)
    del made
    gc.collect()
    assert streams.opened[0].closed


def test_what_a_sampler_of_the_research_code_draws_is_streamed_pass_by_pass() -> None:
    def made(streams: Streams | None) -> Loader[Any]:
        sampler = WeightedRandomSampler([1.0, 2.0] * 100, 200)
        return loader(Noisy(200), sampler=sampler, batch_size=1, settings=BLOCKS, streams=streams)

    streams = Streams()
    streamed, plain = made(streams), made(None)
    for number in range(2):
        assert str(list(streamed)) == str(list(plain))
        opened = streams.opened[number]
        assert opened.stop == 200 * (number + 1)
        assert opened.asked == list(range(opened.start, opened.stop))
        assert opened.closed


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
