"""The fields of KubeRay's own objects that rendered files have, as its release 1.6 names them."""

from __future__ import annotations

from typing import Literal

from bessemer.deployment.fields import CamelFields
from bessemer.deployment.kubernetes_fields import ContainerSecurity, Metadata, Mount, PodTemplate, Resources


class Authentication(CamelFields):
    """Who may talk to the cluster: whoever has the token under `auth_token` of the secret."""

    mode: Literal["token"] = "token"
    secret_name: str


class Autoscaler(CamelFields):
    """The container beside the head that asks for nodes and gives them back."""

    version: Literal["v2"] = "v2"
    upscaling_mode: Literal["Default"] = "Default"
    idle_timeout_seconds: int
    image_pull_policy: str
    resources: Resources
    security_context: ContainerSecurity = ContainerSecurity()
    volume_mounts: list[Mount]


class HeadGroup(CamelFields):
    """The head of a cluster."""

    ray_start_params: dict[str, str]
    template: PodTemplate


class WorkerGroup(CamelFields):
    """Nodes of one kind."""

    group_name: str
    replicas: int
    min_replicas: int
    max_replicas: int
    ray_start_params: dict[str, str]
    template: PodTemplate


class ClusterSpec(CamelFields):
    """A Ray cluster."""

    ray_version: str
    auth_options: Authentication
    enable_in_tree_autoscaling: bool
    autoscaler_options: Autoscaler | None = None
    head_group_spec: HeadGroup
    worker_group_specs: list[WorkerGroup]


class RayCluster(CamelFields):
    """A Ray cluster that is there until it is deleted."""

    api_version: Literal["ray.io/v1"] = "ray.io/v1"
    kind: Literal["RayCluster"] = "RayCluster"
    metadata: Metadata
    spec: ClusterSpec


class JobSpec(CamelFields):
    """A job, and the cluster that is made for it."""

    entrypoint: str
    submission_mode: Literal["K8sJobMode"] = "K8sJobMode"
    shutdown_after_job_finishes: Literal[True] = True
    ttl_seconds_after_finished: int
    active_deadline_seconds: int | None = None
    backoff_limit: int
    submitter_pod_template: PodTemplate
    ray_cluster_spec: ClusterSpec


class RayJob(CamelFields):
    """A job with a cluster of its own."""

    api_version: Literal["ray.io/v1"] = "ray.io/v1"
    kind: Literal["RayJob"] = "RayJob"
    metadata: Metadata
    spec: JobSpec
