"""Loaders that cannot be trained on, and the order of the research code."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    DataLoader,
    WeightedRandomSampler,
)

from bessemer.config.data_settings import Data
from bessemer.errors import UserError
from bessemer.utils.collectives import Group
from loading import Endless, Noisy, Numbers, lists, loader

pytestmark = pytest.mark.usefixtures("streams_at_once")


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
        pytest.param({"batch_size": 4, "sampler": WeightedRandomSampler([1.0] * 17, 9)}, id="weighted"),
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
