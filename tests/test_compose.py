"""The cluster of containers, as it is rendered."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.config.settings import Settings
from bessemer.deployment.compose import SECRET_NAMES, compose_text
from bessemer.errors import DeploymentError
from bessemer.training.cluster import IDLE_PROCESSES

ROOT = Path(__file__).parents[1]
SERVICES = ("mlflow", "head", "worker")


def rendered(**values: Any) -> Any:
    return yaml.safe_load(compose_text(Settings.model_validate(values)))


@pytest.mark.parametrize("service", SERVICES)
def test_containers_run_without_rights_on_a_root_that_cannot_be_written(service: str) -> None:
    made = rendered()["services"][service]
    assert made["read_only"] is True
    assert made["cap_drop"] == ["ALL"]
    assert made["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in made
    assert "user" not in made  # the image's own, who is not root


def test_every_port_is_bound_to_this_machine_alone() -> None:
    ports = [port for x in rendered()["services"].values() for port in x.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_ray_wants_a_token_and_mlflow_a_password_out_of_files() -> None:
    made = rendered()
    assert set(made["secrets"]) == set(SECRET_NAMES)
    for service in ("head", "worker"):
        environment = made["services"][service]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
    assert made["services"]["mlflow"]["secrets"] == ["mlflow_password"]


def test_the_head_does_not_train_and_a_node_has_room_for_its_workers() -> None:
    made = rendered(
        deploy={"workers_per_node": 2, "worker_nodes": 3}, scaling={"num_workers": 6, "cpus_per_worker": 1.5}
    )["services"]
    assert "--num-cpus 0" in made["head"]["command"]
    assert "--num-cpus 3" in made["worker"]["command"]
    assert made["worker"]["scale"] == 3


def test_nodes_of_every_kind_keep_their_idle_processes_alike() -> None:
    (setting,) = (f"{name}={value}" for name, value in IDLE_PROCESSES.items())
    assert f" {setting} " in (ROOT / "docker" / "Dockerfile").read_text()
    assert f"export {setting.replace('=', ' ?= ')}\n" in (ROOT / "Makefile").read_text()


def test_one_container_has_the_gpus_of_the_machine_and_several_are_refused() -> None:
    wished = {"build": "cu128", "worker_nodes": 1, "workers_per_node": 2}
    worker = rendered(deploy=wished, scaling={"num_workers": 2})["services"]["worker"]
    assert "--num-gpus 2" in worker["command"]
    assert worker["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": 2, "capabilities": ["gpu"]}
    ]
    with pytest.raises(DeploymentError, match="2 containers of one machine with 1 GPU each"):
        rendered(deploy={"build": "cu128"}, scaling={"num_workers": 2})
    assert "deploy" not in rendered()["services"]["worker"]


def test_nodes_wait_for_the_head_and_the_head_for_mlflow() -> None:
    made = rendered()["services"]
    assert made["head"]["depends_on"] == {"mlflow": {"condition": "service_healthy"}}
    assert made["worker"]["depends_on"] == {"head": {"condition": "service_healthy"}}


def test_with_storage_at_a_url_there_is_no_volume_for_runs() -> None:
    made = rendered(checkpoint={"storage_path": "s3://bucket/runs"})
    assert set(made["volumes"]) == {"mlflow"}
    assert made["services"]["head"]["environment"]["BESSEMER_CHECKPOINT__STORAGE_PATH"] == "s3://bucket/runs"
    assert made["services"]["worker"]["env_file"] == ["./secrets/storage.env"]


def test_compose_itself_accepts_the_file(tmp_path: Path) -> None:
    compose = next(
        (x for x in (["docker-compose"], ["docker", "compose"]) if shutil.which(x[0]) and _works(x)), None
    )
    if compose is None:
        pytest.skip("neither docker-compose nor `docker compose` is installed here")
    file = tmp_path / "compose.yaml"
    file.write_text(compose_text(Settings()))
    done = subprocess.run(
        [*compose, "-f", str(file), "config", "-q"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def _works(command: list[str]) -> bool:
    return subprocess.run([*command, "version"], capture_output=True, timeout=60, check=False).returncode == 0
