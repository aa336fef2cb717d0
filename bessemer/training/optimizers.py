"""The optimizer's step: where gradients are summed over workers and steps are counted.

torch's global optimizer hooks see every optimizer, also one that was never tracked, whose state a
restart would silently lose; such a step is refused. torch's clipping functions and its loss
scaler are wrapped for as long as a run of several workers lasts, because they must see the gradient of
the global batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler
from torch.nn import utils
from torch.nn.utils import clip_grad
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from bessemer.errors import TrainingError
from bessemer.models.losses import GradientReducer
from bessemer.utils.collectives import Group


class StepHooks:
    """Hooks every optimizer's `step` for as long as a run lasts.

    Args:
        reducer: sums gradients over workers.
        group: the workers.
        is_tracked: whether an optimizer's state is part of the checkpoints.
        may_step: raises where a step makes no sense, such as during evaluation.
        first_step: called after the first step.

    Attributes:
        step: optimizer steps so far; several optimizers that step for one batch take one together.
    """

    def __init__(
        self,
        reducer: GradientReducer,
        group: Group,
        is_tracked: Callable[[Optimizer], bool],
        may_step: Callable[[], None] = lambda: None,
        first_step: Callable[[], None] = lambda: None,
    ) -> None:
        self._reducer = reducer
        self._group = group
        self._is_tracked = is_tracked
        self._may_step = may_step
        self._first_step = first_step
        self._round: set[int] = set()
        self._stepped = False
        self.step = 0
        self._handles = [
            register_optimizer_step_pre_hook(self._before),
            register_optimizer_step_post_hook(self._after),
        ]
        self._patched: list[tuple[Any, str, Any]] = []
        if group.size > 1:
            # A program may have imported clip_grad_norm_ by name already, but it finds its own parts here.
            self._patch(clip_grad, "_get_total_norm", self._norm_after_reduction)
            for module in (clip_grad, utils):
                self._patch(module, "clip_grad_value_", self._value_after_reduction)
            self._patch(GradScaler, "_unscale_grads_", self._unscaled_after_reduction)

    def new_round(self) -> None:
        """Begin a batch or a turn: the next step of any optimizer is a new step of the run."""
        self._round.clear()

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        for module, name, original in self._patched:
            setattr(module, name, original)

    def _patch(self, module: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        original = getattr(module, name)
        self._patched.append((module, name, original))
        setattr(module, name, wrap(original))

    def _norm_after_reduction(self, norm: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap torch's norm of gradients, so that it sees those of the global batch."""

        @functools.wraps(norm)
        def reduced(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            gradients = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            self._reducer.reduce_owners(gradients)
            return norm(gradients, *args, **kwargs)

        return reduced

    def _value_after_reduction(self, clip: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap torch's clipping by value in the same way."""

        @functools.wraps(clip)
        def reduced(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            listed = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
            self._reducer.reduce_owners([p.grad for p in listed if p.grad is not None])
            return clip(listed, *args, **kwargs)

        return reduced

    def _unscaled_after_reduction(self, unscale: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a loss scaler's unscaling, so that every worker finds the same overflow and skips the
        same step; one that skipped it alone would leave the others waiting."""

        @functools.wraps(unscale)
        def reduced(scaler: GradScaler, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            self._reducer.reduce_early([p for group in optimizer.param_groups for p in group["params"]])
            return unscale(scaler, optimizer, *args, **kwargs)

        return reduced

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        self._may_step()
        if not self._is_tracked(optimizer):
            raise TrainingError(
                f"a step of {type(optimizer).__name__}, which is not tracked",
                expected="every optimizer that steps to be part of the checkpoints",
                todo="pass it to run.track(optimizer=...) before the training loop",
            )
        if self._group.size == 1:
            return None
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._reducer.reduce(parameters)
            return None

        def reduced() -> Any:
            with torch.enable_grad():
                loss = closure()
            self._reducer.reduce(parameters)
            # A line search decides by the loss, so it must be that of the global batch everywhere.
            return self._reducer.reduced_loss(loss)

        return (args[0], reduced), {}

    def _after(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if not self._stepped:
            self._stepped = True
            self._first_step()
        if id(optimizer) in self._round:
            self._round.clear()
        if not self._round:
            self.step += 1
        self._round.add(id(optimizer))
        if self._group.size > 1:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    self._reducer.mark_used(parameter)
