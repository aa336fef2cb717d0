"""`docker/compose.yaml`: a Ray head, nodes that train, and an MLflow server, on the Docker of one machine.

Every port is bound to 127.0.0.1, Ray wants a token and MLflow a password, both from files; containers run
as a user without rights on a root file system that cannot be written. Written for Docker Compose 2 and for
docker-compose 1.29.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bessemer.config.settings import ENV_DELIMITER, ENV_PREFIX, Settings
from bessemer.deployment.image import HOME, USER_ID, image_name
from bessemer.deployment.nodes import Nodes, plan_nodes
from bessemer.deployment.storage import Storage, storage_of
from bessemer.errors import DeploymentError

# Where things are in the containers.
SECRETS_FOLDER = "/run/secrets"
# Beside compose.yaml; `bessemer cluster up` makes those that are missing.
SECRET_NAMES = ("ray_token", "mlflow_password")
SECRETS_HERE = Path("docker") / "secrets"
STORAGE_SECRETS = "secrets/storage.env"

GCS_PORT, DASHBOARD_PORT, MLFLOW_PORT, METRICS_PORT = 6379, 8265, 5000, 8080
MLFLOW_USER = "admin"
_HEAD_CPUS = 0
_SHM_SLACK_BYTES = 64 * 2**20
_SCRATCH_BYTES = 256 * 2**20

_HEADER = """\
# A Ray cluster and an MLflow server on this machine: `make build deploy`, and `make deploy-down` to remove
# them. Jobs: `bessemer submit train --cluster compose`. Dashboard: http://127.0.0.1:{dashboard}, MLflow (user
# {user}): http://127.0.0.1:{mlflow}; token and password are in docker/secrets. Written by `bessemer cluster
# render` from the settings of section deploy: change them there, and render again.
"""


def compose_text(settings: Settings, project: str = "") -> str:
    """Return the text of `compose.yaml`.

    Args:
        settings: what nodes have, from `deploy` and `scaling`.
        project: name of the project, for the image; empty for Bessemer itself.

    Raises:
        DeploymentError: the settings contradict each other.
    """
    nodes, storage = plan_nodes(settings), storage_of(settings)
    deploy = settings.deploy
    header = _HEADER.format(dashboard=deploy.dashboard_port, mlflow=deploy.mlflow_port, user=MLFLOW_USER)
    services = {"mlflow": _mlflow(settings, project), "head": _head(settings, storage, project)}
    services["worker"] = _worker(settings, nodes, storage, project)
    secrets = {name: {"file": f"./secrets/{name}"} for name in SECRET_NAMES}
    volumes: dict[str, Any] = {"mlflow": {}}
    if not storage.is_url:
        volumes["runs"] = {}
    content = {"services": services, "secrets": secrets, "volumes": volumes}
    return header + str(yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True))


def _mlflow(settings: Settings, project: str) -> dict[str, Any]:
    port = f"${{MLFLOW_PORT:-{settings.deploy.mlflow_port}}}"
    hosts = f"mlflow:{MLFLOW_PORT},localhost:{port},127.0.0.1:{port}"
    return {
        **_confined(image_name(settings, project, "mlflow")),
        "environment": {"BESSEMER_MLFLOW_HOSTS": hosts},
        "secrets": ["mlflow_password"],
        "volumes": ["mlflow:/mlflow"],
        "ports": [f"127.0.0.1:{port}:{MLFLOW_PORT}"],
    }


def _head(settings: Settings, storage: Storage, project: str) -> dict[str, Any]:
    command = ["ray", "start", "--head", "--block", "--port", str(GCS_PORT)]
    # The container's own addresses; it is published on 127.0.0.1 alone.
    command += ["--dashboard-host", "0.0.0.0", "--dashboard-port", str(DASHBOARD_PORT)]  # nosec B104
    return {
        **_node(settings, storage, project, settings.deploy.head_memory_bytes),
        "command": " ".join([*command, *_resources(settings, _HEAD_CPUS)]),
        "hostname": "head",
        "ports": [f"127.0.0.1:${{DASHBOARD_PORT:-{settings.deploy.dashboard_port}}}:{DASHBOARD_PORT}"],
        "depends_on": {"mlflow": {"condition": "service_healthy"}},
    }


def _worker(settings: Settings, nodes: Nodes, storage: Storage, project: str) -> dict[str, Any]:
    command = ["ray", "start", "--block", "--address", f"head:{GCS_PORT}"]
    resources = _resources(settings, nodes.cpus)
    if nodes.gpus:
        if nodes.num_nodes > 1:
            # Compose gives each of them the first GPUs of the machine.
            raise DeploymentError(
                f"{nodes.num_nodes} containers of one machine with {nodes.gpus} GPU each",
                expected="one container that has the machine's GPUs",
                todo="set deploy.worker_nodes = 1, and deploy.workers_per_node to the number of GPUs",
            )
        resources += ["--num-gpus", str(nodes.gpus)]
    worker = {
        **_node(settings, storage, project, nodes.memory_bytes),
        "command": " ".join([*command, *resources]),
        "scale": nodes.num_nodes,
        "depends_on": {"head": {"condition": "service_healthy"}},
    }
    if nodes.gpus:
        device = {"driver": "nvidia", "count": nodes.gpus, "capabilities": ["gpu"]}
        worker["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return worker


def _resources(settings: Settings, cpus: int) -> list[str]:
    words = ["--num-cpus", str(cpus), "--object-store-memory", str(settings.deploy.object_store_bytes)]
    return [*words, "--metrics-export-port", str(METRICS_PORT), "--disable-usage-stats"]


def _node(settings: Settings, storage: Storage, project: str, memory_bytes: int) -> dict[str, Any]:
    """Return what head and workers have in common."""
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": f"{SECRETS_FOLDER}/ray_token",
        **_as_variable("checkpoint.storage_path", storage.path),
        **_as_variable("tracking.uri", f"http://mlflow:{MLFLOW_PORT}"),
        **_as_variable("tracking.username", MLFLOW_USER),
        **_as_variable("tracking.password_file", f"{SECRETS_FOLDER}/mlflow_password"),
    }
    node = {
        **_confined(image_name(settings, project)),
        "environment": variables,
        "secrets": list(SECRET_NAMES),
        # Ray's session: sockets, logs and the uploaded code of jobs.
        "volumes": ["/tmp/ray"],  # nosec B108  # a volume in the container
        "shm_size": _mib(settings.deploy.object_store_bytes + _SHM_SLACK_BYTES),
        "mem_limit": _mib(memory_bytes),
        # A node that has gone, or whose head has, comes back as a new one.
        "restart": "unless-stopped",
        "stop_grace_period": "30s",
    }
    if storage.is_url:
        node["env_file"] = [f"./{STORAGE_SECRETS}"]
    else:
        node["volumes"] = [f"runs:{storage.path}", *node["volumes"]]
    return node


def _confined(image: str) -> dict[str, Any]:
    """Return an image, and what keeps what runs in it from doing more than it must."""
    return {
        "image": image,
        "read_only": True,
        "tmpfs": [
            f"/tmp:size={_mib(_SCRATCH_BYTES)}",  # nosec B108  # a tmpfs in the container
            f"{HOME}:uid={USER_ID},gid={USER_ID},size={_mib(_SCRATCH_BYTES)}",
        ],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }


def _mib(num_bytes: int) -> str:
    return f"{-(-num_bytes // 2**20)}m"


def _as_variable(dotted: str, value: str) -> dict[str, str]:
    return {ENV_PREFIX + dotted.upper().replace(".", ENV_DELIMITER): value}
