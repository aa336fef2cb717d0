"""The helper that the tests of many workers stand on."""

from __future__ import annotations

import pytest
import torch

from bessemer.utils.collectives import Group
from workers import WorkerError, on_workers


def summed(group: Group, more: float) -> tuple[int, float]:
    return group.rank, group.sum_(torch.tensor(float(group.rank) + more)).item()


def told(group: Group) -> tuple[object, list[object]]:
    return group.broadcast_object({"from": group.rank}), group.gather_objects(("rank", group.rank))


def broadcast(group: Group) -> list[float]:
    return [float(x) for x in group.broadcast_(torch.full((3,), float(group.rank + 5)))]


def fails_on_the_last(group: Group) -> None:
    if group.rank == group.size - 1:
        raise ZeroDivisionError("here")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_workers_sum_over_all(size: int) -> None:
    total = sum(range(size)) + 0.5 * size
    assert on_workers(summed, size, 0.5) == [(rank, total) for rank in range(size)]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_workers_tell_each_other_objects(size: int) -> None:
    expected = ({"from": 0}, [("rank", rank) for rank in range(size)])
    assert on_workers(told, size) == [expected] * size


@pytest.mark.parametrize("size", [1, 3])
def test_workers_get_the_main_workers_tensor(size: int) -> None:
    assert on_workers(broadcast, size) == [[5.0, 5.0, 5.0]] * size


def test_a_failure_of_one_worker_is_seen() -> None:
    with pytest.raises(WorkerError, match=r"(?s)worker 2:.*ZeroDivisionError: here"):
        on_workers(fails_on_the_last, 3)
    assert on_workers(summed, 3, 0.0) == [(0, 3.0), (1, 3.0), (2, 3.0)]
