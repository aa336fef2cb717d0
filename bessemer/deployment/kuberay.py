"""Files for Kubernetes with the KubeRay operator: a cluster, and a job with a cluster of its own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from bessemer.config.settings import Settings
from bessemer.deployment.containers import TEMPORARY, Site
from bessemer.deployment.fields import RENDERED, document
from bessemer.deployment.image import WORK_FOLDER, image_name, resource_name
from bessemer.deployment.kuberay_fields import (
    Authentication,
    Autoscaler,
    ClusterSpec,
    HeadGroup,
    JobSpec,
    RayCluster,
    RayJob,
    WorkerGroup,
)
from bessemer.deployment.kubernetes_fields import Metadata, Resources
from bessemer.deployment.nodes import Nodes, device_of, plan_nodes
from bessemer.deployment.pods import head, submitter, worker
from bessemer.errors import DeploymentError

_GONE_ON_WITH = """\
Where a run of that name was begun, by an earlier try or by an
earlier job, it is gone on with; once it is complete, the job has nothing to do. For another run, set
tracking.run_name."""
_SMALL = {"cpu": "500m", "memory": "512Mi"}
_NAME_LABEL = "app.kubernetes.io/name"


def cluster_file(site: Site, ray_version: str) -> str:
    """Return `raycluster.yaml`: a cluster that is there until it is deleted.

    Raises:
        DeploymentError: the settings contradict each other.
    """
    namespace = site.settings.deploy.kubernetes.namespace
    chosen = "" if site.project else " --project PROJECT"
    header = f"""\
A Ray cluster on Kubernetes, with the KubeRay operator 1.6 or newer.
{RENDERED}

{_prerequisites(site)}
Start:   kubectl apply -f cluster/raycluster.yaml
Reach:   kubectl -n {namespace} port-forward service/{site.name}-head-svc 8265
Train:   RAY_AUTH_MODE=token RAY_AUTH_TOKEN="$(kubectl -n {namespace} get secret {site.secret} \\
             -o jsonpath={{.data.auth_token}} | base64 -d)" \\
           ray job submit --address http://127.0.0.1:8265 -- python {WORK_FOLDER}/jobs/train.py{chosen}
Stop:    kubectl delete -f cluster/raycluster.yaml"""
    return document(header, [RayCluster(metadata=metadata(site, site.name), spec=_spec(site, ray_version))])


def job_file(site: Site, ray_version: str, project: str, arguments: Sequence[str] = ()) -> str:
    """Return `rayjob.yaml`: a training with a cluster of its own, which ends with it.

    Args:
        site: what all pods share.
        ray_version: of the image.
        project: that is trained.
        arguments: more settings, as on the command line.

    Raises:
        DeploymentError: the settings contradict each other.
    """
    deploy = site.settings.deploy.kubernetes
    run_name = site.settings.tracking.run_name or f"{resource_name(project)}-job"
    name = f"{site.name}-train"
    header = f"""\
A training of {project} on Kubernetes, with a Ray cluster of its own, by the KubeRay operator 1.6 or newer.
{RENDERED}

{_prerequisites(site)}
Start:   kubectl apply -f cluster/rayjob.yaml
Follow:  kubectl -n {deploy.namespace} logs -f job/{name}
Stop:    kubectl delete -f cluster/rayjob.yaml

The run is called {run_name}. {_GONE_ON_WITH}"""
    spec = JobSpec(
        entrypoint=entrypoint(site, project, run_name, arguments),
        ttl_seconds_after_finished=deploy.ttl_s,
        active_deadline_seconds=deploy.deadline_s or None,
        backoff_limit=deploy.retries,
        submitter_pod_template=submitter(site),
        ray_cluster_spec=_spec(site, ray_version),
    )
    return document(header, [RayJob(metadata=metadata(site, name), spec=spec)])


def entrypoint(site: Site, project: str, run_name: str, arguments: Sequence[str] = ()) -> str:
    """Return the command of a job, which begins a run or goes on with it.

    A job that is tried again has the same command. It passes through two shells and a list of arguments, so
    it has neither variables nor quotation marks inside.

    Raises:
        DeploymentError: an argument that would not pass unharmed.
    """
    given = [*_scaling_arguments(site.settings), *arguments]
    for word in (project, run_name, *given):
        if shlex.quote(word) != word:
            raise DeploymentError(
                f"{word!r} for the command of a job",
                expected="words without blanks and signs that a shell changes",
                todo="put this value into the project's settings.toml",
            )
    train = " ".join(["python", "jobs/train.py", *([] if site.project else ["--project", project])])
    settings = " ".join(given)
    return f"bash -c 'cd {WORK_FOLDER}; exec {train} --resume {run_name} --or-begin {settings}'"


def _scaling_arguments(settings: Settings) -> list[str]:
    """Return what the nodes were planned for, whatever the image's own settings say."""
    scaling, nodes = settings.scaling, plan_nodes(settings)
    device = device_of(scaling, nodes)
    workers = f"{scaling.min_workers},{scaling.max_workers}" if scaling.is_elastic else scaling.num_workers
    given = {"num-workers": workers, "device": device, "cpus-per-worker": f"{scaling.cpus_per_worker:g}"}
    if device == "gpu":
        given["gpus-per-worker"] = f"{scaling.gpus_per_worker:g}"
    return [word for name, value in given.items() for word in (f"--scaling.{name}", str(value))]


def _spec(site: Site, ray_version: str) -> ClusterSpec:
    deploy = site.settings.deploy
    nodes = plan_nodes(site.settings)
    return ClusterSpec(
        ray_version=ray_version,
        auth_options=Authentication(secret_name=site.secret),
        enable_in_tree_autoscaling=nodes.grows,
        autoscaler_options=_autoscaler(site) if nodes.grows else None,
        head_group_spec=HeadGroup(
            ray_start_params={
                "num-cpus": "0",
                "dashboard-host": "0.0.0.0",  # nosec B104  # a pod's own address; wants a token
                "object-store-memory": str(deploy.object_store_bytes),
            },
            template=head(site, nodes),
        ),
        worker_group_specs=_groups(site, nodes),
    )


def _groups(site: Site, nodes: Nodes) -> list[WorkerGroup]:
    """Return the groups of nodes: those that stay, and those that may be taken away."""
    counts = {
        "workers": (nodes.num_nodes - nodes.num_spot, nodes.max_nodes - nodes.max_spot),
        "spot": (nodes.num_spot, nodes.max_spot),
    }
    parameters = {
        "num-cpus": str(nodes.cpus),
        **({"num-gpus": str(nodes.gpus)} if nodes.gpus else {}),
        "memory": str(nodes.worker_bytes),
        "object-store-memory": str(nodes.object_store_bytes),
    }
    return [
        WorkerGroup(
            group_name=name,
            replicas=least,
            min_replicas=least,
            max_replicas=most,
            ray_start_params=parameters,
            template=worker(site, nodes, spot=name == "spot"),
        )
        for name, (least, most) in counts.items()
        if most
    ]


def _autoscaler(site: Site) -> Autoscaler:
    return Autoscaler(
        idle_timeout_seconds=site.settings.deploy.idle_timeout_s,
        image_pull_policy=site.settings.deploy.kubernetes.image_pull_policy,
        resources=Resources(requests=_SMALL, limits=_SMALL),
        volume_mounts=[TEMPORARY],
    )


def metadata(site: Site, name: str) -> Metadata:
    """Return what an object of a cluster is called."""
    return Metadata(
        name=name, namespace=site.settings.deploy.kubernetes.namespace, labels={_NAME_LABEL: site.name}
    )


def _prerequisites(site: Site) -> str:
    kubernetes = site.settings.deploy.kubernetes
    claim = "" if site.storage.is_url else kubernetes.storage_claim
    volumes = not site.storage.is_url and not kubernetes.storage_claim
    files = [
        *(["cluster/storage.yaml"] if volumes or site.mlflow else []),
        *(["cluster/mlflow.yaml"] if site.mlflow else []),
    ]
    apply = "  kubectl apply" + "".join(f" -f {file}" for file in files) + "\n" if files else ""
    have = f", the claim {claim}" if claim else ""
    return f"""\
Needs the image {image_name(site.settings, site.project)} where nodes can pull it{have}, and, once:
{apply}  kubectl -n {kubernetes.namespace} create secret generic {site.secret} \\
    --from-literal=auth_token="$(openssl rand -hex 32)" --from-file=mlflow_credentials=FILE
(mlflow_credentials only if MLflow wants a password; docs/clusters.md of Bessemer says what is in it.)
"""
