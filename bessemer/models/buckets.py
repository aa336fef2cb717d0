"""Buckets: many gradients in one flat tensor, so that one collective operation sums them all.

A bucket's memory is kept from step to step, as in DistributedDataParallel; the sum is copied back to
the gradients, so a gradient that the program keeps is never written over. Behind the gradients a bucket
on the CPU has room for a few numbers that workers tell each other: an operation more would wake every
worker once more. The room is there whether or not it is used, since where a number lies decides in which
order workers' values of it are added, and so its last bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import torch
import torch.distributed as dist

from bessemer.utils.collectives import Group

# A bucket is full once it has as much: so much that latency does not count, and so little that the first
# leaves while others are computed.
BUCKET_BYTES = 8 * 2**20
# What is told is counts of workers and of votes, which these hold exactly.
_CARRYING = (torch.float32, torch.float64)


class Bucket:
    """Gradients of one dtype and device that are summed together.

    Args:
        parameters: whose gradients they are.
        num_told: numbers that workers tell each other (count).

    Attributes:
        parameters: the same, in order.
        num_missing: parameters whose gradient is still waited for in this backward pass (count).
        carries: whether what workers tell each other can travel with these gradients.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], num_told: int) -> None:
        self.parameters = tuple(parameters)
        self.num_missing = -1
        self._num_told = num_told
        first = parameters[0]
        # Whoever reads numbers from a GPU waits for all that it still has to do.
        self.carries = first.device.type == "cpu" and first.dtype in _CARRYING
        sizes = [parameter.numel() for parameter in parameters]
        room = num_told if self.carries else 0
        self._flat = torch.empty(sum(sizes) + room, dtype=first.dtype, device=first.device)
        *parts, self._told = torch.split(self._flat, [*sizes, room])
        self._views = [part.view(parameter.shape) for part, parameter in zip(parts, parameters, strict=True)]
        self._work: dist.Work | None = None

    @property
    def is_launched(self) -> bool:
        """Whether its sum is on the way."""
        return self._work is not None

    def fits(self, num_told: int) -> bool:
        """Whether its parameters are still of the dtype and on the device that it was made for, and as many
        numbers are told."""
        flat = self._flat
        return num_told == self._num_told and all(
            p.dtype == flat.dtype and p.device == flat.device for p in self.parameters
        )

    def launch(self, group: Group, counts: bool, told: Sequence[float] = ()) -> None:
        """Copy the gradients and begin to sum them; one that is missing counts as zero.

        Args:
            group: the workers.
            counts: whether this worker's gradients count at all.
            told: what this worker tells, if it tells it with this bucket.
        """
        if told:
            self._told.copy_(torch.tensor(told, dtype=self._told.dtype))
        else:
            self._told.zero_()
        views, gradients = [], []
        for parameter, view in zip(self.parameters, self._views, strict=True):
            if parameter.grad is None or not counts:
                view.zero_()
            else:
                views.append(view)
                gradients.append(parameter.grad)
        if views:
            torch._foreach_copy_(views, gradients)
        self._work = group.begin_sum_(self._flat)

    def arrive(self) -> None:
        """Wait for the sum, if it is on the way, and leave it to be taken."""
        if self._work is not None:
            self._work.wait()

    def heard(self) -> list[float]:
        """Return the sum of what the workers told with this bucket, which has arrived."""
        told: list[float] = self._told.tolist()
        return told

    def wait(self) -> None:
        """Wait for the sum."""
        if self._work is not None:
            self._work.wait()
            self._work = None

    def forget(self) -> None:
        """Wait for nothing any more."""
        self._work = None

    def finish(self, present: Collection[torch.Tensor]) -> None:
        """Wait for the sum, and make it the gradient of each parameter that has one on any worker."""
        self.wait()
        views, gradients = [], []
        for parameter, view in zip(self.parameters, self._views, strict=True):
            if parameter in present:
                if parameter.grad is None:
                    parameter.grad = view.clone()
                else:
                    views.append(view)
                    gradients.append(parameter.grad)
        if views:
            torch._foreach_copy_(gradients, views)


def buckets(parameters: Iterable[torch.Tensor], num_told: int) -> Iterator[Bucket]:
    """Group parameters of one dtype and device into buckets, in order; see `Bucket`."""
    kinds: dict[tuple[torch.dtype, torch.device], list[torch.Tensor]] = {}
    for parameter in parameters:
        kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for same in kinds.values():
        chosen: list[torch.Tensor] = []
        size_bytes = 0
        for parameter in same:
            chosen.append(parameter)
            size_bytes += parameter.numel() * parameter.element_size()
            # What is there need not wait for gradients of the layer before.
            if size_bytes >= BUCKET_BYTES:
                yield Bucket(chosen, num_told)
                chosen, size_bytes = [], 0
        if chosen:
            yield Bucket(chosen, num_told)
