"""What a cluster says of itself, and whether a job would run on it."""

from __future__ import annotations

import pytest

from bessemer.config.settings import Settings
from bessemer.drill.heads import free_port
from bessemer.errors import ClusterError, PlacementError
from bessemer.remote.dashboard import Facts, ask
from bessemer.remote.named import Target
from bessemer.remote.preflight import check_room, check_versions
from bessemer.training.placement import Node
from remote.dashboards import METADATA, NODES, dashboard, metadata, nodes

HERE = Target("farm", "http://farm:8265", "")


def facts(ray: str = "2.60.0", python: str = "3.11.2", cpus: tuple[float, ...] = (1, 1)) -> Facts:
    return Facts(ray, python, tuple(Node(each, 0) for each in cpus))


def test_versions_and_live_nodes_are_read() -> None:
    listed = nodes({"CPU": 4.0, "GPU": 1.0}, {}, {"CPU": 8.0}, states=("ALIVE", "ALIVE", "DEAD"))
    with dashboard({METADATA: metadata(), NODES: listed}, "t") as address:
        found = ask(Target("farm", address, "t"), 5)
    assert found == Facts("2.60.0", "3.11.2", (Node(4, 1), Node(0, 0)))


def test_all_live_nodes_are_seen_of_a_cluster_that_has_lost_many() -> None:
    states = ("DEAD",) * 300 + ("ALIVE",) * 150
    listed = nodes(*({"CPU": 1.0} for _ in states), states=states)
    with dashboard({METADATA: metadata(), NODES: listed}) as address:
        assert len(ask(Target("farm", address, ""), 5).nodes) == 150


def test_an_answer_of_another_shape_is_said_in_words() -> None:
    odd = {METADATA: metadata(), NODES: {"result": None}}
    with dashboard(odd) as address, pytest.raises(ClusterError, match="does not say what it has"):
        ask(Target("farm", address, ""), 5)


def test_nobody_there_is_said_with_what_to_do() -> None:
    with pytest.raises(ClusterError, match="no cluster answers") as caught:
        ask(Target("compose", f"http://127.0.0.1:{free_port()}", ""), 5)
    assert "make deploy" in caught.value.todo


@pytest.mark.parametrize(("token", "said"), [("", "no token was given"), ("wrong", "a wrong token")])
def test_no_token_and_a_wrong_one_are_told_apart(token: str, said: str) -> None:
    with (
        dashboard({METADATA: metadata(), NODES: nodes()}, "right") as address,
        pytest.raises(ClusterError, match=said) as caught,
    ):
        ask(Target("farm", address, token), 5)
    assert "right" not in str(caught.value)


def test_another_server_is_not_taken_for_a_cluster() -> None:
    with dashboard({}) as address, pytest.raises(ClusterError, match="is no Ray cluster"):
        ask(Target("farm", address, ""), 5)
    with dashboard({METADATA: {"x": 1}}) as address, pytest.raises(ClusterError, match="is no Ray cluster"):
        ask(Target("farm", address, ""), 5)


def test_the_same_versions_pass() -> None:
    check_versions(HERE, facts(python="3.11.9"), "2.60.0", "3.11.2")


@pytest.mark.parametrize(
    ("found", "said"),
    [(facts(ray="2.59.0"), "Ray 2.59.0 instead of 2.60.0"), (facts(python="3.12.1"), "Python 3.12.1")],
)
def test_other_versions_are_refused_by_name(found: Facts, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        check_versions(HERE, found, "2.60.0", "3.11.2")


def test_workers_that_fit_pass_and_those_that_do_not_are_refused_with_the_cluster() -> None:
    check_room(HERE, facts(), Settings.model_validate({"scaling": {"num_workers": 2}}))
    with pytest.raises(PlacementError, match="on the cluster farm: 3 workers"):
        check_room(HERE, facts(), Settings.model_validate({"scaling": {"num_workers": 3}}))
