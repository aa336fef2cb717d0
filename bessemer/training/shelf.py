"""Data that several runs on one cluster read: in its object store once, however many runs read them.

Trials of a search train on the same data set. Each would send a copy of its own to the tasks that fetch;
instead they ask an actor that keeps what was sent, by its contents. A task that has unpacked a data set
for one trial has it for the next.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bessemer.data.shipping import Packed

# Searches over settings of the data themselves come to many data sets; runs hold what they use.
_MOST_KEPT = 4


class Kept:
    """State of the actor: the owner of what is kept, so that it outlives the trial that sent it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def find(self, digest: str) -> list[Any]:
        """Return the reference to what has this digest, alone in a list, or nothing."""
        if digest not in self._kept:
            return []
        self._kept.move_to_end(digest)
        return [self._kept[digest]]

    def keep(self, digest: str, packed: Packed) -> list[Any]:
        """Keep something, unless it is here; return the reference to it, alone in a list."""
        if digest not in self._kept:
            self._kept[digest] = ray.put(packed)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return self.find(digest)


class Shelf:
    """A handle of the actor; it can be pickled."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    @classmethod
    def start(cls) -> Shelf:
        """Start the actor on this node, reserving nothing."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return cls(ray.remote(Kept).options(num_cpus=0, scheduling_strategy=here).remote())

    def reference(self, packed: Packed) -> Any:
        """Return a reference to a data set in the object store, which has it once."""
        digest = hashlib.sha256(repr((packed.search_path, packed.folder)).encode())
        digest.update(packed.payload)
        name = digest.hexdigest()
        found = ray.get(self._actor.find.remote(name)) or ray.get(self._actor.keep.remote(name, packed))
        return found[0]

    def stop(self) -> None:
        """End the actor; what it kept is gone once nobody reads it."""
        ray.kill(self._actor)
