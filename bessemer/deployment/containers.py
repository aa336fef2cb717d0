"""Containers of a Ray cluster on Kubernetes, and the volumes that they need.

The root of every container is read-only; what Ray and torch write goes to volumes that live as long as
the pod. KubeRay leaves alone what is here of what it would add itself: the probes and /dev/shm.
"""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.config.settings import Settings
from bessemer.deployment.fields import quantity
from bessemer.deployment.image import HOME, WORK_FOLDER, image_name
from bessemer.deployment.kubernetes_fields import (
    ClaimSource,
    Command,
    Container,
    EmptyDir,
    Handler,
    HttpGet,
    KeyPath,
    Lifecycle,
    Mount,
    Port,
    Probe,
    Reference,
    Resources,
    SecretSource,
    Variable,
    Variables,
    Volume,
)
from bessemer.deployment.storage import Storage, environment_of

GPU = "nvidia.com/gpu"
TEMPORARY = Mount(name="tmp", mount_path="/tmp")  # nosec B108  # a volume of the pod
HEAD_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080}
WORKER_PORTS = {"metrics": 8080}
MLFLOW_PORT = 5000

# Of Ray's agent, the same on the head, where it asks after the head's own services too. The node asks it
# over HTTP, with no token, so the image needs no program for that.
_HEALTH = HttpGet(path="/api/healthz", port=52365)
_SUBMITTER_BYTES = 2**30
_READABLE = 0o440


@dataclass(frozen=True)
class Site:
    """What all pods of a cluster share.

    Attributes:
        settings: of the run.
        name: of the cluster.
        project: whose image it is; empty: that of the repository.
        storage: where runs are.
    """

    settings: Settings
    name: str
    project: str
    storage: Storage

    @property
    def claim(self) -> str:
        """Name of the claim of the volume that holds the runs."""
        return self.settings.deploy.kubernetes.storage_claim or f"{self.name}-runs"

    @property
    def secret(self) -> str:
        """Name of the secret with Ray's token and the password of MLflow."""
        return self.settings.deploy.kubernetes.secret or f"{self.name}-secrets"

    @property
    def mlflow(self) -> str:
        """Name of the MLflow server that is rendered, of its service and of its claim; empty: none is."""
        return f"{self.name}-mlflow" if self.settings.deploy.kubernetes.mlflow else ""


def ray_container(
    site: Site, name: str, ports: dict[str, int], resources: Resources, before_stop: str
) -> Container:
    """Return the container of a node of Ray.

    Args:
        site: what all pods share.
        name: of the container.
        ports: by name.
        resources: what it may use.
        before_stop: shell command that is run before it is stopped.
    """
    tracking_uri = f"http://{site.mlflow}:{MLFLOW_PORT}" if site.mlflow else ""
    environment = {"HOME": HOME, **environment_of(site.settings, site.storage, tracking_uri)}
    storage_secret = site.settings.deploy.kubernetes.storage_secret
    return Container(
        name=name,
        image=image_name(site.settings, site.project),
        image_pull_policy=site.settings.deploy.kubernetes.image_pull_policy,
        env=[Variable(name=key, value=value) for key, value in environment.items()],
        env_from=[Variables(secret_ref=Reference(name=storage_secret))] if storage_secret else None,
        ports=[Port(name=key, container_port=port) for key, port in ports.items()],
        resources=resources,
        volume_mounts=_mounts(site),
        lifecycle=Lifecycle(pre_stop=Handler(exec=Command(command=["/bin/bash", "-c", before_stop]))),
        startup_probe=probe(_HEALTH, period_s=5, num_failures=60),
        readiness_probe=probe(_HEALTH, period_s=5, num_failures=10),
        # Patient: a node that computes hard answers late.
        liveness_probe=probe(_HEALTH, period_s=10, num_failures=60),
    )


def submitting_container(site: Site) -> Container:
    """Return the container that hands a job to its cluster; KubeRay writes its command."""
    environment = {"HOME": TEMPORARY.mount_path, "RAY_USAGE_STATS_ENABLED": "0"}
    return Container(
        name="ray-job-submitter",
        image=image_name(site.settings, site.project),
        image_pull_policy=site.settings.deploy.kubernetes.image_pull_policy,
        env=[Variable(name=key, value=value) for key, value in environment.items()],
        resources=resources_of(1, _SUBMITTER_BYTES),
        volume_mounts=[TEMPORARY],
    )


def resources_of(cpus: int, memory_bytes: int, gpus: int = 0) -> Resources:
    """Return what a container asks for, and may use no more of."""
    amounts = {"cpu": str(cpus), "memory": quantity(memory_bytes)} | ({GPU: str(gpus)} if gpus else {})
    return Resources(requests=amounts, limits=amounts)


def volumes_of(site: Site, shared_bytes: int) -> list[Volume]:
    """Return the volumes of a node of Ray, with a /dev/shm of so many bytes."""
    credentials = SecretSource(
        secret_name=site.secret,
        default_mode=_READABLE,
        optional=True,
        items=[KeyPath(key="mlflow_credentials", path="credentials")],
    )
    volumes = [
        temporary_volume(),
        Volume(name="home", empty_dir=EmptyDir()),
        Volume(name="shared-memory", empty_dir=EmptyDir(medium="Memory", size_limit=quantity(shared_bytes))),
        Volume(name="mlflow", secret=credentials),
    ]
    if not site.storage.is_url:
        volumes.append(Volume(name="runs", persistent_volume_claim=ClaimSource(claim_name=site.claim)))
    if not site.project:
        # What the repository's own image converts on the way: its root cannot be written.
        volumes.append(Volume(name="projects", empty_dir=EmptyDir()))
    return volumes


def probe(page: HttpGet, period_s: int, num_failures: int) -> Probe:
    """Return a probe that asks for a page, and gives up after so many failures in a row."""
    return Probe(http_get=page, period_seconds=period_s, timeout_seconds=5, failure_threshold=num_failures)


def temporary_volume() -> Volume:
    """Return the volume of /tmp."""
    return Volume(name=TEMPORARY.name, empty_dir=EmptyDir())


def _mounts(site: Site) -> list[Mount]:
    mounts = [
        TEMPORARY,
        Mount(name="home", mount_path=HOME),
        Mount(name="shared-memory", mount_path="/dev/shm"),  # nosec B108  # a pod's own shared memory
        Mount(name="mlflow", mount_path=f"{HOME}/.mlflow", read_only=True),
    ]
    if not site.storage.is_url:
        mounts.append(Mount(name="runs", mount_path=site.storage.path))
    if not site.project:
        mounts.append(Mount(name="projects", mount_path=f"{WORK_FOLDER}/projects"))
    return mounts
