"""Samples are fetched alike wherever it happens: their order, their random transforms, their errors."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset, default_collate

from bessemer.data.datasets import (
    NUM_FINGERPRINT_SAMPLES,
    Fetched,
    Fetcher,
    Recipe,
    fingerprint,
    sample,
)
from bessemer.data.generators import preserved_generators, seed_generators
from bessemer.data.order import CanonicalPlan, ListedPlan, Plan
from bessemer.errors import DataError


class Numbers(Dataset[Any]):
    def __init__(self, length: int, transform: Callable[[int], Any] = lambda index: index) -> None:
        self.length = length
        self.transform = transform

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.transform(index)


class OtherNumbers(Numbers):
    """The same samples by another name."""


def noisy(index: int) -> list[float]:
    """A transform that draws from every generator, more for some samples than for others."""
    for _ in range(index % 3):
        random.random()
    return [random.random(), float(np.random.rand()), float(torch.rand(())), float(index)]


class Made:
    """A recipe with its plan."""

    def __init__(self, recipe: Recipe, plan: Plan) -> None:
        self.fetcher = Fetcher(recipe)
        self.plan = plan


def recipe(dataset: Dataset[Any], plan: Plan, key: int = 5, collate: Callable[..., Any] = list) -> Made:
    return Made(Recipe(dataset, key, collate), plan)


def fetch(made: Made, number: int, step: int, rank: int, world_size: int) -> Fetched:
    return made.fetcher.fetch(made.plan, number * made.plan.steps_per_pass + step, rank, world_size)


def plan_of(num_samples: int, batch_size: int, shuffle: bool = True) -> CanonicalPlan:
    return CanonicalPlan(num_samples, batch_size, shuffle, drop_last=False, key=5)


def generators() -> tuple[Any, ...]:
    numpy: Any = np.random.get_state()
    return random.getstate(), numpy[1].tolist(), numpy[2:], torch.get_rng_state().tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 7), st.integers(0, 3))
def test_what_the_workers_fetch_is_what_one_fetches(
    num_samples: int, batch_size: int, world_size: int, number: int
) -> None:
    plan = plan_of(num_samples, batch_size)
    made = recipe(Numbers(num_samples, noisy), plan)
    for step in range(plan.steps_per_pass):
        parts = [fetch(made, number, step, rank, world_size) for rank in range(world_size)]
        joined = [value for part in parts if part.num_samples for value in part.batch]
        assert joined == fetch(made, number, step, 0, 1).batch
        assert sum(part.num_samples for part in parts) == len(joined)
        assert {part.num_global for part in parts} == {len(joined)}


def test_a_worker_without_a_sample_gets_a_stand_in_that_does_not_count() -> None:
    made = recipe(Numbers(2), plan_of(2, 5, shuffle=False), collate=default_collate)
    parts = [fetch(made, 0, 0, rank, 4) for rank in range(4)]
    assert [part.num_samples for part in parts] == [1, 1, 0, 0]
    assert [part.batch.tolist() for part in parts] == [[0], [1], [0], [0]]
    assert {part.num_global for part in parts} == {2}


def test_a_random_transform_gives_the_same_in_whatever_order_batches_are_fetched() -> None:
    made = recipe(Numbers(30, noisy), plan_of(30, 4))
    steps = range(8)
    forwards = {step: fetch(made, 1, step, 0, 1).batch for step in steps}
    seed_generators(99)
    backwards = {step: fetch(made, 1, step, 0, 1).batch for step in reversed(steps)}
    assert forwards == backwards


def test_a_random_transform_gives_the_same_at_any_batch_size() -> None:
    def samples(batch_size: int) -> list[Any]:
        plan = plan_of(30, batch_size)
        made = recipe(Numbers(30, noisy), plan)
        return [s for step in range(plan.steps_per_pass) for s in fetch(made, 1, step, 0, 1).batch]

    assert samples(4) == samples(7) == samples(30)


@pytest.mark.parametrize(
    "draw",
    [
        lambda index: random.random(),
        lambda index: float(np.random.rand()),
        lambda index: float(torch.rand(())),
        lambda index: float(np.random.normal()),
        lambda index: random.gauss(0, 1),
        lambda index: float(torch.randn(16).sum()),
    ],
    ids=["random", "numpy", "torch", "numpy normal", "gauss", "torch normal"],
)
def test_random_transforms_differ_between_passes_and_between_samples(draw: Callable[[int], float]) -> None:
    plan = plan_of(10, 10, shuffle=False)
    passes = [fetch(recipe(Numbers(10, draw), plan), number, 0, 0, 1).batch for number in range(5)]
    drawn = [value for batch in passes for value in batch]
    assert len(set(drawn)) == 50


def rarely(index: int) -> float:
    """Draws for one sample only, and not for the first."""
    return random.random() if index == 7 else float(index)


def forked(index: int) -> float:
    """Draws, and leaves the generators as they were."""
    with torch.random.fork_rng(devices=[]):
        return float(torch.rand(()))


@pytest.mark.parametrize("draw", [rarely, forked])
def test_data_whose_draws_hardly_show_are_drawn_alike_too(draw: Callable[[int], float]) -> None:
    def samples(batch_size: int) -> list[float]:
        made = recipe(Numbers(10, draw), plan_of(10, batch_size, shuffle=False))
        torch.rand(batch_size)
        random.random()
        return [s for step in range(made.plan.steps_per_pass) for s in fetch(made, 1, step, 0, 1).batch]

    found = samples(4)
    assert samples(3) == samples(10) == found
    assert len(set(found)) == 10


def test_random_transforms_differ_between_loaders() -> None:
    first, second = (recipe(Numbers(10, noisy), plan_of(10, 10), key) for key in (1, 2))
    drawn = [{tuple(s[:3]) for s in fetch(made, 0, 0, 0, 1).batch} for made in (first, second)]
    assert not drawn[0] & drawn[1]


def test_a_sample_that_comes_twice_in_a_pass_is_drawn_alike() -> None:
    batch = fetch(recipe(Numbers(10, noisy), ListedPlan(((3, 3, 4),))), 0, 0, 0, 1).batch
    assert batch[0] == batch[1]
    assert batch[0][:3] != batch[2][:3]


def test_fetching_leaves_the_generators_of_the_process_as_they_were() -> None:
    seed_generators(3)
    random.gauss(0, 1)
    np.random.normal()
    before = generators()
    fetch(recipe(Numbers(10, noisy), plan_of(10, 5)), 0, 0, 0, 1)
    assert generators() == before


def test_generators_are_put_back_after_an_error_too() -> None:
    seed_generators(3)
    before = generators()
    with pytest.raises(DataError):
        fetch(recipe(Numbers(10, lambda index: noisy(index)[7]), plan_of(10, 5)), 0, 0, 0, 1)
    with pytest.raises(IndexError), preserved_generators():
        noisy(1)[7]
    assert generators() == before


def test_taking_a_fingerprint_leaves_the_generators_as_they_were() -> None:
    seed_generators(3)
    before = generators()
    fingerprint(Numbers(10, noisy))
    assert generators() == before


def test_seeding_decides_what_every_generator_draws() -> None:
    def drawn(seed: int) -> list[float]:
        seed_generators(seed)
        return noisy(2)

    assert drawn(2**64 - 1) == drawn(2**64 - 1)
    assert not set(drawn(1)[:3]) & set(drawn(2)[:3])


def test_an_error_of_the_data_set_names_the_sample() -> None:
    def fails(index: int) -> int:
        return [0, 1, 2][index]

    plan = ListedPlan(((0, 1), (2, 3)))
    with pytest.raises(DataError) as caught:
        fetch(recipe(Numbers(4, fails), plan), 0, 1, 0, 1)
    assert caught.value.found == "Numbers[3] failed: IndexError: list index out of range"
    assert isinstance(caught.value.__cause__, IndexError)


def test_an_error_of_the_collate_function_names_its_samples() -> None:
    ragged = Numbers(4, lambda index: torch.zeros(index + 1))
    made = recipe(ragged, plan_of(4, 4, shuffle=False), collate=default_collate)
    with pytest.raises(DataError) as caught:
        fetch(made, 0, 0, 0, 1)
    assert "failed on samples [0, 1, 2, 3]: RuntimeError" in caught.value.found
    assert "collate_fn" in caught.value.expected


def test_an_end_of_iteration_in_a_data_set_is_an_error_and_no_end() -> None:
    def ends(index: int) -> int:
        return next(iter([]))

    with pytest.raises(DataError, match="StopIteration"):
        sample(Numbers(4, ends), 0, 1)


def test_a_stop_by_the_user_is_not_disguised_as_an_error_of_the_data() -> None:
    def stopped(index: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(Numbers(4, stopped), 0, 1)


def test_a_data_set_is_asked_with_plain_integers() -> None:
    kinds = fetch(recipe(Numbers(4, type), plan_of(4, 4)), 0, 0, 0, 1).batch
    assert set(kinds) == {int}


# Fingerprints


def test_a_fingerprint_is_the_same_every_time_even_with_random_transforms() -> None:
    seed_generators(1)
    first = fingerprint(Numbers(100, noisy))
    seed_generators(2)
    assert fingerprint(Numbers(100, noisy)) == first
    assert len(first) == 16
    int(first, 16)


def test_a_fingerprint_changes_with_length_class_and_every_chosen_sample() -> None:
    plainly = {index: index for index in range(40)}
    plain = fingerprint(Numbers(40))
    assert fingerprint(Numbers(41)) != plain
    assert fingerprint(OtherNumbers(40)) != plain
    for changed in range(40):
        assert fingerprint(Numbers(40, {**plainly, changed: -1}.__getitem__)) != plain


def test_a_fingerprint_sees_a_change_of_memory_and_not_only_of_shape() -> None:
    def of(value: float) -> str:
        return fingerprint(Numbers(5, lambda index: {"x": torch.full((3,), value), "y": np.ones(2) * index}))

    assert of(1.0) != of(1.0 + 2**-23)
    assert of(1.0) == of(1.0)


def test_a_fingerprint_looks_at_few_samples_of_a_large_set_from_first_to_last() -> None:
    asked: list[int] = []

    def noted(index: int) -> int:
        asked.append(index)
        return index

    fingerprint(Numbers(10**7, noted))
    assert len(asked) == NUM_FINGERPRINT_SAMPLES
    assert (asked[0], asked[-1]) == (0, 10**7 - 1)


def test_an_empty_data_set_has_a_fingerprint() -> None:
    assert fingerprint(Numbers(0)) != fingerprint(Numbers(1))
