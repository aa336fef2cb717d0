"""A cluster of containers that a drill may destroy: its own name, ports, secrets and volumes.

It is rendered from the same settings as `docker/compose.yaml`, started by the same code, and struck by
Docker: containers are killed and started, networks cut. What runs leave is copied out of its volume, or read
from its bucket. Nothing of it is left at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from bessemer.config.settings import Settings
from bessemer.deployment.compose import MLFLOW_USER, SECRETS_HERE, STORAGE_SECRETS, compose_text
from bessemer.deployment.image import HOME, image_name
from bessemer.deployment.storage import storage_of
from bessemer.drill.docker import docker
from bessemer.drill.heads import free_port
from bessemer.drill.kept import InBucket, InVolume, Kept
from bessemer.drill.training import DrillError
from bessemer.remote.containers import (
    COMPOSE_FILE,
    Containers,
    bring_up,
    check_image,
    nodes_of,
    take_down,
    wait_for_nodes,
)
from bessemer.remote.named import COMPOSE, Target, find_target
from bessemer.training.folders import LOGS_FOLDER

_READY_WITHIN_S = 300.0
# The S3-compatible server of moto, in a container of the image that has the tools.
_BUCKET_STAGE = "dev"
_BUCKET_PORT = 5000
_BUCKET_COMPOSE = """\
services:
  bucket:
    image: {image}
    command: moto_server --host 0.0.0.0 --port {inside}
    ports: ["127.0.0.1:{outside}:{inside}"]
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    healthcheck: {{disable: true}}
"""
_KEYS = {"AWS_ACCESS_KEY_ID": "drill", "AWS_SECRET_ACCESS_KEY": "drill-of-containers"}  # nosec B105  # of a drill
_RUNNING_WORKER = "ray::RayTrainWorker"


@dataclass(frozen=True)
class Ground:
    """A cluster that may be destroyed.

    Attributes:
        cluster: its containers.
        target: how jobs come to it.
        folder: of this machine, for what is copied out of it.
        kept: where its runs are.
    """

    cluster: Containers
    target: Target
    folder: Path
    kept: Kept

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
        folder = self.folder / SECRETS_HERE
        own = {
            "RAY_API_SERVER_ADDRESS": self.target.address,
            "RAY_AUTH_TOKEN_PATH": str(folder / "ray_token"),
            "BESSEMER_TRACKING__URI": self.uri,
            "BESSEMER_TRACKING__USERNAME": MLFLOW_USER,
            "BESSEMER_TRACKING__PASSWORD_FILE": str(folder / "mlflow_password"),
        }
        others = {name: x for name, x in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
        return {**others, **own}

    def containers_of(self, service: str) -> list[str]:
        """Return the ids of the running containers of a service, in the order of their names."""
        return nodes_of(self.cluster, service)

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
        inner = f"{run_dir.rpartition('/')[2]}/{LOGS_FOLDER}/worker-{rank}.jsonl"
        places = (f"{HOME}/.cache", run_dir if run_dir.startswith("/") else HOME)
        find = f"find {places[0]} {places[1]} -path '*/{inner}' 2>/dev/null | head -n 1"
        said = []
        for node in self.containers_of("worker"):
            # Of storage that all nodes share, each node has the same file.
            text = docker("exec", node, "sh", "-c", f'tail -n 1 "$({find})"', check=False)
            with contextlib.suppress(ValueError, KeyError, TypeError):
                line = json.loads(text)
                said.append((str(line["time"]), str(line["node"])))
        if not said:
            raise DrillError(f"no node has a log of worker {rank} of {run_dir}")
        return max(said)[1]

    def fetch(self, run_dir: str) -> Path:
        """Copy the folder of a run out of the cluster; return where it is now.

        Raises:
            DrillError: it is not there.
        """
        target = self.folder / "fetched" / run_dir.rpartition("/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        self.kept.fetch(run_dir, target)
        return target

    def wait_for_nodes(self, num_nodes: int) -> None:
        """Wait until so many nodes are there beside the head (count).

        Raises:
            ClusterError: they do not come.
        """
        wait_for_nodes(self.cluster, num_nodes, time.monotonic() + _READY_WITHIN_S)


def check_images(settings: Settings, image: str) -> None:
    """See that this machine has the images of a cluster.

    Args:
        settings: what its nodes have.
        image: of the nodes.

    Raises:
        ClusterError: one is missing.
    """
    deploy = settings.deploy.model_copy(update={"image": image})
    settings = settings.model_copy(update={"deploy": deploy})
    stages = {"runtime": "make build", "mlflow": "make build"}
    if storage_of(settings).is_url:
        stages[_BUCKET_STAGE] = "make build-dev"
    for stage, command in stages.items():
        check_image(image_name(settings, target=stage), command)


@contextlib.contextmanager
def started_ground(settings: Settings, name: str, image: str) -> Iterator[Ground]:
    """Start a cluster of containers, and remove it with all that it held.

    Args:
        settings: what its nodes have; with a URL of S3 for storage, a server of that is started too.
        name: that the cluster's begins with; no two have the same.
        image: of the nodes.

    Raises:
        ClusterError: it does not start.
    """
    name = f"{name}-{secrets.token_hex(2)}"
    ports = {"dashboard_port": free_port(), "mlflow_port": free_port(), "image": image}
    settings = settings.model_copy(update={"deploy": settings.deploy.model_copy(update=ports)})
    storage = storage_of(settings)
    with tempfile.TemporaryDirectory(prefix="bessemer-ground-") as temporary:
        folder = Path(temporary)
        # The user of the containers reads the secrets in it.
        folder.chmod(0o755)
        file = folder / COMPOSE_FILE
        file.parent.mkdir()
        file.write_text(compose_text(settings), encoding="utf-8")
        cluster = Containers(folder, name, settings)
        with contextlib.ExitStack() as held:
            if storage.is_url:
                cluster = _with_bucket(cluster, held)
            held.callback(take_down, cluster)
            bring_up(cluster, _READY_WITHIN_S)
            kept: Kept
            if storage.is_url:
                _make_bucket(storage.path)
                kept = InBucket(storage.path)
            else:
                kept = InVolume(storage.path, nodes_of(cluster, "head")[0])
            yield Ground(cluster, find_target(settings.deploy, COMPOSE, {}, folder), folder, kept)


def _with_bucket(cluster: Containers, held: contextlib.ExitStack) -> Containers:
    """Add a server of S3 to a cluster, and let this process reach it as long as the cluster is there."""
    port = free_port()
    file = Path("docker") / "bucket.yaml"
    image = image_name(cluster.settings, cluster.project, _BUCKET_STAGE)
    text = _BUCKET_COMPOSE.format(image=image, inside=_BUCKET_PORT, outside=port)
    (cluster.here / file).write_text(text, encoding="utf-8")
    inside = {**_KEYS, "AWS_ENDPOINT_URL": f"http://bucket:{_BUCKET_PORT}"}
    keys = cluster.here / "docker" / STORAGE_SECRETS
    keys.parent.mkdir(parents=True, exist_ok=True)
    keys.write_text("".join(f"{key}={value}\n" for key, value in inside.items()), encoding="utf-8")
    held.enter_context(_variables({**_KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}))
    return replace(cluster, files=(*cluster.files, file))


@contextlib.contextmanager
def _variables(more: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _make_bucket(url: str) -> None:
    """Make the bucket of a URL, once its server answers."""
    import s3fs

    s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"]).mkdir(urlsplit(url).netloc)


def resized(ground: Ground, num_nodes: int) -> Ground:
    """Return a cluster with so many nodes beside its head, without doing it (count)."""
    deploy = ground.settings.deploy.model_copy(update={"worker_nodes": num_nodes})
    settings = ground.settings.model_copy(update={"deploy": deploy})
    return replace(ground, cluster=replace(ground.cluster, settings=settings))
