"""A cluster of containers that a drill may destroy: its own name, ports, secrets and volumes.

It is rendered from the same settings as `docker/compose.yaml`, started by the same code, and struck by
Docker: containers are killed and started, networks cut. What runs leave is copied out of its volume, or read
from its bucket. Nothing of it is left at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bessemer.config.settings import Settings
from bessemer.deployment.compose import MLFLOW_USER, SECRETS_HERE, compose_text
from bessemer.drill.heads import free_port
from bessemer.drill.training import DrillError, step_of
from bessemer.remote.containers import COMPOSE_FILE, Containers, bring_up, take_down, wait_for_nodes
from bessemer.remote.named import COMPOSE, Target, find_target
from bessemer.training.folders import CHECKPOINTS_FOLDER, LOGS_FOLDER

RUNS = "/app/runs"
_READY_WITHIN_S = 300.0
_DOCKER_WITHIN_S = 120.0
_RUNNING_WORKER = "ray::RayTrainWorker"


@dataclass(frozen=True)
class Ground:
    """A cluster that may be destroyed.

    Attributes:
        cluster: its containers.
        target: how jobs come to it.
        folder: of this machine, for what is copied out of it.
    """

    cluster: Containers
    target: Target
    folder: Path

    @property
    def settings(self) -> Settings:
        """What its nodes have."""
        return self.cluster.settings

    @property
    def uri(self) -> str:
        """Where its MLflow answers, for this machine."""
        return f"http://127.0.0.1:{self.settings.deploy.mlflow_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a command that submits jobs to it and reads its MLflow."""
        secrets = self.folder / SECRETS_HERE
        own = {
            "RAY_API_SERVER_ADDRESS": self.target.address,
            "RAY_AUTH_TOKEN_PATH": str(secrets / "ray_token"),
            "BESSEMER_TRACKING__URI": self.uri,
            "BESSEMER_TRACKING__USERNAME": MLFLOW_USER,
            "BESSEMER_TRACKING__PASSWORD_FILE": str(secrets / "mlflow_password"),
        }
        others = {name: x for name, x in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
        return {**others, **own}

    def containers_of(self, service: str) -> list[str]:
        """Return the ids of the running containers of a service, in the order of their numbers."""
        filters = [f"label=com.docker.compose.project={self.cluster.name}"]
        filters.append(f"label=com.docker.compose.service={service}")
        command = ["ps", "--format", "{{.Names}} {{.ID}}"]
        listed = docker(*command, *(word for x in filters for word in ("--filter", x)))
        return [line.split()[1] for line in sorted(listed.splitlines())]

    def head(self) -> str:
        """Return the id of the head's container."""
        return self.containers_of("head")[0]

    def training_nodes(self) -> list[str]:
        """Return the ids of the containers in which workers train now."""
        return [
            x for x in self.containers_of("worker") if _RUNNING_WORKER in docker("top", x, "-eo", "pid,args")
        ]

    def node_of_rank(self, run_dir: str, rank: int) -> str:
        """Return the id of the container that a worker of a run was on when it last said something.

        Raises:
            DrillError: it has said nothing.
        """
        log = f"{run_dir}/{LOGS_FOLDER}/worker-{rank}.jsonl"
        text = docker("exec", self.head(), "tail", "-n", "1", log, check=False)
        try:
            return str(json.loads(text)["node"])
        except (ValueError, KeyError, TypeError):
            raise DrillError(f"worker {rank} has written nothing to {log}: {text.strip()}") from None

    def newest_step(self, run_dir: str) -> int:
        """Return the step of the newest complete checkpoint of a run, or 0."""
        folder = f"{run_dir}/{CHECKPOINTS_FOLDER}"
        script = f'for f in "{folder}"/step-*/manifest.json; do [ -f "$f" ] && dirname "$f"; done'
        listed = docker("exec", self.head(), "sh", "-c", script, check=False)
        return max((step_of(Path(line)) for line in listed.split() if "step-" in line), default=0)

    def fetch(self, run_dir: str) -> Path:
        """Copy the folder of a run out of the cluster; return where it is now.

        Raises:
            DrillError: it is not there.
        """
        target = self.folder / "fetched" / run_dir.strip("/").replace("/", "-")
        target.parent.mkdir(parents=True, exist_ok=True)
        docker("cp", f"{self.head()}:{run_dir}", str(target))
        return target

    def wait_for_nodes(self, num_nodes: int) -> None:
        """Wait until so many nodes are there beside the head (count).

        Raises:
            ClusterError: they do not come.
        """
        wait_for_nodes(self.cluster, num_nodes, time.monotonic() + _READY_WITHIN_S)


@contextlib.contextmanager
def started_ground(settings: Settings, name: str, image: str) -> Iterator[Ground]:
    """Start a cluster of containers, and remove it with all that it held.

    Args:
        settings: what its nodes have.
        name: of the cluster.
        image: of the nodes.

    Raises:
        ClusterError: it does not start.
    """
    ports = {"dashboard_port": free_port(), "mlflow_port": free_port(), "image": image}
    settings = settings.model_copy(update={"deploy": settings.deploy.model_copy(update=ports)})
    with tempfile.TemporaryDirectory(prefix="bessemer-ground-") as temporary:
        folder = Path(temporary)
        # The user of the containers reads the secrets in it.
        folder.chmod(0o755)
        file = folder / COMPOSE_FILE
        file.parent.mkdir()
        file.write_text(compose_text(settings), encoding="utf-8")
        cluster = Containers(folder, name, settings)
        try:
            bring_up(cluster, _READY_WITHIN_S)
            yield Ground(cluster, find_target(settings.deploy, COMPOSE, {}, folder), folder)
        finally:
            take_down(cluster)


def resized(ground: Ground, num_nodes: int) -> Ground:
    """Return a cluster with so many nodes beside its head, without doing it (count)."""
    deploy = ground.settings.deploy.model_copy(update={"worker_nodes": num_nodes})
    settings = ground.settings.model_copy(update={"deploy": deploy})
    return replace(ground, cluster=replace(ground.cluster, settings=settings))


def docker(*arguments: str, check: bool = True) -> str:
    """Run a command of Docker and return what it printed.

    Raises:
        DrillError: it fails, unless that does not matter.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=_DOCKER_WITHIN_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DrillError(f"`docker {arguments[0]}` still ran after {_DOCKER_WITHIN_S:.0f} s") from None
    if check and done.returncode != 0:
        raise DrillError(f"`docker {' '.join(arguments[:2])}` failed: {done.stderr.strip()[:300]}")
    return done.stdout
