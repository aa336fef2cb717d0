"""Which cluster a user means."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.config.deploy_settings import Deploy, NamedCluster
from bessemer.errors import ClusterError
from bessemer.remote.named import find_target

FARM = Deploy(clusters={"farm": NamedCluster(address="http://farm:8265", token_file="farm-token")})


def compose_token(here: Path, text: str = "abc\n") -> None:
    (here / "docker" / "secrets").mkdir(parents=True)
    (here / "docker" / "secrets" / "ray_token").write_text(text)


def test_compose_is_known_without_settings_by_its_port_and_its_token(tmp_path: Path) -> None:
    compose_token(tmp_path)
    target = find_target(Deploy(dashboard_port=9000), "compose", {}, tmp_path)
    assert (target.address, target.token) == ("http://127.0.0.1:9000", "abc")


def test_compose_that_was_started_for_a_project_has_the_projects_token(tmp_path: Path) -> None:
    project, here = tmp_path / "projects" / "digits", tmp_path
    compose_token(project, "of digits")
    assert find_target(Deploy(), "compose", {}, here, project).token == "of digits"
    compose_token(here, "of here")
    assert find_target(Deploy(), "compose", {}, here, project).token == "of here"


def test_a_named_cluster_is_found_with_its_token(tmp_path: Path) -> None:
    (tmp_path / "farm-token").write_text("xyz")
    target = find_target(FARM, "farm", {}, tmp_path)
    assert (target.name, target.address, target.token) == ("farm", "http://farm:8265", "xyz")


def test_the_only_named_cluster_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "farm-token").write_text("xyz")
    assert find_target(FARM, "", {}, tmp_path).name == "farm"


def test_without_a_name_the_environment_comes_before_the_settings(tmp_path: Path) -> None:
    environment = {"RAY_API_SERVER_ADDRESS": "http://there:8265", "RAY_AUTH_TOKEN": "t"}
    target = find_target(FARM, "", environment, tmp_path)
    assert (target.address, target.token) == ("http://there:8265", "t")


def test_an_address_is_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    target = find_target(Deploy(), "http://x:1/", {"RAY_AUTH_TOKEN_PATH": "token"}, tmp_path)
    assert (target.address, target.token) == ("http://x:1", "from a file")


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no cluster 'frm'") as caught:
        find_target(FARM, "frm", {}, tmp_path)
    assert "farm" in caught.value.expected


def test_a_token_that_cannot_be_read_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="token cannot be read"):
        find_target(Deploy(), "compose", {}, tmp_path)


def test_an_address_of_the_head_itself_is_refused(tmp_path: Path) -> None:
    deploy = Deploy(clusters={"head": NamedCluster(address="10.0.0.1:6379")})
    with pytest.raises(ClusterError, match="not that of a dashboard"):
        find_target(deploy, "head", {}, tmp_path)


def test_a_token_is_not_shown(tmp_path: Path) -> None:
    compose_token(tmp_path, "a-secret")
    assert "a-secret" not in repr(find_target(Deploy(), "compose", {}, tmp_path))
