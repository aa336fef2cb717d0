"""Equal content has equal hashes, other content has others, whatever form it came in."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.data.validation.hashing import combined, hash_column, mixed

VALUES: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "int": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "bool": (st.booleans(), pa.bool_()),
    "float": (st.floats(allow_nan=False), pa.float64()),
    "text": (st.text(max_size=40), pa.string()),
    "long text": (st.text(max_size=10).map(lambda text: text * 90), pa.large_string()),
    "bytes": (st.binary(max_size=300), pa.binary()),
    "raw": (st.binary(min_size=12, max_size=12), pa.binary(12)),
    "list": (st.lists(st.integers(-3, 3), max_size=4), pa.list_(pa.int64())),
    "lists of texts": (st.lists(st.text(max_size=2), max_size=3), pa.list_(pa.string())),
    "decimal": (
        st.decimals(0, 9, places=2).map(lambda d: d.quantize(decimal.Decimal("0.01"))),
        pa.decimal128(5, 2),
    ),
}


@pytest.mark.parametrize("kind", VALUES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_two_values_have_one_hash_exactly_if_they_are_equal(kind: str, data: st.DataObject) -> None:
    strategy, arrow = VALUES[kind]
    values = data.draw(st.lists(st.one_of(st.none(), strategy), min_size=1, max_size=30))
    hashes = hash_column(pa.array(values, arrow)).tolist()
    for first, one in zip(values, hashes, strict=True):
        for second, other in zip(values, hashes, strict=True):
            assert (one == other) == (first == second)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.text(max_size=20)), min_size=1, max_size=20), data=st.data())
def test_a_slice_and_a_dictionary_have_the_hashes_of_the_plain_column(
    values: list[str | None], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(values) - 1))
    whole = hash_column(pa.array(values, pa.string()))
    assert (hash_column(pa.array(values, pa.string())[start:]) == whole[start:]).all()
    assert (hash_column(pa.array(values, pa.large_string())) == whole).all()
    assert (hash_column(pa.array(values, pa.string()).dictionary_encode()) == whole).all()


def test_the_width_of_a_number_does_not_count_and_minus_zero_is_zero() -> None:
    numbers = [1, 2, 3]
    assert (hash_column(pa.array(numbers, pa.int8())) == hash_column(pa.array(numbers, pa.int64()))).all()
    halves = [0.5, 1.5, -0.0]
    narrow, wide = pa.array(halves, pa.float32()), pa.array([0.5, 1.5, 0.0], pa.float64())
    assert (hash_column(narrow) == hash_column(wide)).all()


def test_a_column_of_rows_has_other_hashes_where_any_column_differs_and_by_its_name() -> None:
    numbers = np.arange(5, dtype=np.uint64)
    x, y = mixed(numbers), mixed(numbers + np.uint64(7))
    assert (combined([("x", x), ("y", y)]) == combined([("y", y), ("x", x)])).all()
    assert (combined([("x", x), ("y", y)]) != combined([("x", y), ("y", x)])).all()


def test_a_million_texts_and_numbers_have_a_million_hashes() -> None:
    texts = hash_column(pa.array([f"{number}" for number in range(1_000_000)]))
    numbers = hash_column(pa.array(np.arange(1_000_000)))
    for hashes in (texts, numbers):
        assert len(np.unique(hashes)) == 1_000_000
        # Every bit is set for about half of them.
        share = [float(((hashes >> np.uint64(bit)) & np.uint64(1)).mean()) for bit in range(64)]
        assert 0.495 < min(share) <= max(share) < 0.505
