"""The cluster of Docker Compose on this machine: started and waited for, shown, taken down.

What would fail is looked for first: the engine, the images, the ports. Docker is spoken to through its own
command, and Compose through either of its forms (`docker compose`, `docker-compose`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.config.settings import Settings
from bessemer.deployment.compose import SECRET_NAMES, SECRETS_HERE, compose_text
from bessemer.deployment.image import image_name, resource_name
from bessemer.errors import ClusterError
from bessemer.remote.dashboard import Facts, ask
from bessemer.remote.named import COMPOSE, find_target

COMPOSE_FILE = Path("docker") / "compose.yaml"
# What a start says to Compose beside its file.
_OPEN = ("dashboard_port", "mlflow_port", "worker_nodes", "max_worker_nodes")
_SECRET_BYTES = 32
_ASK_S, _ANSWERS_WITHIN_S, _ENDS_WITHIN_S = 1.0, 5.0, 180.0


@dataclass(frozen=True)
class Containers:
    """The cluster of a folder's `docker/compose.yaml`.

    Attributes:
        here: the folder, of a project or of Bessemer's repository.
        name: of the cluster, which its containers, volumes and networks begin with.
        settings: how many nodes, which ports.
        project: name of the project, or "" for Bessemer's own.
        files: Compose files, the first from `here`.
    """

    here: Path
    name: str
    settings: Settings
    project: str = ""
    files: tuple[Path, ...] = (COMPOSE_FILE,)

    @classmethod
    def of(cls, here: Path, settings: Settings, project: str = "") -> Containers:
        """Return the cluster of a project, or of Bessemer's repository."""
        return cls(here, resource_name(project), settings, project)

    def compose(self, *arguments: str) -> list[str]:
        """Return a command of Compose for this cluster."""
        files = [word for file in self.files for word in ("-f", str(self.here / file))]
        return [*compose_command(), "-p", self.name, *files, *arguments]

    @property
    def variables(self) -> dict[str, str]:
        """What the Compose file leaves open."""
        deploy = self.settings.deploy
        return {"DASHBOARD_PORT": str(deploy.dashboard_port), "MLFLOW_PORT": str(deploy.mlflow_port)}


def compose_command() -> list[str]:
    """Return how Compose is called here.

    Raises:
        ClusterError: there is none, or no engine runs.
    """
    if shutil.which("docker") is None or _quiet(["docker", "info"]) != 0:
        raise ClusterError(
            "no Docker engine answers on this machine",
            expected="a running engine that this user may speak to (`docker info`)",
            todo="start Docker, or use a cluster elsewhere: `bessemer submit train --cluster NAME`",
        )
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _quiet([*command, "version"]) == 0:
            return command
    raise ClusterError(
        "Docker is here, and Compose is not",
        expected="`docker compose` or `docker-compose`",
        todo="install Docker's Compose plugin",
    )


def bring_up(cluster: Containers, wait_s: float, tell: Callable[[str], None] = lambda _text: None) -> Facts:
    """Start a cluster and wait until all its nodes are there; if it runs, bring it up to date.

    Args:
        cluster: what is started.
        wait_s: longest time until it is ready (seconds).
        tell: is given what is waited for.

    Raises:
        ClusterError: something is missing, taken or does not come up.
    """
    check_ready(cluster)
    make_secrets(cluster.here)
    deploy = cluster.settings.deploy
    deadline = time.monotonic() + wait_s
    tell(f"starting MLflow, a head and {deploy.worker_nodes} nodes")
    scale(cluster, wait_s)
    return wait_for_nodes(cluster, deploy.worker_nodes, deadline)


def scale(cluster: Containers, limit_s: float) -> None:
    """Start or remove containers until there are as many nodes as the settings say, waiting for none.

    Raises:
        ClusterError: Compose fails, or takes longer than it may (seconds).
    """
    num_nodes = cluster.settings.deploy.worker_nodes
    # Compose would leave the volumes of those that are too many.
    for container in nodes_of(cluster, "worker")[num_nodes:]:
        _quiet(["docker", "rm", "--force", "--volumes", container])
    scaled = ("--scale", f"worker={num_nodes}")
    run(cluster, "up", "--detach", "--remove-orphans", *scaled, limit_s=limit_s)


def nodes_of(cluster: Containers, service: str) -> list[str]:
    """Return the ids of the running containers of a service, in the order of their names."""
    labels = [f"project={cluster.name}", f"service={service}"]
    filters = [word for x in labels for word in ("--filter", f"label=com.docker.compose.{x}")]
    found = subprocess.run(
        ["docker", "ps", "--format", "{{.Names}} {{.ID}}", *filters],
        capture_output=True,
        text=True,
        timeout=_ENDS_WITHIN_S,
        check=False,
    )
    return [line.split()[1] for line in sorted(found.stdout.splitlines())]


def wait_for_nodes(cluster: Containers, num_nodes: int, deadline: float) -> Facts:
    """Wait until so many nodes that train are there.

    Args:
        cluster: that is waited for.
        num_nodes: beside the head (count).
        deadline: of `time.monotonic` (seconds).

    Raises:
        ClusterError: they are not in time; says what the containers do.
    """
    target = find_target(cluster.settings.deploy, COMPOSE, {}, cluster.here)
    last = ""
    while time.monotonic() < deadline:
        try:
            facts = ask(target, _ANSWERS_WITHIN_S)
            able = [node for node in facts.nodes if node.cpus or node.gpus]
            if len(able) == num_nodes:
                return facts
            last = f"{len(able)} of {num_nodes} nodes have joined"
        except ClusterError as error:
            last = error.found
        time.sleep(_ASK_S)
    states = ", ".join(f"{name} {state}" for name, state in containers(cluster).items())
    raise ClusterError(
        f"the cluster {cluster.name} is not ready in time: {last} ({states or 'no containers'})",
        expected=f"a head and {num_nodes} nodes that answer",
        todo="see `make logs`",
    )


def check_ready(cluster: Containers) -> None:
    """See that a cluster can be started: its file, its images, its ports.

    Raises:
        ClusterError: something is missing or taken.
    """
    compose_command()
    file = cluster.here / cluster.files[0]
    if not file.is_file():
        raise ClusterError(
            f"there is no {file}", expected="the Compose file", todo="`bessemer cluster render` writes it"
        )
    for target in ("runtime", "mlflow"):
        image = image_name(cluster.settings, cluster.project, target)
        made = image_name(Settings(), cluster.project, target)
        check_image(image, "make build" if image == made else f"make build && docker tag {made} {image}")
    if not containers(cluster):
        for setting in ("dashboard_port", "mlflow_port"):
            _check_free(int(getattr(cluster.settings.deploy, setting)), setting)


def check_rendered(cluster: Containers, untyped: Settings) -> str:
    """See that the Compose file has the settings that a cluster is to be started with.

    Args:
        cluster: whose file and settings.
        untyped: its settings without those that were typed for this start alone.

    Returns:
        What to tell if the file is another one than is rendered now, or nothing.

    Raises:
        ClusterError: what was typed would have no effect, since the file has something else.
    """
    there = {name: getattr(untyped.deploy, name) for name in _OPEN}
    deploy = cluster.settings.deploy.model_copy(update=there)
    rendered = compose_text(cluster.settings.model_copy(update={"deploy": deploy}), cluster.project)
    file = cluster.here / cluster.files[0]
    if file.read_text(encoding="utf-8") in (rendered, compose_text(cluster.settings, cluster.project)):
        return ""
    if rendered != compose_text(untyped, cluster.project):
        raise ClusterError(
            f"{file} was written without the settings that were typed",
            expected="only ports and the number of nodes to be typed for one start",
            todo="type them for `bessemer cluster render` too, or set them in the settings and `make render`",
        )
    return f"{file} is used as it is: the settings would render another one (`make render`)"


def check_image(image: str, command: str) -> None:
    """See that this machine has an image.

    Args:
        image: its name and tag.
        command: that builds it.

    Raises:
        ClusterError: there is none.
    """
    if _quiet(["docker", "image", "inspect", image]) != 0:
        raise ClusterError(
            f"there is no image {image} on this machine", expected="the images", todo=f"`{command}`"
        )


def _check_free(port: int, setting: str) -> None:
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ClusterError(
                f"port {port} of this machine is taken",
                expected=f"a free port for deploy.{setting}",
                todo=f"end what listens there, or set --deploy.{setting.replace('_', '-')} {port + 1} "
                "(make deploy ARGS=...)",
            )


def take_down(cluster: Containers, keep_volumes: bool = False) -> None:
    """Remove the containers and the network of a cluster, and unless they are kept its volumes."""
    volumes = () if keep_volumes else ("--volumes",)
    unnamed = _unnamed_volumes(cluster)
    try:
        run(cluster, "down", "--remove-orphans", "--timeout", "10", *volumes, limit_s=_ENDS_WITHIN_S)
    finally:
        # Compose leaves those that a container has taken over from the one before it.
        for volume in unnamed:
            _quiet(["docker", "volume", "rm", volume])


def _unnamed_volumes(cluster: Containers) -> list[str]:
    """Return the volumes of a cluster's containers that only Docker has named."""
    names = list(containers(cluster))
    if not names:
        return []
    form = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}'
    found = subprocess.run(
        ["docker", "inspect", "--format", form, *names],
        capture_output=True,
        text=True,
        timeout=_ENDS_WITHIN_S,
        check=False,
    )
    return [name for name in found.stdout.split() if re.fullmatch("[0-9a-f]{64}", name)]


def containers(cluster: Containers) -> dict[str, str]:
    """Return the states of a cluster's containers by their names, also of those that have ended."""
    of_cluster = f"label=com.docker.compose.project={cluster.name}"
    found = subprocess.run(
        ["docker", "ps", "--all", "--format", "{{json .}}", "--filter", of_cluster],
        capture_output=True,
        text=True,
        timeout=_ENDS_WITHIN_S,
        check=False,
    )
    listed = [json.loads(line) for line in found.stdout.splitlines() if line.strip()]
    return {entry["Names"]: entry["Status"] for entry in sorted(listed, key=lambda x: str(x["Names"]))}


def make_secrets(here: Path) -> None:
    """Make the token and the password that are not there yet, for this user and the containers alone.

    The folder is closed to others; the files can be read by the user of the containers, who is another one.
    """
    folder = here / SECRETS_HERE
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in SECRET_NAMES:
        file = folder / name
        if not file.exists():
            file.write_text(secrets.token_hex(_SECRET_BYTES), encoding="utf-8")
            file.chmod(0o444)


def run(cluster: Containers, *arguments: str, limit_s: float) -> None:
    """Run a command of Compose.

    Raises:
        ClusterError: it fails, or takes too long; with the last lines that it printed.
    """
    try:
        done = subprocess.run(
            cluster.compose(*arguments),
            env={**os.environ, **cluster.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"`compose {arguments[0]}` of {cluster.name} still ran after {limit_s:.0f} s",
            expected="an engine that does what it is asked",
            todo="see `docker ps --all` and `make logs`",
        ) from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        said = " / ".join(lines[-3:]) or "without a word"
        raise ClusterError(
            f"`compose {arguments[0]}` of {cluster.name} failed: {said}",
            expected="a cluster that starts",
            todo="see `make logs`",
        )


def follow_logs(cluster: Containers, services: Sequence[str], follow: bool, tail: int) -> int:
    """Show what the containers print; return the exit status of Compose.

    Args:
        cluster: whose containers.
        services: head, worker, mlflow; empty for all.
        follow: whether to go on until Ctrl-C.
        tail: lines of each that are shown first (count).
    """
    more = ("--follow",) if follow else ()
    command = cluster.compose("logs", "--tail", str(tail), *more, *services)
    environment: Mapping[str, str] = {**os.environ, **cluster.variables}
    return subprocess.run(command, env=dict(environment), stdout=sys.stdout, check=False).returncode


def _quiet(command: list[str]) -> int:
    try:
        return subprocess.run(
            command, capture_output=True, timeout=_ENDS_WITHIN_S, check=False, stdin=subprocess.DEVNULL
        ).returncode
    except subprocess.TimeoutExpired:
        return 1
