"""Do the wished workers fit on the cluster? A pure decision on numbers; Ray would wait for ever.

Also decides what each worker computes on and what is left for data, so that training and Ray Data
never wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bessemer.config.data_settings import Data
from bessemer.config.settings import Scaling
from bessemer.errors import PlacementError

# With less than two, one block is fetched after the other even where training waits for them.
_LEAST_TASKS = 2
# Each holds the data set in its memory.
_MOST_TASKS = 4


@dataclass(frozen=True)
class Node:
    """What a node of the cluster has, free or not.

    Attributes:
        cpus: logical CPUs (count).
        gpus: GPUs (count).
    """

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Placement:
    """How a run uses the cluster.

    Attributes:
        num_workers: processes that train; the least of them where the number follows the cluster (count).
        use_gpu: whether they compute on GPUs.
        cpus_per_worker: logical CPUs reserved for each (count).
        gpus_per_worker: GPUs reserved for each; 0 without GPUs (count).
        tasks_per_worker: Ray Data tasks that fetch for one worker at a time (count).
        cpus_per_task: logical CPUs for a Ray Data task; 0 where the workers have them all.
        max_workers: the most processes that train, where the number follows the cluster (count).
    """

    num_workers: int
    use_gpu: bool
    cpus_per_worker: float
    gpus_per_worker: float
    tasks_per_worker: int
    cpus_per_task: float
    max_workers: int | None = None

    @property
    def resources_per_worker(self) -> dict[str, float]:
        """What Ray reserves for a worker."""
        resources = {"CPU": self.cpus_per_worker}
        if self.use_gpu:
            resources["GPU"] = self.gpus_per_worker
        return resources


def decide_placement(scaling: Scaling, data: Data, nodes: Sequence[Node]) -> Placement:
    """Decide how a run uses a cluster; where the number of workers follows it, for the least of them.

    Raises:
        PlacementError: the workers do not fit; says how many would.
    """
    with_gpu = num_fitting(nodes, scaling.cpus_per_worker, scaling.gpus_per_worker)
    with_cpu = num_fitting(nodes, scaling.cpus_per_worker, 0)
    num_workers = scaling.min_workers
    use_gpu = scaling.device == "gpu" or (scaling.device == "auto" and with_gpu >= num_workers)
    fitting = with_gpu if use_gpu else with_cpu
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    if fitting < num_workers:
        wish = f"{scaling.cpus_per_worker:g} CPU"
        if use_gpu:
            wish += f" and {scaling.gpus_per_worker:g} GPU"
        less = (
            f"set --scaling.num-workers {fitting}"
            if fitting
            else "lower --scaling.cpus-per-worker" + (" or set --scaling.device cpu" if use_gpu else "")
        )
        raise PlacementError(
            f"{num_workers} workers of {wish} each, on {len(nodes)} node(s) that have "
            f"{cpus:g} CPU and {gpus:g} GPU",
            expected=f"at most {fitting} such workers fit",
            todo=f"{less}, or add nodes to the cluster",
        )
    spare = cpus - num_workers * scaling.cpus_per_worker
    spare_tasks = min(max(_LEAST_TASKS, int(spare / num_workers)), _MOST_TASKS)
    tasks_per_worker = data.tasks_per_worker or spare_tasks
    # Workers that come later take what is spare now.
    has_spare = not scaling.is_elastic and spare >= num_workers * tasks_per_worker
    return Placement(
        num_workers=num_workers,
        use_gpu=use_gpu,
        cpus_per_worker=scaling.cpus_per_worker,
        gpus_per_worker=scaling.gpus_per_worker if use_gpu else 0.0,
        tasks_per_worker=tasks_per_worker,
        cpus_per_task=1.0 if has_spare else 0.0,
        max_workers=scaling.max_workers if scaling.is_elastic else None,
    )


def num_fitting(nodes: Sequence[Node], cpus: float, gpus: float) -> int:
    """Return how many workers of so many logical CPUs and GPUs each find room, none on two nodes (count)."""
    return sum(int(min(node.cpus / cpus, node.gpus / gpus if gpus else float("inf"))) for node in nodes)
