"""Gradients over workers: what each computed on its slice becomes the gradient of the global batch.

Worker r has n_r of the n samples of a global batch and computes the gradient g_r of its own loss.
The gradient of a mean loss over the global batch is the sum of (n_r / n) g_r, that of a sum loss
the sum of g_r. The factor is applied to each gradient as backward() adds it, so accumulation over
several batches of different size is exact too; the sum over workers is taken once, right before
the optimizer's step. Models are not wrapped, so it does not matter how the loss came about.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import nn

from bessemer.errors import TrainingError
from bessemer.utils.collectives import Group

# Large enough that latency does not count, small enough to need little extra memory.
_BUCKET_BYTES = 32 * 2**20


class Rider(Protocol):
    """A few numbers that workers tell each other along with their gradients."""

    def wishes(self) -> list[float]:
        """Return this worker's numbers, always as many, each exact in any float type."""

    def heard(self, wishes: Sequence[float]) -> None:
        """Take their sum over workers."""


class GradientReducer:
    """Scales gradients by this worker's share of the batch, and adds them over workers.

    Args:
        group: the workers.
        reduction: what the loss does over its batch.
        share: returns n_r / n of the batch being computed, or None where every worker computes the
            same and counts for its part of one.
        rider: numbers of each worker that travel with the gradients and are summed like them.
    """

    def __init__(
        self,
        group: Group,
        reduction: Literal["mean", "sum"],
        share: Callable[[], float | None],
        rider: Rider | None = None,
    ) -> None:
        self._group = group
        self._reduction = reduction
        self._share = share
        self._rider = rider
        self._used: dict[torch.Tensor, tuple[int, int]] = {}
        self._watched: set[torch.Tensor] = set()
        self._models: list[list[torch.Tensor]] = []
        self._reduced: set[torch.Tensor] = set()
        self._num_reductions = 0
        self._num_gradients = 0

    def watch(self, model: nn.Module) -> None:
        """Scale the gradients of a model's parameters from now on."""
        if self._group.size == 1:
            return
        self._models.append(list(model.parameters()))
        for parameter in model.parameters():
            if parameter not in self._watched:
                self._watched.add(parameter)
                # A frozen parameter takes no hook, and may be trained later.
                frozen = not parameter.requires_grad
                if frozen and parameter.is_floating_point():
                    parameter.requires_grad_(True)
                if parameter.requires_grad:
                    hook = functools.partial(self._scaled, parameter)
                    parameter.register_hook(hook)  # type: ignore[no-untyped-call]
                if frozen:
                    parameter.requires_grad_(False)

    def _scaled(self, parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        self._num_gradients += 1
        if parameter in self._reduced:
            if parameter.grad is not None and parameter.grad.any():
                raise TrainingError(
                    "backward() adds to a gradient that was clipped and not yet used",
                    expected="clipping after the last backward() before the optimizer's step",
                    todo="clip right before optimizer.step()",
                )
            self._reduced.discard(parameter)
        factor = self._factor()
        # Zero times a gradient that is not finite would not be zero.
        return gradient * factor if factor > 0 else torch.zeros_like(gradient)

    def _factor(self) -> float:
        """Return what this worker's loss counts for; 0 if it only stands in for a missing sample."""
        share = self._share()
        if share is None:
            return 1 / self._group.size
        return share if self._reduction == "mean" else float(share > 0)

    def reduced_loss(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss of the global batch from each worker's loss of its own slice."""
        factor = self._factor()
        own = loss.detach() * factor if factor > 0 else torch.zeros_like(loss)
        return self._group.sum_(own)

    def reduce_owners(self, gradients: Iterable[torch.Tensor]) -> None:
        """Sum gradients over workers before the optimizer's step, for what must see the sum first.

        Clipping is such a thing: a norm of one worker's part is not the norm of the whole. All of a
        model's gradients are summed, since another worker may lack some of those that this one has.
        """
        wanted = {id(gradient) for gradient in gradients}
        for parameters in self._models:
            if any(id(parameter.grad) in wanted for parameter in parameters):
                self.reduce_early(parameters)

    def reduce_early(self, parameters: Iterable[torch.Tensor]) -> None:
        """Sum gradients over workers before the optimizer's step, which then does not sum them again."""
        fresh = [parameter for parameter in parameters if parameter not in self._reduced]
        if fresh:
            self.reduce(fresh)
            self._reduced.update(fresh)

    def check_used(self) -> None:
        """Refuse gradients that nobody summed since the last call: each worker went its own way.

        Raises:
            TrainingError: gradients were computed, and no optimizer stepped.
        """
        lost = self._num_gradients > 0 and self._num_reductions == 0
        self._num_gradients = self._num_reductions = 0
        if lost:
            raise TrainingError(
                f"gradients were computed on {self._group.size} workers and no optimizer stepped",
                expected="updates by an optimizer, before which gradients are summed over workers",
                todo="update with an optimizer, or set scaling.num_workers = 1",
            )

    def reduce(self, parameters: Iterable[torch.Tensor]) -> None:
        """Replace each gradient by its sum over workers, unless `reduce_owners` has done so.

        A parameter without a gradient on some workers counts as zero there; one without a gradient
        on every worker keeps None, so that the optimizer skips it as it would on one machine.

        Raises:
            TrainingError: a parameter is not on a placed model, or has a sparse gradient.
        """
        if self._group.size == 1:
            return
        given = [parameter for parameter in parameters if parameter.requires_grad]
        chosen = [parameter for parameter in given if parameter not in self._reduced]
        self._reduced.difference_update(given)
        self._num_reductions += 1
        for parameter in chosen:
            if parameter not in self._watched:
                raise TrainingError(
                    f"an optimizer steps a parameter of shape {tuple(parameter.shape)} that is on no "
                    "placed model",
                    expected="parameters of models that went through run.place(model)",
                    todo="call run.place on every model before its optimizer is made",
                )
            if parameter.grad is not None and parameter.grad.is_sparse:
                raise TrainingError(
                    f"a sparse gradient of shape {tuple(parameter.shape)}",
                    expected="dense gradients when there is more than one worker",
                    todo="make the embedding with sparse=False, or set scaling.num_workers = 1",
                )
        for number, bucket in enumerate(_buckets(chosen)):
            self._reduce_bucket(bucket, self._rider if number == 0 else None)

    def go_on(self) -> None:
        """After a restart inside of a turn, what was summed before it is not known: it is not asked for."""
        self._num_reductions += 1

    def mark_used(self, parameter: torch.Tensor) -> None:
        """Note that an optimizer has stepped with a parameter's gradient, which all workers share."""
        if parameter.grad is not None:
            self._used[parameter] = (id(parameter.grad), parameter.grad._version)

    def was_used(self, parameter: torch.Tensor) -> bool:
        """Whether nothing was added to a parameter's gradient since an optimizer stepped with it."""
        gradient = parameter.grad
        return gradient is not None and self._used.get(parameter) == (id(gradient), gradient._version)

    def _reduce_bucket(self, bucket: list[torch.Tensor], rider: Rider | None) -> None:
        first = bucket[0]
        present = torch.tensor(
            [parameter.grad is not None for parameter in bucket],
            dtype=first.dtype,
            device=first.device,
        )
        parts = [
            torch.zeros_like(parameter).flatten() if parameter.grad is None else parameter.grad.flatten()
            for parameter in bucket
        ]
        wishes = torch.tensor(rider.wishes() if rider else [], dtype=first.dtype, device=first.device)
        flat = self._group.sum_(torch.cat([present, wishes, *parts]))
        start = len(bucket) + wishes.numel()
        if rider is not None:
            rider.heard(flat[len(bucket) : start].tolist())
        for parameter, anywhere in zip(bucket, flat[: len(bucket)].tolist(), strict=True):
            stop = start + parameter.numel()
            if anywhere:
                reduced = flat[start:stop].view_as(parameter)
                if parameter.grad is None:
                    parameter.grad = reduced.clone()
                else:
                    parameter.grad.copy_(reduced)
            start = stop


def _buckets(parameters: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Group parameters of one dtype and device into buckets of bounded size, in order."""
    kinds: dict[tuple[Any, Any], list[torch.Tensor]] = {}
    for parameter in parameters:
        kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for same in kinds.values():
        bucket: list[torch.Tensor] = []
        size_bytes = 0
        for parameter in same:
            bucket.append(parameter)
            size_bytes += parameter.numel() * parameter.element_size()
            if size_bytes >= _BUCKET_BYTES:
                yield bucket
                bucket, size_bytes = [], 0
        if bucket:
            yield bucket
