"""The fields of Kubernetes for a server: what keeps it running, and how others reach it."""

from __future__ import annotations

from typing import Literal

from bessemer.deployment.fields import CamelFields
from bessemer.deployment.kubernetes_fields import Metadata, PodTemplate


class Strategy(CamelFields):
    """How a new version replaces the old: after it, since both would write the same volume."""

    type: Literal["Recreate"] = "Recreate"


class Selector(CamelFields):
    """Pods by their labels."""

    match_labels: dict[str, str]


class DeploymentSpec(CamelFields):
    """Pods that are always there."""

    replicas: int
    strategy: Strategy = Strategy()
    selector: Selector
    template: PodTemplate


class Deployment(CamelFields):
    """A server."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["Deployment"] = "Deployment"
    metadata: Metadata
    spec: DeploymentSpec


class ServicePort(CamelFields):
    """A port of a service."""

    name: str
    port: int


class ServiceSpec(CamelFields):
    """Which pods answer, and on which ports."""

    selector: dict[str, str]
    ports: list[ServicePort]


class Service(CamelFields):
    """A name under which pods are reached."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Service"] = "Service"
    metadata: Metadata
    spec: ServiceSpec
