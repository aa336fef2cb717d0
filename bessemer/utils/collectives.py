"""What workers say to each other: the few collective operations that Bessemer needs.

`Group` is the seam between Bessemer and torch.distributed. With one worker every operation is the
identity, so the same code runs in a test, in one process, and on many nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist

# What gloo, NCCL and torch's store write about when another process is gone.
_PEER_IS_GONE = re.compile(r"\bgloo\b|\bNCCL\b|ProcessGroup|TCPStore")


@dataclass(frozen=True)
class Group:
    """This worker's place among all workers of a run.

    Attributes:
        rank: number of this worker, from 0; rank 0 is the main worker.
        size: number of workers.
        handle: torch's process group, or None for the default one.
    """

    rank: int = 0
    size: int = 1
    handle: dist.ProcessGroup | None = field(default=None, compare=False, repr=False)

    def beside(self) -> Group:
        """Return another group of the same workers, for tensors on the CPU, whose operations have an
        order of their own. Every worker calls it."""
        if self.size == 1:
            return self
        whole = dist.group.WORLD
        assert whole is not None
        # torch would let operations of a new group wait for half an hour.
        timeout = whole._get_backend(torch.device("cpu")).options._timeout
        return replace(self, handle=dist.new_group(backend="gloo", timeout=timeout))

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add a tensor over all workers, in place; every worker gets the same bits."""
        if self.size > 1:
            dist.all_reduce(tensor, group=self.handle)
        return tensor

    def begin_sum_(self, tensor: torch.Tensor) -> dist.Work:
        """Begin to add a tensor over all workers, in place; the sum is there after `wait()`."""
        work = dist.all_reduce(tensor, group=self.handle, async_op=True)
        assert isinstance(work, dist.Work)
        return work

    def broadcast_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Overwrite a tensor with the main worker's, in place."""
        if self.size > 1:
            dist.broadcast(tensor, src=0, group=self.handle)
        return tensor

    def broadcast_object(self, value: Any) -> Any:
        """Return the main worker's picklable value on every worker."""
        if self.size == 1:
            return value
        holder = [value]
        dist.broadcast_object_list(holder, src=0, group=self.handle)
        return holder[0]

    def gather_objects(self, value: Any) -> list[Any]:
        """Return every worker's picklable value, by rank, on every worker."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.handle)
        return values


def says_a_peer_is_gone(error: BaseException) -> bool:
    """Whether an error only says that a collective operation failed, most often for want of a worker.

    Its text is looked at too, since an error that was sent to another process has lost its cause.
    """
    return isinstance(error, dist.DistError) or _PEER_IS_GONE.search(str(error)) is not None
