"""The optimizer's step: where steps are counted; and what optimizers are asked for.

torch's global optimizer hooks see every optimizer, also one that was never tracked, whose state a
restart would silently lose; such a step is refused. A program that tracks no optimizer updates its
parameters by hand, which nobody can see; there, each `backward()` is a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from bessemer.errors import TrainingError
from bessemer.models.losses import ENGINE, GradientReducer
from bessemer.utils.collectives import Group


class StepHooks:
    """Hooks every optimizer's `step` for as long as a run lasts.

    Args:
        reducer: sums gradients over workers.
        group: the workers.
        is_tracked: whether an optimizer's state is part of the checkpoints.
        may_step: raises where a step makes no sense, such as during evaluation.
        stepped: told the steps so far after each new one.
        by_hand: whether the program has no optimizer, so that `backward()` counts.

    Attributes:
        step: optimizer steps so far; several optimizers that step for one batch take one together.
    """

    def __init__(
        self,
        reducer: GradientReducer,
        group: Group,
        is_tracked: Callable[[Optimizer], bool],
        may_step: Callable[[], None] = lambda: None,
        stepped: Callable[[int], None] = lambda _step: None,
        by_hand: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reducer = reducer
        self._group = group
        self._is_tracked = is_tracked
        self._may_step = may_step
        self._tell = stepped
        self._by_hand = by_hand
        self._round: set[int] = set()
        self.step = 0
        self._engine: Callable[..., Any] = getattr(torch.autograd, ENGINE)
        self._inside = False
        setattr(torch.autograd, ENGINE, self._counted)
        self._handles = [
            register_optimizer_step_pre_hook(self._before),
            register_optimizer_step_post_hook(self._after),
        ]

    def new_round(self) -> None:
        """Begin a batch or a turn: the next step of any optimizer is a new step of the run."""
        self._round.clear()
        self._reducer.new_round()

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        setattr(torch.autograd, ENGINE, self._engine)

    def _counted(self, *args: Any, **kwargs: Any) -> Any:
        """Run torch's engine; a `backward()` that is no part of another one is a step by hand."""
        is_part, self._inside = self._inside, True
        try:
            result = self._engine(*args, **kwargs)
        finally:
            self._inside = is_part
        if kwargs.get("accumulate_grad") and not is_part and self._by_hand():
            self._may_step()
            self._after_step(self)
        return result

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
        self._reducer.check_watched(p for group in optimizer.param_groups for p in group["params"])
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            return None

        def reduced() -> Any:
            with torch.enable_grad():
                loss = closure()
            # A line search decides by the loss, so it must be that of the global batch everywhere.
            return self._reducer.reduced_loss(loss)

        return (args[0], reduced), {}

    def _after(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        self._after_step(optimizer)

    def _after_step(self, stepping: object) -> None:
        if id(stepping) in self._round:
            self._round.clear()
        if not self._round:
            self.step += 1
            self._tell(self.step)
        self._round.add(id(stepping))


def learning_rates(tracked: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics `epoch/lr/<name>`: the first learning rate of each tracked optimizer."""
    return {
        f"epoch/lr/{name}": float(value.param_groups[0]["lr"])
        for name, value in tracked.items()
        if isinstance(value, Optimizer) and "lr" in value.param_groups[0]
    }
