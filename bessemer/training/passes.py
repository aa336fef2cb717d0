"""Loops over loaders while they run: this worker's share of the batch, sums, generators, progress.

Nested and abandoned loops included. What all workers must do together at the end of a loop is done
here: totals are summed, buffers and generators made equal, metrics combined.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bessemer.data.datasets import Fetched
from bessemer.data.loaders import Loader
from bessemer.data.order import mix
from bessemer.models.architectures import synchronise_buffers
from bessemer.training.meters import TurnMeter
from bessemer.training.metrics import PendingMetrics
from bessemer.training.optimizers import StepHooks
from bessemer.training.values import Totals
from bessemer.utils.collectives import Group

# Metrics of a loop are combined over workers after so many batches, and at its end.
_FLUSH_EVERY_BATCHES = 50
_PROGRESS_EVERY_S = 0.25


@dataclass
class _ActivePass:
    """A loop over a loader that is being run."""

    loader: Loader[Any]
    begun: float
    first_step: int
    totals: list[Totals]
    forks_generators: bool
    share: float = 1.0
    num_batches: int = 0
    num_samples: int = 0
    abandoned: bool = False


class Passes:
    """The loops over loaders that the program is in, innermost last; a `PassObserver`.

    Args:
        group: the workers.
        device: what this worker computes on.
        metrics: combined at the end of each loop.
        meter: the turn's counts and clocks.
        models: whose buffers are made equal after training.
        hooks: count the optimizer steps.
        totals: returns the totals that are alive.
        progress: told batches that are done, and batches in all, now and then.
    """

    def __init__(
        self,
        group: Group,
        device: torch.device,
        metrics: PendingMetrics,
        meter: TurnMeter,
        models: list[nn.Module],
        hooks: StepHooks,
        totals: Callable[[], Iterable[Totals]],
        progress: Callable[[int, int], None],
    ) -> None:
        self._group = group
        self._device = device
        self._metrics = metrics
        self._meter = meter
        self._models = models
        self._hooks = hooks
        self._totals = totals
        self._progress = progress
        self._active: list[_ActivePass] = []
        self._any_abandoned = False
        self._progress_at = 0.0
        self.stepped: set[int] = set()

    @property
    def share(self) -> float:
        """This worker's fraction of the global batch that is being computed; 1 where all see the same."""
        sharded = (active for active in reversed(self._active) if active.loader.shard)
        return next((active.share for active in sharded), 1.0)

    @property
    def any(self) -> bool:
        """Whether the program is in a loop over a loader."""
        return bool(self._active)

    @property
    def sharded(self) -> bool:
        """Whether the workers see different parts of a batch now."""
        return self._group.size > 1 and any(active.loader.shard for active in self._active)

    def settle(self) -> None:
        """End the loops that were left early; every worker has left them when one comes here."""
        if not self._any_abandoned:
            return
        self._any_abandoned = False
        while self._active and self._active[-1].abandoned:
            self._end(self._active[-1])

    def close_all(self) -> None:
        """End every loop, at a place where the program can be in none."""
        while self._active:
            self._end(self._active[-1])
        self._any_abandoned = False

    def pass_started(self, loader: Loader[Any]) -> None:
        """Begin a loop over a loader."""
        self.settle()
        sharded = loader.shard and self._group.size > 1
        free = [totals for totals in self._totals() if not totals.in_pass]
        active = _ActivePass(
            loader=loader,
            begun=time.perf_counter(),
            first_step=self._hooks.step,
            totals=sorted(free, key=lambda totals: totals.number) if sharded else [],
            forks_generators=sharded and not self.sharded,
        )
        for totals in active.totals:
            totals.begin_pass()
        if active.forks_generators and self._group.rank > 0:
            # Equal seeds would give every worker the same dropout mask on its own samples.
            seed = mix(torch.initial_seed(), loader.passes, self._hooks.step, self._group.rank)
            torch.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
        self._active.append(active)

    def batch_ready(self, loader: Loader[Any], fetched: Fetched, waited_s: float) -> None:
        """Account for a batch that goes to the loop body."""
        self.settle()
        active = next((p for p in reversed(self._active) if p.loader is loader), None)
        if active is None:
            return
        active.share = fetched.num_samples / fetched.num_global
        active.num_batches += 1
        self._hooks.new_round()
        active.num_samples += fetched.num_global
        for totals in active.totals:
            totals.begin_step(counts=fetched.num_samples > 0)
        self._meter.waited(waited_s)
        if active.num_batches % _FLUSH_EVERY_BATCHES == 0:
            self._metrics.flush(everyone=True)
        now = time.monotonic()
        if now - self._progress_at > _PROGRESS_EVERY_S:
            self._progress_at = now
            self._progress(active.num_batches, len(loader))

    def pass_ended(self, loader: Loader[Any]) -> None:
        """End a loop that used up its loader."""
        self.settle()
        active = next((p for p in reversed(self._active) if p.loader is loader), None)
        if active is not None:
            self._end(active)

    def pass_abandoned(self, loader: Loader[Any]) -> None:
        """Note that a loop was left early; the others are not waited for here."""
        for active in self._active:
            if active.loader is loader:
                active.abandoned = self._any_abandoned = True

    def _end(self, active: _ActivePass) -> None:
        self._active.remove(active)
        for totals in active.totals:
            totals.end_pass(self._group)
        if self._hooks.step > active.first_step:
            self.stepped.add(active.loader.number)
            self._meter.trained(active.num_samples, time.perf_counter() - active.begun)
            synchronise_buffers(self._models, self._group)
        if active.forks_generators:
            self._equalise_generators()
        self._metrics.flush(everyone=True)

    def _equalise_generators(self) -> None:
        torch.set_rng_state(self._group.broadcast_(torch.get_rng_state()))
        if self._device.type == "cuda":
            state = self._group.broadcast_object(torch.cuda.get_rng_state(self._device))
            torch.cuda.set_rng_state(state, self._device)
