"""Rows in groups are shuffled in windows: a bijection, bounded, and found without walking there."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.data.order import share_of
from bessemer.data.windows import WindowedPlan

bounded = settings(max_examples=80, deadline=None)

PLANS = st.builds(
    WindowedPlan,
    group_sizes=st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(any).map(tuple),
    window_rows=st.integers(1, 200),
    batch_size=st.integers(1, 50),
    drop_last=st.booleans(),
    key=st.integers(0, 2**64 - 1),
)
PASSES = st.integers(0, 5)


def order_of(plan: WindowedPlan, number: int = 0) -> list[int]:
    return [int(row) for step in range(plan.steps_per_pass) for row in plan.batch(number, step)]


def even(num_groups: int, rows: int, window_rows: int, **more: Any) -> WindowedPlan:
    values = {"batch_size": 8, "drop_last": False, "key": 3, **more}
    return WindowedPlan((rows,) * num_groups, window_rows, **values)


def group_of(plan: WindowedPlan, row: int) -> int:
    return int(np.searchsorted(np.cumsum(plan.group_sizes), row, side="right"))


@bounded
@given(PLANS, PASSES)
def test_a_pass_has_every_row_once(plan: WindowedPlan, number: int) -> None:
    rows = order_of(plan, number)
    total = sum(plan.group_sizes)
    left_out = total % plan.batch_size if plan.drop_last else 0
    assert len(rows) == len(set(rows)) == total - left_out
    assert set(rows) <= set(range(total))


@bounded
@given(PLANS, PASSES, st.data())
def test_a_batch_is_the_same_whatever_was_asked_before(
    plan: WindowedPlan, number: int, data: st.DataObject
) -> None:
    if not plan.steps_per_pass:
        return
    step = data.draw(st.integers(0, plan.steps_per_pass - 1))
    whole = order_of(plan, number)
    fresh = WindowedPlan(tuple(plan.group_sizes), plan.window_rows, plan.batch_size, plan.drop_last, plan.key)
    start = step * plan.batch_size
    assert fresh.batch(number, step).tolist() == whole[start : start + plan.batch_size]


@bounded
@given(PLANS, PASSES, st.integers(1, 7))
def test_workers_share_a_batch_without_a_row_left_out_or_taken_twice(
    plan: WindowedPlan, number: int, world_size: int
) -> None:
    for step in range(plan.steps_per_pass):
        batch = plan.batch(number, step)
        parts = [batch[slice(*share_of(len(batch), rank, world_size))] for rank in range(world_size)]
        assert np.concatenate(parts).tolist() == batch.tolist()


@bounded
@given(PLANS, PASSES)
def test_a_window_is_no_larger_than_it_may_be_unless_one_group_is(plan: WindowedPlan, number: int) -> None:
    windows = plan.windows(number)
    assert sorted(np.concatenate(windows).tolist()) == list(range(len(plan.group_sizes)))
    for window in windows:
        rows = sum(plan.group_sizes[group] for group in window)
        assert rows <= plan.window_rows or len(window) == 1
    for one, other in itertools.pairwise(windows):  # no window could have taken one group more
        rows = sum(plan.group_sizes[group] for group in [*one, other[0]])
        assert rows > plan.window_rows


@bounded
@given(PLANS, PASSES)
def test_rows_come_window_by_window_so_each_group_is_read_once(plan: WindowedPlan, number: int) -> None:
    rows = order_of(plan, number)
    begin = 0
    for window in plan.windows(number):
        count = sum(plan.group_sizes[group] for group in window)
        assert {group_of(plan, row) for row in rows[begin : begin + count]} <= set(window.tolist())
        begin += count


def test_passes_and_keys_have_orders_of_their_own() -> None:
    plan = even(10, 7, 21)
    assert order_of(plan, 0) != order_of(plan, 1)
    assert order_of(plan, 0) != order_of(even(10, 7, 21, key=4), 0)
    assert order_of(plan, 0) == order_of(even(10, 7, 21), 0)
    windows = [[sorted(window.tolist()) for window in plan.windows(number)] for number in (0, 1)]
    assert windows[0] != windows[1]


def test_a_window_that_holds_everything_is_a_full_shuffle() -> None:
    """Each row comes to each tenth of the pass equally often."""
    num_passes, plan = 2000, even(5, 2, 10, batch_size=10)
    cells = Counter(
        (place, int(row)) for number in range(num_passes) for place, row in enumerate(plan.batch(number, 0))
    )
    expected = num_passes / 10
    places = itertools.product(range(10), range(10))
    chi_square = sum((cells[place] - expected) ** 2 / expected for place in places)
    assert chi_square < 81 + 6 * (2 * 81) ** 0.5  # 81 degrees of freedom; mean + 6 sigma


def test_rows_of_a_window_are_mixed_and_do_not_stay_together_by_group() -> None:
    plan = even(8, 100, 400, batch_size=40)
    groups = [len({group_of(plan, row) for row in plan.batch(0, step)}) for step in range(10)]
    assert min(groups) >= 3


def test_a_batch_may_have_rows_of_two_windows_and_the_last_one_fewer() -> None:
    plan = even(3, 5, 5, batch_size=4)
    assert [len(plan.batch(0, step)) for step in range(plan.steps_per_pass)] == [4, 4, 4, 3]
    assert {group_of(plan, row) for row in plan.batch(0, 1)} == {
        int(window[0]) for window in plan.windows(0)[:2]
    }


def test_any_place_of_a_huge_source_is_found_at_once() -> None:
    plan = WindowedPlan((10_000,) * 100_000, 1_000_000, 256, False, 5)  # 10**9 rows
    plan.batch(0, 0)
    begun = time.perf_counter()
    for step in (plan.steps_per_pass - 1, 1_234_567, 1):
        assert len(plan.batch(0, step)) in (256, 10**9 % 256)
    assert time.perf_counter() - begun < 0.5


@pytest.mark.parametrize("sizes", [(1,), (0, 1, 0), (5, 0, 0, 5)])
def test_groups_without_rows_do_no_harm(sizes: tuple[int, ...]) -> None:
    plan = WindowedPlan(sizes, 2, 3, False, 0)
    assert sorted(order_of(plan)) == list(range(sum(sizes)))


def test_each_window_is_permuted_in_its_own_way() -> None:
    plan = even(20, 10, 10, batch_size=10)
    inside = {tuple(row % 10 for row in plan.batch(0, step).tolist()) for step in range(20)}
    assert len(inside) == 20
