"""How many nodes a cluster has and what each needs, so that the workers of a run find room.

The counterpart of `training/placement.py`, which decides on a cluster that is there: what is planned
here holds `workers_per_node` workers on each node as that module counts them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bessemer.config.settings import Scaling, Settings
from bessemer.errors import DeploymentError

# Room for Ray's own processes on a node: the raylet, its agents, the log monitor.
_RAY_BYTES = 768 * 2**20
# Torch hands batches from process to process in /dev/shm, where the object store is too.
_SHARED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Nodes:
    """The nodes that train; the head is not one of them.

    Attributes:
        num_nodes: that are always there (count).
        max_nodes: to which a cluster may grow (count).
        num_spot: of `num_nodes`, those that may be taken away (count).
        max_spot: of `max_nodes`, those that may be taken away (count).
        cpus: logical CPUs of a node (count).
        gpus: GPUs of a node (count).
        worker_bytes: memory of a node for its workers (bytes).
        object_store_bytes: memory of a node's object store (bytes).
    """

    num_nodes: int
    max_nodes: int
    num_spot: int
    max_spot: int
    cpus: int
    gpus: int
    worker_bytes: int
    object_store_bytes: int

    @property
    def memory_bytes(self) -> int:
        """All memory of a node: its workers, the object store and Ray's own processes (bytes)."""
        return self.worker_bytes + self.shared_bytes + _RAY_BYTES

    @property
    def shared_bytes(self) -> int:
        """Size of a node's /dev/shm (bytes)."""
        return self.object_store_bytes + _SHARED_BYTES

    @property
    def grows(self) -> bool:
        """Whether the number of nodes follows what is asked of the cluster."""
        return self.max_nodes > self.num_nodes


def plan_nodes(settings: Settings) -> Nodes:
    """Plan the nodes that a run with these settings needs.

    Raises:
        DeploymentError: the settings contradict each other.
    """
    deploy, scaling = settings.deploy, settings.scaling
    num_nodes = max(deploy.worker_nodes, math.ceil(scaling.min_workers / deploy.workers_per_node))
    wanted = math.ceil(scaling.max_workers / deploy.workers_per_node)
    max_nodes = deploy.max_worker_nodes or max(num_nodes, wanted)
    if max_nodes < deploy.worker_nodes:
        raise DeploymentError(
            f"deploy.max_worker_nodes = {max_nodes} and deploy.worker_nodes = {deploy.worker_nodes}",
            expected="no fewer nodes at most than always",
            todo="raise deploy.max_worker_nodes; 0 takes as many as scaling.num_workers can use",
        )
    if max_nodes < wanted:
        raise DeploymentError(
            f"scaling.num_workers asks for {scaling.max_workers} workers, and {max_nodes} nodes with "
            f"{deploy.workers_per_node} workers each hold {max_nodes * deploy.workers_per_node}",
            expected="room for every worker",
            todo=f"set deploy.max_worker_nodes to {wanted}, raise deploy.workers_per_node, or ask for fewer",
        )
    if deploy.spot == "extra" and max_nodes == num_nodes:
        raise DeploymentError(
            f"deploy.spot = extra, and there are {num_nodes} nodes at any time",
            expected="more nodes at most than always",
            todo="raise deploy.max_worker_nodes, or set deploy.spot to all or none",
        )
    all_spot = deploy.spot == "all"
    return Nodes(
        num_nodes=num_nodes,
        max_nodes=max_nodes,
        num_spot=num_nodes if all_spot else 0,
        max_spot=max_nodes if all_spot else (max_nodes - num_nodes) * (deploy.spot == "extra"),
        cpus=_at_least(deploy.workers_per_node, scaling.cpus_per_worker),
        gpus=_gpus(deploy.workers_per_node, scaling.gpus_per_worker) if has_gpus(settings) else 0,
        worker_bytes=deploy.workers_per_node * deploy.memory_per_worker_bytes,
        object_store_bytes=deploy.object_store_bytes,
    )


def has_gpus(settings: Settings) -> bool:
    """Whether workers compute on GPUs: where that is left open, the build of PyTorch in the image decides.

    Raises:
        DeploymentError: they shall, and the image has a PyTorch that cannot.
    """
    device, build = settings.scaling.device, settings.deploy.build
    if device == "gpu" and build == "cpu":
        raise DeploymentError(
            "scaling.device = gpu, and deploy.build = cpu",
            expected="an image with a PyTorch for GPUs",
            todo="set deploy.build to a CUDA version such as cu128, or scaling.device to cpu",
        )
    return device == "gpu" or (device == "auto" and build != "cpu")


def device_of(scaling: Scaling, nodes: Nodes) -> str:
    """Return what workers of a planned cluster compute on: `cpu` or `gpu`."""
    return scaling.device if scaling.device != "auto" else "gpu" if nodes.gpus else "cpu"


def _at_least(num_workers: int, each: float) -> int:
    """Return the fewest that hold so many workers, though a division be a little too small (count)."""
    total = max(1, math.ceil(num_workers * each))
    while int(total / each) < num_workers:
        total += 1
    return total


def _gpus(num_workers: int, each: float) -> int:
    """Return the GPUs for so many workers (count); none has its part of one on two of them."""
    if each > 1 and each % 1:
        raise DeploymentError(
            f"scaling.gpus_per_worker = {each:g}",
            expected="a whole number, or a part of one GPU",
            todo=f"set scaling.gpus_per_worker to {math.ceil(each)}",
        )
    if each >= 1:
        return num_workers * int(each)
    return _at_least(math.ceil(num_workers / int(1 / each)), 1.0)
