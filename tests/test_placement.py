"""Whether the wished workers fit is decided before Ray would wait for them for ever."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.config.data_settings import Data
from bessemer.config.settings import Scaling
from bessemer.errors import PlacementError
from bessemer.training.placement import Node, Placement, decide_placement


def decided(nodes: list[Node], tasks_per_worker: int = 1, **scaling: Any) -> Placement:
    return decide_placement(Scaling(**scaling), Data(tasks_per_worker=tasks_per_worker), nodes)


def refused(nodes: list[Node], **scaling: Any) -> PlacementError:
    with pytest.raises(PlacementError) as caught:
        decided(nodes, **scaling)
    return caught.value


def test_workers_that_fit_are_placed() -> None:
    placement = decided([Node(4, 0)], num_workers=3)
    assert placement == Placement(
        num_workers=3,
        use_gpu=False,
        cpus_per_worker=1.0,
        gpus_per_worker=0.0,
        tasks_per_worker=1,
        cpus_per_task=0.0,
    )
    assert placement.resources_per_worker == {"CPU": 1.0}


def test_a_range_of_workers_is_placed_for_the_least_of_them() -> None:
    placement = decided([Node(2, 0)], num_workers=(1, 4))
    assert (placement.num_workers, placement.max_workers) == (1, 4)
    assert decided([Node(2, 0)], num_workers=2).max_workers is None
    assert "at most 2 such workers fit" in refused([Node(2, 0)], num_workers=(3, 4)).expected


def test_workers_that_may_come_later_leave_no_cpu_to_data() -> None:
    assert decided([Node(8, 0)], num_workers=1).cpus_per_task == 1
    assert decided([Node(8, 0)], num_workers=(1, 8)).cpus_per_task == 0


def test_workers_that_do_not_fit_are_told_how_many_would() -> None:
    error = refused([Node(2, 0)], num_workers=3)
    assert error.found == "3 workers of 1 CPU each, on 1 node(s) that have 2 CPU and 0 GPU"
    assert error.expected == "at most 2 such workers fit"
    assert "--scaling.num-workers 2" in error.todo


def test_a_worker_does_not_spread_over_nodes() -> None:
    nodes = [Node(3, 0), Node(3, 0)]
    assert decided(nodes, num_workers=2, cpus_per_worker=2).num_workers == 2
    error = refused(nodes, num_workers=3, cpus_per_worker=2)
    assert error.expected == "at most 2 such workers fit"
    assert "6 CPU" in error.found


def test_where_not_even_one_fits_the_wish_has_to_be_smaller() -> None:
    error = refused([Node(2, 0)], num_workers=1, cpus_per_worker=4)
    assert error.expected == "at most 0 such workers fit"
    assert "lower --scaling.cpus-per-worker" in error.todo
    assert "num-workers" not in error.todo


def test_a_cluster_without_nodes_fits_nobody() -> None:
    assert "0 node(s)" in refused([]).found


def test_auto_takes_a_gpu_each_where_there_are_enough() -> None:
    placement = decided([Node(8, 2)], num_workers=2)
    assert placement.use_gpu
    assert placement.resources_per_worker == {"CPU": 1.0, "GPU": 1.0}


def test_auto_computes_on_cpus_where_gpus_are_too_few() -> None:
    placement = decided([Node(8, 2)], num_workers=3)
    assert not placement.use_gpu
    assert placement.resources_per_worker == {"CPU": 1.0}
    assert placement.gpus_per_worker == 0.0


def test_cpu_leaves_gpus_alone() -> None:
    assert not decided([Node(8, 8)], device="cpu", num_workers=2).use_gpu


def test_gpus_that_were_asked_for_and_are_not_there_are_an_error() -> None:
    error = refused([Node(8, 2)], device="gpu", num_workers=3)
    assert "1 CPU and 1 GPU each" in error.found
    assert error.expected == "at most 2 such workers fit"
    error = refused([Node(8, 0)], device="gpu", num_workers=1)
    assert "--scaling.device cpu" in error.todo


def test_workers_may_share_a_gpu() -> None:
    placement = decided([Node(8, 1)], device="gpu", num_workers=2, gpus_per_worker=0.5)
    assert placement.resources_per_worker == {"CPU": 1.0, "GPU": 0.5}
    assert refused([Node(8, 1)], device="gpu", num_workers=3, gpus_per_worker=0.5)


def test_workers_with_a_share_of_a_cpu_fill_it() -> None:
    assert decided([Node(1, 0)], num_workers=10, cpus_per_worker=0.1).num_workers == 10


@pytest.mark.parametrize(
    ("cpus", "num_workers", "tasks_per_worker", "cpus_per_task"),
    [(4, 2, 1, 1.0), (3, 2, 1, 0.0), (2, 2, 1, 0.0), (6, 2, 2, 1.0), (5, 2, 2, 0.0)],
)
def test_data_tasks_reserve_a_cpu_only_where_the_workers_leave_enough(
    cpus: float, num_workers: int, tasks_per_worker: int, cpus_per_task: float
) -> None:
    placement = decided([Node(cpus, 0)], tasks_per_worker, num_workers=num_workers)
    assert placement.cpus_per_task == cpus_per_task


@pytest.mark.parametrize(
    ("cpus", "num_workers", "tasks"), [(1, 1, 2), (2, 2, 2), (4, 1, 3), (9, 2, 3), (64, 1, 4)]
)
def test_data_tasks_are_as_many_as_cpus_are_left_within_bounds(
    cpus: float, num_workers: int, tasks: int
) -> None:
    assert decided([Node(cpus, 0)], 0, num_workers=num_workers).tasks_per_worker == tasks


NODES = st.lists(st.builds(Node, st.integers(0, 16), st.integers(0, 4)), max_size=4)


@settings(max_examples=100, deadline=None)
@given(NODES, st.integers(1, 20), st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from(["auto", "cpu", "gpu"]))
def test_the_number_that_is_said_to_fit_fits_and_one_more_does_not(
    nodes: list[Node], num_workers: int, cpus_per_worker: float, device: str
) -> None:
    wish: dict[str, Any] = {"cpus_per_worker": cpus_per_worker, "device": device}
    try:
        placement = decided(nodes, num_workers=num_workers, **wish)
    except PlacementError as error:
        fitting = int(error.expected.split()[2])
        assert fitting < num_workers
        if fitting:
            decided(nodes, num_workers=fitting, **wish)
        refused(nodes, num_workers=fitting + 1, **wish)
    else:
        needed = num_workers * cpus_per_worker + placement.cpus_per_task * num_workers
        assert needed <= sum(node.cpus for node in nodes)
        assert not placement.use_gpu or num_workers <= sum(node.gpus for node in nodes)
