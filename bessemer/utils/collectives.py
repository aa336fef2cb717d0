"""What workers say to each other: the few collective operations that Bessemer needs.

`Group` is the seam between Bessemer and torch.distributed. With one worker every operation is the
identity, so the same code runs in a test, in one process, and on many nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Group:
    """This worker's place among all workers of a run.

    Attributes:
        rank: number of this worker, from 0; rank 0 is the main worker.
        size: number of workers.
    """

    rank: int = 0
    size: int = 1

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add a tensor over all workers, in place; every worker gets the same bits."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Overwrite a tensor with the main worker's, in place."""
        if self.size > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def broadcast_object(self, value: Any) -> Any:
        """Return the main worker's picklable value on every worker."""
        if self.size == 1:
            return value
        holder = [value]
        dist.broadcast_object_list(holder, src=0)
        return holder[0]

    def gather_objects(self, value: Any) -> list[Any]:
        """Return every worker's picklable value, by rank, on every worker."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values
