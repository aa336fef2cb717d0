"""Samples become columns and samples again, to the last bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bessemer.data.prepared.manifest import Column
from bessemer.data.prepared.schema import (
    ColumnReader,
    assemble,
    common_column,
    common_shape,
    encode_column,
    leaves_of,
    structure_of,
)
from bessemer.errors import DataError

DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64")
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(),
    st.binary(),
)


@st.composite
def leaves(draw: st.DrawFn) -> list[Any]:
    """Some leaves of one column: of one kind, of any shape, some of them missing."""
    kind = draw(st.sampled_from(("plain", "tensor", "array", "scalar")))
    count = draw(st.integers(1, 5))
    if kind == "plain":
        first = draw(PLAIN)
        same = PLAIN.filter(lambda value: value is None or type(value) is type(first))
        return [first, *draw(st.lists(same, min_size=count, max_size=count))]
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shapes = (
        st.just(())
        if kind == "scalar"
        else arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    )
    found: list[Any] = [draw(arrays.arrays(dtype, draw(shapes))) for _ in range(count)]
    if kind == "tensor":
        found = [torch.from_numpy(value.copy()) for value in found]
    if kind == "scalar":
        found = [value[()] for value in found]
    return [None if draw(st.booleans()) and draw(st.booleans()) else value for value in found]


def same(one: Any, other: Any) -> bool:
    """Whether two leaves are of one type and have the same bytes."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and same(one.numpy(), other.numpy())
    if isinstance(one, np.ndarray | np.generic):
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and bool(one.tobytes() == other.tobytes())
    return repr(one) == repr(other)


def stored(values: list[Any], name: str = "x") -> ColumnReader:
    column, stored_arrays = encode_column(name, values)
    return ColumnReader(column, dict(stored_arrays))


@given(leaves())
def test_every_leaf_comes_back_as_it_was(values: list[Any]) -> None:
    reader = stored(values)
    assert all(same(reader[row], value) for row, value in enumerate(values))


@given(
    st.recursive(
        PLAIN,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        ),
        max_leaves=6,
    )
)
def test_a_sample_of_any_nesting_is_put_together_again(sample: Any) -> None:
    structure = structure_of(sample)
    found = leaves_of(sample, structure)
    again = assemble(json.loads(structure), found.__getitem__)
    assert repr(again) == repr(sample)
    assert type(again) is type(sample)


def test_tensors_of_half_the_usual_precision_come_back_too() -> None:
    value = torch.tensor([1.5, -2.25], dtype=torch.bfloat16)
    assert torch.equal(stored([value])[0], value)


def test_what_is_read_has_memory_of_its_own() -> None:
    reader = stored([torch.zeros(3), torch.ones(3)])
    reader[0].add_(5)
    assert torch.equal(reader[0], torch.zeros(3))


def test_a_big_endian_array_keeps_its_dtype() -> None:
    value = np.array([1, 2, 3], dtype=">i4")
    assert stored([value])[0].dtype == value.dtype


@pytest.mark.parametrize(
    ("sample", "named"),
    [
        ((1, object()), "object at '1'"),
        ({"a": {1: 2}}, "dict at 'a'"),
        ([torch.zeros(2, requires_grad=True)], "Tensor at '0'"),
        (np.array([object()]), "ndarray"),
        ({"a/b": 1}, "dict"),
    ],
)
def test_what_cannot_be_stored_is_named_with_its_place(sample: Any, named: str) -> None:
    with pytest.raises(DataError) as caught:
        structure_of(sample)
    assert named in caught.value.found


def test_leaves_of_two_kinds_are_refused_with_their_rows() -> None:
    with pytest.raises(DataError, match=r"column 'x' holds int \(such as row 0\) and str \(row 2\)"):
        encode_column("x", [1, 2, "three"])


def test_an_integer_of_more_than_64_bits_is_refused() -> None:
    with pytest.raises(DataError, match="column 'x' cannot be stored"):
        encode_column("x", [2**64])


@pytest.mark.parametrize("other", [(1,), [1, 2], (1, 2, 3), {"0": 1, "1": 2}, ((1,), 2)])
def test_a_sample_of_another_structure_is_refused(other: Any) -> None:
    with pytest.raises(DataError, match="put together in different ways"):
        leaves_of(other, structure_of((1, 2)))


def test_lengths_that_differ_are_not_part_of_the_shape() -> None:
    assert common_shape([(3, 4), (3, 5)]) == (3, None)
    assert common_shape([(3,), (3, 5)]) is None
    assert common_shape([(3, None), (4, 5)]) == (None, None)


def test_shards_in_which_a_column_differs_are_refused() -> None:
    one = Column(name="x", kind="array", dtype="float32", shape=(2,))
    assert common_column([Column(name="x", kind="none"), one]) == one
    with pytest.raises(DataError, match="array of float32 in one shard and array of float64 in another"):
        common_column([one, one.model_copy(update={"dtype": "float64"})])
