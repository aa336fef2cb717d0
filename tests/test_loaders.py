"""A loader behaves as torch's `DataLoader` does, with the same batches at any number of workers."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from bessemer.data.loaders import Loader
from bessemer.utils.collectives import Group
from loading import Noisy, Numbers, Observer, joined, lists, loader, on_workers

pytestmark = pytest.mark.usefixtures("streams_at_once")


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
        pytest.param({"batch_size": 3, "sampler": SubsetRandomSampler(range(5))}, id="a subset"),
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


def test_far_more_samples_can_be_drawn_than_memory_would_hold() -> None:
    def make(group: Group) -> Loader[Any]:
        data = Numbers(10)
        sampler = RandomSampler(data, replacement=True, num_samples=int(1e12))
        return loader(data, batch_size=6, sampler=sampler, group=group)

    whole = make(Group())
    assert len(whole) == -(-int(1e12) // 6)
    batches = [lists([batch])[0] for batch, _ in zip(whole, range(50), strict=False)]
    assert {len(batch) for batch in batches} == {6}
    assert {i for batch in batches for i in batch} == set(range(10))


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
