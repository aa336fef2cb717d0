"""The claims of volumes on Kubernetes, in a file of their own.

Who deletes a cluster, or the MLflow server, must not lose what they wrote with it.
"""

from __future__ import annotations

from typing import Literal

from bessemer.deployment.containers import Site
from bessemer.deployment.fields import RENDERED, document, quantity
from bessemer.deployment.kuberay import metadata
from bessemer.deployment.kubernetes_fields import Claim, ClaimResources, ClaimSpec


def storage_file(site: Site) -> str:
    """Return `storage.yaml`: the claims of the runs' volume and of MLflow's, as far as they are wanted."""
    deploy = site.settings.deploy.kubernetes
    claims = []
    about = []
    if not site.storage.is_url and not deploy.storage_claim:
        claims.append(_claim(site, site.claim, "ReadWriteMany", deploy.storage_class, deploy.storage_bytes))
        about.append(f"{site.claim} holds all runs; many nodes write it: its class must offer ReadWriteMany.")
    if site.mlflow:
        claims.append(_claim(site, site.mlflow, "ReadWriteOnce", "", deploy.mlflow_bytes))
        about.append(f"{site.mlflow} holds what MLflow records.")
    header = [
        "Volumes on Kubernetes.",
        *about,
        RENDERED,
        "",
        "Make:    kubectl apply -f cluster/storage.yaml",
        "Deleting it may delete what the volumes hold, as their storage class says.",
    ]
    return document("\n".join(header), claims)


def _claim(
    site: Site,
    name: str,
    mode: Literal["ReadWriteMany", "ReadWriteOnce"],
    storage_class: str,
    size_bytes: int,
) -> Claim:
    return Claim(
        metadata=metadata(site, name),
        spec=ClaimSpec(
            access_modes=[mode],
            storage_class_name=storage_class or None,
            resources=ClaimResources(requests={"storage": quantity(size_bytes)}),
        ),
    )
