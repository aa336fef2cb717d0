"""Trials share a cluster so that none waits for another, and what does not fit is refused."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.config.settings import Settings, of_trials
from bessemer.errors import PlacementError
from bessemer.search.plan import Plan, plan_of
from bessemer.training.placement import Node


def planned(nodes: list[Node], num_trials: int = 20, **sections: Any) -> Plan:
    return plan_of(of_trials(Settings.model_validate(sections)), nodes, num_trials)


def test_a_trial_of_one_worker_trains_in_its_own_process() -> None:
    plan = planned([Node(2, 0)])
    assert plan.here
    assert plan.num_at_once == 2
    assert plan.resources == {"CPU": 1.0}
    assert plan.placement.cpus_per_task == 0.0


def test_a_trial_of_several_reserves_nothing_itself_and_all_of_its_workers_fit() -> None:
    plan = planned([Node(5, 0)], scaling={"num_workers": 2})
    assert not plan.here
    assert plan.num_at_once == 2
    assert "CPU" not in plan.resources


def test_workers_on_two_nodes_count_by_node() -> None:
    assert (
        planned([Node(3, 0), Node(3, 0)], scaling={"num_workers": 1, "cpus_per_worker": 2}).num_at_once == 2
    )


def test_data_get_processors_of_their_own_only_where_all_trials_leave_some() -> None:
    assert planned([Node(16, 0)], tuning={"max_at_once": 2}).placement.cpus_per_task == 1.0
    crowded = planned([Node(16, 0)])
    assert crowded.placement.cpus_per_task == 0.0
    assert crowded.fetches_here
    assert not planned([Node(16, 0)], tuning={"max_at_once": 2}).fetches_here


def test_gpus_are_counted() -> None:
    plan = planned([Node(16, 4)], scaling={"num_workers": 2})
    assert plan.num_at_once == 2
    assert plan.gpus == 2


def test_no_more_run_at_once_than_there_are_or_may() -> None:
    assert planned([Node(16, 0)], num_trials=3).num_at_once == 3
    assert planned([Node(16, 0)], tuning={"max_at_once": 4}).num_at_once == 4


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    with pytest.raises(PlacementError, match="3 workers"):
        planned([Node(2, 0)], scaling={"num_workers": 3})
