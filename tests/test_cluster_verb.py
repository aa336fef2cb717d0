"""`bessemer cluster render` writes the files of clusters, and says which are not as they would be."""

from __future__ import annotations

import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.cli import entry
from bessemer.cli.cluster import for_job
from bessemer.config.settings import Settings
from bessemer.deployment.compose import compose_text
from bessemer.deployment.versions import ray_version
from bessemer.errors import ClusterError, DeploymentError
from bessemer.remote.containers import COMPOSE_FILE, Containers, check_rendered
from deployments import REPOSITORY

FILES = ["aws", "mlflow", "on-premises", "raycluster", "rayjob", "storage"]


@pytest.fixture(autouse=True)
def no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BESSEMER_")]:
        monkeypatch.delenv(name)


def test_the_files_of_this_repository_are_as_they_are_rendered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert entry(["cluster", "render", "--out", str(tmp_path)]) == 0
    made = sorted(x.stem for x in (tmp_path / "cluster").iterdir())
    there = sorted(x.stem for x in (REPOSITORY / "cluster").glob("*.yaml"))
    assert made == there == FILES
    for name in FILES:
        file = f"cluster/{name}.yaml"
        assert (tmp_path / file).read_bytes() == (REPOSITORY / file).read_bytes(), (
            f"{file} is not as rendered"
        )


def test_check_names_each_file_that_differs_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert entry(["cluster", "render"]) == 0
    assert entry(["cluster", "render", "--check"]) == 0
    changed = tmp_path / "cluster" / "raycluster.yaml"
    changed.write_text("# mine\n")
    (tmp_path / "cluster" / "storage.yaml").unlink()
    capsys.readouterr()
    assert entry(["cluster", "render", "--check"]) == 1
    shown = capsys.readouterr().out
    named = [x.split("/")[-1] for x in shown.splitlines() if x.startswith("not as rendered")]
    assert named == ["storage.yaml", "raycluster.yaml"]
    assert changed.read_text() == "# mine\n"
    assert not (tmp_path / "cluster" / "storage.yaml").exists()


def test_only_the_files_that_are_named_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert entry(["cluster", "render", "--only", "raycluster", "--only", "storage"]) == 0
    assert sorted(x.stem for x in (tmp_path / "cluster").iterdir()) == ["raycluster", "storage"]


def test_files_that_are_left_out_are_named_with_the_setting_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert entry(["cluster", "render"]) == 0
    shown = capsys.readouterr().out
    for name, setting in {
        "on-premises": "deploy.machines.head_ip",
        "aws": "deploy.aws.file_system",
        "mlflow": "deploy.kubernetes.mlflow",
        "rayjob": "deploy.kubernetes.project",
    }.items():
        assert re.search(rf"left out cluster/{name}.yaml: .*{setting}", shown)


def test_settings_that_contradict_each_other_write_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert entry(["cluster", "render", "--scaling.device", "gpu"]) == 2
    assert "deploy.build" in capsys.readouterr().err
    assert not (tmp_path / "cluster").exists()


def test_settings_of_the_command_line_decide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--deploy.kubernetes.namespace", "research", "--deploy.worker-nodes", "5"]
    assert entry(["cluster", "render", *arguments]) == 0
    tree = yaml.safe_load((tmp_path / "cluster" / "raycluster.yaml").read_text())
    assert tree["metadata"]["namespace"] == "research"
    assert tree["spec"]["workerGroupSpecs"][0]["replicas"] == 5


def test_a_job_is_given_the_settings_that_its_cluster_does_not_say() -> None:
    given = [
        "--lr",
        "0.5",
        "--deploy.spot",
        "all",
        "--scaling.num-workers=2",
        "--sizes",
        "1",
        "2",
        "--no-cuda",
    ]
    assert for_job(given) == ["--lr", "0.5", "--sizes", "1", "2", "--no-cuda"]
    # What is decided for the cluster alone, though the job has more of that section.
    assert for_job(["--checkpoint.storage-path", "/a", "--checkpoint.keep", "3"]) == [
        "--checkpoint.keep",
        "3",
    ]


def test_clusters_run_the_ray_that_the_lock_pins_and_that_is_tested_here() -> None:
    pinned = ray_version((REPOSITORY / "requirements.lock").read_text())
    assert pinned == version("ray") == ray_version()
    for name in ("raycluster", "rayjob"):
        tree = yaml.safe_load((REPOSITORY / "cluster" / f"{name}.yaml").read_text())
        spec = tree["spec"].get("rayClusterSpec", tree["spec"])
        assert spec["rayVersion"] == pinned


def test_a_version_of_ray_is_found_with_and_without_its_extras() -> None:
    assert ray_version("ray[default,train]==2.61.1 ; python_version > '3'\n") == "2.61.1"
    assert ray_version("xray==1.0\nray==2.59.0\n") == "2.59.0"


def test_without_any_ray_the_reader_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(DeploymentError, match=r"requirements\.lock"):
        ray_version("numpy==2.1\n")


def compose_of(folder: Path, file_of: Settings, used: Settings, untyped: Settings) -> str:
    """Return what is said of a Compose file rendered from some settings, and used with others."""
    (folder / COMPOSE_FILE).parent.mkdir(exist_ok=True)
    (folder / COMPOSE_FILE).write_text(compose_text(file_of))
    return check_rendered(Containers.of(folder, used), untyped)


def with_deploy(**values: Any) -> Settings:
    return Settings.model_validate({"deploy": values})


def test_ports_and_nodes_may_be_typed_for_one_start(tmp_path: Path) -> None:
    usual, typed = with_deploy(image="a:1"), with_deploy(image="a:1", dashboard_port=9000, worker_nodes=3)
    assert compose_of(tmp_path, file_of=usual, used=typed, untyped=usual) == ""


def test_a_setting_that_is_typed_and_not_in_the_file_is_refused(tmp_path: Path) -> None:
    usual, typed = with_deploy(), with_deploy(image="a:1")
    with pytest.raises(ClusterError, match="was written without the settings that were typed"):
        compose_of(tmp_path, file_of=usual, used=typed, untyped=usual)
    assert compose_of(tmp_path, file_of=typed, used=typed, untyped=usual) == ""


def test_a_file_that_is_older_than_the_settings_is_used_and_that_is_said(tmp_path: Path) -> None:
    older, now = with_deploy(), with_deploy(image="a:1")
    assert "is used as it is" in compose_of(tmp_path, file_of=older, used=now, untyped=now)
