"""How the trials of a search share a cluster, decided before anything starts.

A trial of one worker trains inside its own process. A trial of several starts workers that reserve what
they need; it reserves nothing itself, and no more trials run than have room for all their workers, so no
two wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bessemer.config.settings import Settings
from bessemer.training.placement import Node, Placement, decide_placement, num_fitting

# Ray places nothing that asks for nothing.
_NEXT_TO_NOTHING = {"memory": 1024.0 * 1024.0}


@dataclass(frozen=True)
class Plan:
    """How trials are run.

    Attributes:
        placement: of each trial.
        here: whether a trial trains in its own process.
        num_at_once: trials that train at the same time (count).
    """

    placement: Placement
    here: bool
    num_at_once: int

    @property
    def resources(self) -> dict[str, float]:
        """What Ray reserves for a trial's own process."""
        return self.placement.resources_per_worker if self.here else dict(_NEXT_TO_NOTHING)

    @property
    def fetches_here(self) -> bool:
        """Whether trials fetch their data themselves: tasks would only take processors from other trials."""
        return self.here and not self.placement.cpus_per_task

    @property
    def gpus(self) -> float:
        """GPUs that a trial holds (count)."""
        return self.placement.num_workers * self.placement.gpus_per_worker

    @property
    def words(self) -> str:
        """What a trial holds, for people."""
        num, placement = self.placement.num_workers, self.placement
        held = f"{placement.cpus_per_worker:g} CPU"
        if placement.use_gpu:
            held += f" and {placement.gpus_per_worker:g} GPU"
        return f"1 worker of {held}, in the trial's process" if self.here else f"{num} workers of {held} each"


def plan_of(settings: Settings, nodes: Sequence[Node], num_trials: int) -> Plan:
    """Decide how trials share a cluster.

    Args:
        settings: that trials start from; their number of workers is no range.
        nodes: of the cluster.
        num_trials: in all (count).

    Raises:
        PlacementError: not even one fits.
    """
    placement = decide_placement(settings.scaling, settings.data, nodes)
    workers = placement.num_workers
    room = num_fitting(nodes, placement.cpus_per_worker, placement.gpus_per_worker) // workers
    num = min(room, num_trials, settings.tuning.max_at_once or room)
    tasks = num * workers * placement.tasks_per_worker
    spare = sum(node.cpus for node in nodes) - num * workers * placement.cpus_per_worker
    # Where the trials together leave no processors, tasks that ask for one would wait for ever.
    placement = replace(placement, cpus_per_task=1.0 if spare >= tasks else 0.0)
    return Plan(placement, workers == 1, num)
