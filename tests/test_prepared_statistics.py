"""What columns hold, gathered by shards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bessemer.data.prepared.manifest import Column
from bessemer.data.prepared.statistics import MAX_COUNTED, merge, summarise

FLOATS = Column(name="x", kind="float")
INTS = Column(name="x", kind="int")
FINITE = st.floats(-1e6, 1e6)


@given(st.lists(st.lists(FINITE, min_size=1, max_size=20), min_size=1, max_size=6))
def test_shards_add_up_to_what_the_whole_column_has(shards: list[list[float]]) -> None:
    found = merge([summarise(FLOATS, shard) for shard in shards])
    whole = np.array([value for shard in shards for value in shard])
    assert (found.min, found.max) == (whole.min(), whole.max())
    assert found.mean == pytest.approx(whole.mean(), abs=1e-6)
    assert found.std == pytest.approx(whole.std(), rel=1e-6, abs=1e-6)


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=20), min_size=1, max_size=6))
def test_classes_are_counted(shards: list[list[int]]) -> None:
    found = merge([summarise(INTS, shard) for shard in shards])
    whole = [value for shard in shards for value in shard]
    assert found.counts == {str(value): whole.count(value) for value in sorted(set(whole))}


def test_a_large_mean_costs_no_digits() -> None:
    values = [1e9 + number % 2 for number in range(1000)]
    found = merge([summarise(FLOATS, values[:300]), summarise(FLOATS, values[300:])])
    assert found.std == pytest.approx(0.5, rel=1e-9)


def test_missing_and_not_finite_samples_are_counted_and_left_out() -> None:
    column = Column(name="x", kind="array", dtype="float32", shape=(2,))
    values: list[Any] = [
        np.array([1.0, 2.0]),
        None,
        np.array([math.nan, math.inf]),
        np.array([3.0, math.nan]),
    ]
    found = merge([summarise(column, values)])
    assert (found.num_missing, found.num_not_finite) == (1, 2)
    assert (found.min, found.max, found.mean) == (1.0, 3.0, 2.0)


def test_too_many_different_values_are_not_counted() -> None:
    first, second = list(range(MAX_COUNTED)), [MAX_COUNTED]
    assert merge([summarise(INTS, first)]).counts != {}
    assert merge([summarise(INTS, first), summarise(INTS, second)]).counts == {}


def test_texts_are_counted_and_nothing_else_is_said_of_them() -> None:
    found = merge([summarise(Column(name="x", kind="str"), ["b", "a", "b"])])
    assert found.counts == {"a": 1, "b": 2}
    assert found.mean is None


@given(st.lists(FINITE, min_size=1, max_size=400), st.integers(1, 5))
def test_quantiles_are_values_of_the_column_near_their_place(values: list[float], num_shards: int) -> None:
    shards = [values[number::num_shards] for number in range(num_shards)]
    found = merge([summarise(FLOATS, shard) for shard in shards if shard]).quantiles
    assert len(found) == 11
    assert list(found) == sorted(found)
    for number, value in enumerate(found):
        below = sum(each < value for each in values) / len(values)
        upto = sum(each <= value for each in values) / len(values)
        assert below - 1e-9 <= number / 10 <= upto + 1e-9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.bool])
def test_tensors_of_every_kind_of_number_have_moments(dtype: torch.dtype) -> None:
    column = Column(name="x", kind="tensor", dtype=str(dtype)[6:], shape=(4,))
    found = merge([summarise(column, [torch.tensor([0, 1, 1, 0]).to(dtype)] * 3000)])
    assert (found.min, found.max, found.mean, found.std) == (0.0, 1.0, 0.5, 0.5)
