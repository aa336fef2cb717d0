"""The file of an MLflow server on Kubernetes: one pod with SQLite and the artifacts on a volume of its own.

It has no password: whoever reaches the namespace's network reaches it.
"""

from __future__ import annotations

from bessemer.deployment.containers import (
    MLFLOW_PORT,
    TEMPORARY,
    Site,
    probe,
    resources_of,
    temporary_volume,
)
from bessemer.deployment.fields import RENDERED, document
from bessemer.deployment.image import image_name
from bessemer.deployment.kuberay import metadata
from bessemer.deployment.kubernetes_fields import (
    ClaimSource,
    Container,
    HttpGet,
    Mount,
    Port,
    Variable,
    Volume,
)
from bessemer.deployment.pods import pod_template
from bessemer.deployment.service_fields import (
    Deployment,
    DeploymentSpec,
    Selector,
    Service,
    ServicePort,
    ServiceSpec,
)

_FOLDER = "/mlflow"
_GRACE_S = 30
_MEMORY_BYTES = 2 * 2**30
_HEALTH = HttpGet(path="/health", port=MLFLOW_PORT)
_LABEL = "app.kubernetes.io/component"


def mlflow_file(site: Site) -> str:
    """Return `mlflow.yaml`: the server, and the service by which the cluster's pods find it."""
    namespace = site.settings.deploy.kubernetes.namespace
    header = f"""\
An MLflow server on Kubernetes, without a password: whoever reaches its service can read and write.
{RENDERED}

Needs cluster/storage.yaml applied.
Start:   kubectl apply -f cluster/mlflow.yaml
Reach:   kubectl -n {namespace} port-forward service/{site.mlflow} {MLFLOW_PORT}
Stop:    kubectl delete -f cluster/mlflow.yaml   (what it recorded stays)"""
    labels = {_LABEL: site.mlflow}
    volumes = [
        temporary_volume(),
        Volume(name="mlflow", persistent_volume_claim=ClaimSource(claim_name=site.mlflow)),
    ]
    server = Deployment(
        metadata=metadata(site, site.mlflow),
        spec=DeploymentSpec(
            replicas=1,
            selector=Selector(match_labels=labels),
            template=pod_template(site, _container(site), volumes, grace_s=_GRACE_S, labels=labels),
        ),
    )
    service = Service(
        metadata=metadata(site, site.mlflow),
        spec=ServiceSpec(selector=labels, ports=[ServicePort(name="http", port=MLFLOW_PORT)]),
    )
    return document(header, [server, service])


def _container(site: Site) -> Container:
    namespace = site.settings.deploy.kubernetes.namespace
    hosts = (site.mlflow, f"{site.mlflow}.{namespace}", "localhost", "127.0.0.1")
    return Container(
        name="mlflow",
        image=image_name(site.settings, site.project),
        image_pull_policy=site.settings.deploy.kubernetes.image_pull_policy,
        command=[
            *("mlflow", "server", "--host=0.0.0.0", f"--port={MLFLOW_PORT}", "--workers=1"),
            f"--backend-store-uri=sqlite:///{_FOLDER}/mlflow.db",
            f"--artifacts-destination={_FOLDER}/artifacts",
            "--serve-artifacts",
            f"--allowed-hosts={','.join(f'{host}:{MLFLOW_PORT}' for host in hosts)}",
        ],
        env=[Variable(name="HOME", value=TEMPORARY.mount_path)],
        ports=[Port(name="http", container_port=MLFLOW_PORT)],
        resources=resources_of(1, _MEMORY_BYTES),
        volume_mounts=[TEMPORARY, Mount(name="mlflow", mount_path=_FOLDER)],
        startup_probe=probe(_HEALTH, period_s=5, num_failures=60),
        readiness_probe=probe(_HEALTH, period_s=5, num_failures=3),
        liveness_probe=probe(_HEALTH, period_s=10, num_failures=6),
    )
