"""Metrics on their way out: kept as they are while the loop runs, combined over workers now and then.

A value that was logged in a loop over a sharded loader is this worker's share of the truth. Values
are combined as means weighted by each worker's share of the global batch, many steps in one
collective operation, so a metric of every step does not stall training; tensors are read back from
the device only then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from bessemer.errors import UserError
from bessemer.training.meters import TurnMeter
from bessemer.training.outlet import Outlet
from bessemer.utils.collectives import Group


@dataclass(frozen=True)
class _Logged:
    names: tuple[str, ...]
    values: tuple[Any, ...]
    step: int
    share: float
    in_pass: bool
    combine: bool


class PendingMetrics:
    """Collects what `run.log` is given, in the same order on every worker.

    Args:
        group: the workers.
        outlet: where combined values go.
        meter: the turn's row.
    """

    def __init__(self, group: Group, outlet: Outlet, meter: TurnMeter) -> None:
        self._group = group
        self._outlet = outlet
        self._meter = meter
        self._waiting: list[_Logged] = []
        self._warned = False

    def add(self, metrics: dict[str, Any], step: int, share: float, in_pass: bool, combine: bool) -> None:
        """Keep metrics until the next flush.

        Args:
            metrics: numbers or tensors with one element, by name.
            step: optimizer step that they belong to.
            share: this worker's fraction of the global batch.
            in_pass: whether this happened in a loop over a loader, so once a step.
            combine: whether the values differ between workers.

        Raises:
            UserError: a value is not a number.
        """
        kept = tuple(_number(name, value) for name, value in metrics.items())
        self._waiting.append(_Logged(tuple(metrics), kept, step, share, in_pass, combine))

    def flush(self, everyone: bool) -> None:
        """Combine and send what waits.

        Args:
            everyone: whether every worker is here, so that they may talk to each other. Values that
                need the others wait for such a flush.
        """
        if not everyone and any(logged.combine for logged in self._waiting):
            return
        waiting, self._waiting = self._waiting, []
        shared = [logged for logged in waiting if logged.combine]
        own = torch.tensor([float(v) for logged in shared for v in logged.values], dtype=torch.float64)
        if everyone and self._group.size > 1:
            weights = torch.tensor(
                [logged.share for logged in shared for _ in logged.values], dtype=torch.float64
            )
            own = self._combined(own, weights)
        combined = iter(own.tolist())
        for logged in waiting:
            values = [next(combined) if logged.combine else float(v) for v in logged.values]
            named = dict(zip(logged.names, values, strict=True))
            for name, value in named.items():
                self._meter.logged(name, value, logged.in_pass)
            self._outlet.metrics(named, logged.step)

    def _combined(self, own: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return share-weighted sums over workers, or the own values if workers logged differently."""
        count = float(own.numel())
        total, squares = self._group.sum_(torch.tensor([count, count * count], dtype=torch.float64))
        if squares * self._group.size != total * total:
            if not self._warned:
                self._warned = True
                print(
                    "workers logged different numbers of metrics in a loop; the main worker's are "
                    "kept. Call run.log on every worker: only the main one writes."
                )
            return own
        if not count:
            return own
        weighted = torch.where(weights > 0, own * weights, torch.zeros_like(own))
        return self._group.sum_(weighted)


def _number(name: str, value: Any) -> float | torch.Tensor:
    """Return a number as it is now; a tensor stays on its device, so that nobody waits for it."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return value.detach().clone()
    try:
        if not isinstance(value, torch.Tensor | str):
            return float(value)
    except (TypeError, ValueError):
        pass
    shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
    raise UserError(
        f"run.log got {type(value).__name__}{shape} for {name!r}",
        expected="a number, or a tensor with one element",
    )
