"""Pods of a Ray cluster on Kubernetes: the head, nodes that train, and what submits a job.

KubeRay writes the `ray start` command itself, and gives every container the token of `authOptions`.
"""

from __future__ import annotations

from typing import Literal

from bessemer.deployment.containers import (
    GPU,
    HEAD_PORTS,
    WORKER_PORTS,
    Site,
    ray_container,
    resources_of,
    submitting_container,
    temporary_volume,
    volumes_of,
)
from bessemer.deployment.image import USER_ID
from bessemer.deployment.kubernetes_fields import (
    Affinity,
    Container,
    LabelRule,
    LabelRules,
    Metadata,
    NodeAffinity,
    NodeTerms,
    PodSecurity,
    PodSpec,
    PodTemplate,
    Reference,
    Toleration,
    Volume,
)
from bessemer.deployment.nodes import Nodes

# Time to stop Ray after the last checkpoint (seconds).
_STOP_S = 30
_HEAD_STOP_S = 60


def head(site: Site, nodes: Nodes) -> PodTemplate:
    """Return the pod of the head, which runs drivers and no workers.

    Where nodes come and go, an autoscaler runs beside it, which asks Kubernetes for them.
    """
    deploy = site.settings.deploy
    size = resources_of(deploy.kubernetes.head_cpus, deploy.head_memory_bytes + nodes.shared_bytes)
    return pod_template(
        site,
        ray_container(site, "ray-head", HEAD_PORTS, size, "ray stop"),
        volumes_of(site, nodes.shared_bytes),
        grace_s=_HEAD_STOP_S,
        asks_kubernetes=nodes.grows,
        affinity=_spot_affinity(site, "NotIn"),
    )


def worker(site: Site, nodes: Nodes, spot: bool) -> PodTemplate:
    """Return the pod of a node that trains.

    Args:
        site: what all pods share.
        nodes: what it needs.
        spot: whether it may be taken away; others keep off such nodes where there are any.
    """
    kubernetes = site.settings.deploy.kubernetes
    size = resources_of(nodes.cpus, nodes.memory_bytes, nodes.gpus)
    tolerations = [Toleration(key=GPU, operator="Exists")] if nodes.gpus else []
    if spot:
        key, value = kubernetes.spot_label.split("=")
        tolerations.append(Toleration(key=key, operator="Equal", value=value))
    product = kubernetes.gpu_product
    return pod_template(
        site,
        ray_container(site, "ray-worker", WORKER_PORTS, size, leave_command(kubernetes.grace_s)),
        volumes_of(site, nodes.shared_bytes),
        grace_s=kubernetes.grace_s + _STOP_S,
        tolerations=tolerations or None,
        node_selector={f"{GPU}.product": product} if nodes.gpus and product else None,
        affinity=_spot_affinity(site, "In" if spot else "NotIn"),
    )


def submitter(site: Site) -> PodTemplate:
    """Return the pod that hands a job to its cluster and follows what it prints."""
    # A job of Kubernetes takes no pods that start again by themselves.
    return pod_template(
        site, submitting_container(site), [temporary_volume()], grace_s=_STOP_S, restart_policy="Never"
    )


def leave_command(grace_s: int) -> str:
    """Return the shell command that lets a node's workers take a last checkpoint, then stops Ray.

    Ray is told that the node will go, as by a cloud that takes it away: the run stops at a checkpoint and
    goes on elsewhere. The command ends when no worker is left, or after `grace_s` seconds.
    """
    return (
        "ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message 'the pod is deleted' "
        f"--deadline-remaining-seconds {grace_s} && "
        f"while [ $SECONDS -lt {grace_s} ] && grep -qsa ^ray::RayTrain /proc/[0-9]*/cmdline; "
        "do sleep 1; done; ray stop"
    )


def _spot_affinity(site: Site, operator: Literal["In", "NotIn"]) -> Affinity | None:
    if site.settings.deploy.spot == "none":
        return None
    key, value = site.settings.deploy.kubernetes.spot_label.split("=")
    rules = LabelRules(match_expressions=[LabelRule(key=key, operator=operator, values=[value])])
    terms = NodeTerms(node_selector_terms=[rules])
    return Affinity(node_affinity=NodeAffinity(required_during_scheduling_ignored_during_execution=terms))


def pod_template(
    site: Site,
    container: Container,
    volumes: list[Volume],
    grace_s: int,
    asks_kubernetes: bool = False,
    restart_policy: Literal["Never"] | None = None,
    tolerations: list[Toleration] | None = None,
    node_selector: dict[str, str] | None = None,
    affinity: Affinity | None = None,
    labels: dict[str, str] | None = None,
) -> PodTemplate:
    """Return a pod of one container, with what is the same for all.

    Args:
        site: what all pods share.
        container: of the pod.
        volumes: that it mounts.
        grace_s: how long it has to stop (seconds).
        asks_kubernetes: whether it talks to Kubernetes.
        restart_policy: `Never` for pods that are made anew instead.
        tolerations: taints of nodes that do not keep it away.
        node_selector: labels that nodes must have.
        affinity: more about where it may be started.
        labels: by which others find it.
    """
    pull_secret = site.settings.deploy.kubernetes.image_pull_secret
    return PodTemplate(
        metadata=Metadata(labels=labels) if labels else None,
        spec=PodSpec(
            automount_service_account_token=asks_kubernetes,
            restart_policy=restart_policy,
            termination_grace_period_seconds=grace_s,
            security_context=PodSecurity(run_as_user=USER_ID, run_as_group=USER_ID, fs_group=USER_ID),
            image_pull_secrets=[Reference(name=pull_secret)] if pull_secret else None,
            node_selector=node_selector,
            tolerations=tolerations,
            affinity=affinity,
            containers=[container],
            volumes=volumes,
        ),
    )
