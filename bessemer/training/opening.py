"""Starts the Ray Data streams that the loaders of a worker take their batches from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import cloudpickle

from bessemer.data.datasets import Recipe
from bessemer.data.feed import BatchSource
from bessemer.data.order import Plan
from bessemer.utils.collectives import Group

if TYPE_CHECKING:
    from bessemer.training.worker import Job


class Streams:
    """Starts Ray Data streams for the loaders of a worker; an `OpenSource`.

    Attributes:
        least_share: as `OpenSource` says. Tasks that have no processors of their own slow down training.

    Args:
        job: of the worker.
        group: the workers.
    """

    def __init__(self, job: Job, group: Group) -> None:
        self._job = job
        self._group = group
        self.least_share = 0.03 if job.placement.cpus_per_task else 0.3
        # A data set is sent once, however often a stream of it is opened.
        self._shipped: WeakKeyDictionary[Recipe, Any] = WeakKeyDictionary()

    def __call__(
        self, recipe: Recipe, plan: Plan, start: int, stop: int | None, block_steps: int
    ) -> BatchSource:
        """Start a stream of the batches [start, stop) of a plan; None for no end (global batches)."""
        import ray

        from bessemer.data.shipping import pack
        from bessemer.data.stream import Job as Fetching
        from bessemer.data.stream import Stream, StreamOptions

        if recipe not in self._shipped:
            shelf, packed = self._job.shelf, pack(recipe)
            self._shipped[recipe] = shelf.reference(packed) if shelf is not None else ray.put(packed)
        placement, group = self._job.placement, self._group
        # Not before: only `run_job` makes the settings' own class importable.
        data = cloudpickle.loads(self._job.settings).data
        options = StreamOptions(
            num_tasks=placement.tasks_per_worker,
            prefetch_blocks=data.prefetch_blocks,
            cpus_per_task=placement.cpus_per_task,
            reserved_cpus=group.size * placement.cpus_per_worker,
            reserved_gpus=group.size * placement.gpus_per_worker,
        )
        fetching = Fetching(self._shipped[recipe], ray.put(plan), group.rank, group.size)
        return Stream(fetching, options, start, stop, block_steps)
