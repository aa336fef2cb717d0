"""Loops over loaders while they run: this worker's share of the batch, sums, generators, progress.

Nested and abandoned loops included. What all workers must do together at the end of a loop is done
here: totals are summed, buffers and generators made equal, metrics combined.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from bessemer.data.datasets import Fetched
from bessemer.data.iteration import LoaderPass
from bessemer.data.loaders import Loader
from bessemer.data.order import mix
from bessemer.models.architectures import synchronise_buffers
from bessemer.training.meters import TurnMeter
from bessemer.training.metrics import PendingMetrics
from bessemer.training.optimizers import StepHooks
from bessemer.training.positions import PositionFile
from bessemer.training.stopwatch import Stopwatch
from bessemer.training.values import Totals
from bessemer.utils.collectives import Group

# Metrics of a loop are combined over workers after so many batches, and at its end.
_FLUSH_EVERY_BATCHES = 50
_PROGRESS_EVERY_S = 0.5


@dataclass
class _ActivePass:
    """A loop over a loader that is being run."""

    serial: int
    loader: Loader[Any]
    by_for: bool
    depth: int
    begun: float
    first_step: int
    totals: list[Totals]
    forks_generators: bool
    share: float = 1.0
    num_batches: int = 0
    num_samples: int = 0
    abandoned: bool = False


class PassKeeper(Protocol):
    """Who knows where the program is, and takes checkpoints: the session."""

    @property
    def depth(self) -> int:
        """Outer loops that the program is in (count)."""

    def pass_begins(self, entered: LoaderPass[Any], outermost: bool) -> bool:
        """A loop over a loader begins; return whether it gets any batch."""

    def pass_is_between(self, entered: LoaderPass[Any], outermost: bool) -> None:
        """A loop asks for its next batch: the place for a checkpoint."""

    def pass_is_complete(self, loader: Loader[Any], stepped: bool) -> None:
        """A loop driven by `for`, in no other one, is complete."""


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
        progress: told batches that are done, and batches in all if that is known, now and then.
        keeper: told where the program is.
        stopwatch: counts for the account of the run.
        position: written at every batch, or None to write nothing.
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
        progress: Callable[[int, int | None], None],
        keeper: PassKeeper,
        stopwatch: Stopwatch,
        position: PositionFile | None = None,
    ) -> None:
        self._group = group
        self._device = device
        self._metrics = metrics
        self._meter = meter
        self._models = models
        self._hooks = hooks
        self._totals = totals
        self._progress = progress
        self._keeper = keeper
        self._position = position
        self._stopwatch = stopwatch
        self._active: list[_ActivePass] = []
        self._waiting: dict[int, list[dict[str, Any]]] = {}
        self._any_abandoned = False
        self._progress_at = 0.0
        self.stepped: set[int] = set()
        self.num_batches = 0

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
    def in_for(self) -> bool:
        """Whether the program is in the body of a `for` loop over a loader."""
        self.settle()
        return any(active.by_for for active in self._active)

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

    def close_below(self, depth: int) -> None:
        """End the `for` loops of a turn that is over; an iterator that the program holds stays open."""
        self.settle()
        for active in [active for active in self._active if active.by_for and active.depth >= depth]:
            self._end(active)

    def close_all(self) -> None:
        """End every loop, when the program is at its end."""
        while self._active:
            self._end(self._active[-1])
        self._any_abandoned = False

    def sum_totals(self) -> None:
        """Sum what was added so far in loops that stay open, such as one that `next` drives."""
        for active in self._active:
            for totals in active.totals:
                totals.end_pass(self._group)
                totals.begin_pass()

    def pass_started(self, entered: LoaderPass[Any]) -> bool:
        """Begin a loop over a loader."""
        self.settle()
        outermost = entered.by_for and not any(active.by_for for active in self._active)
        if self._waiting.get(entered.loader.number):
            active = self._enter(entered, fork=False)
            self._load(active, self._waiting[entered.loader.number].pop(0))
            return True
        self._enter(entered)
        if self._keeper.pass_begins(entered, outermost):
            return True
        # Passed over, or moved to its end: what it did is put back already.
        self._active = [active for active in self._active if active.serial != entered.serial]
        return False

    def _enter(self, entered: LoaderPass[Any], fork: bool = True) -> _ActivePass:
        self._stopwatch.cut()
        loader = entered.loader
        sharded = loader.shard and self._group.size > 1
        free = [totals for totals in self._totals() if not totals.in_pass]
        active = _ActivePass(
            serial=entered.serial,
            loader=loader,
            by_for=entered.by_for,
            depth=self._keeper.depth,
            begun=time.perf_counter(),
            first_step=self._hooks.step,
            totals=sorted(free, key=lambda totals: totals.number) if sharded else [],
            forks_generators=sharded and not self.sharded,
        )
        for totals in active.totals:
            totals.begin_pass()
        if fork and active.forks_generators:
            self.fork_generators()
        self._active.append(active)
        return active

    def fork_generators(self) -> None:
        """Give each worker but the main one a torch generator of its own, from its rank and the step.

        Equal seeds would give every worker the same dropout mask on its own samples.
        """
        if self._group.rank > 0:
            seed = mix(torch.initial_seed(), self._hooks.step, self._group.rank)
            torch.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)

    def between_batches(self, entered: LoaderPass[Any]) -> None:
        """A loop body is done with a batch."""
        self.settle()
        active = self._of(entered.serial)
        if active is None:
            return
        first = next(other for other in self._active if other.by_for or other is active)
        outermost = active.by_for and first is active and active.depth == self._keeper.depth
        self._keeper.pass_is_between(entered, outermost)

    def batch_ready(self, entered: LoaderPass[Any], fetched: Fetched, waited_s: float) -> None:
        """Account for a batch that goes to the loop body."""
        if self._position is not None:
            loader = entered.loader
            where = (loader.number, entered.number, entered.position - 1)
            self._position.write(self._hooks.step, *where, loader.plan, loader.shard)
        self.settle()
        active = self._of(entered.serial)
        if active is None:
            return
        active.share = fetched.num_samples / fetched.num_global
        active.num_batches += 1
        self.num_batches += 1
        self._hooks.new_round()
        active.num_samples += fetched.num_global
        for totals in active.totals:
            totals.begin_step(counts=fetched.num_samples > 0)
        self._meter.waited(waited_s)
        self._stopwatch.waited(waited_s, fetched.num_global)
        if active.num_batches % _FLUSH_EVERY_BATCHES == 0:
            self._metrics.flush(everyone=True)
        now = time.monotonic()
        if now - self._progress_at > _PROGRESS_EVERY_S:
            self._progress_at = now
            self._progress(active.num_batches, active.loader.num_batches)

    def pass_ended(self, entered: LoaderPass[Any]) -> None:
        """End a loop that used up its loader."""
        self.settle()
        active = self._of(entered.serial)
        if active is not None:
            self._end(active)

    def pass_abandoned(self, serial: int) -> None:
        """Note that a loop was left early; the others are not waited for here."""
        active = self._of(serial)
        if active is not None:
            active.abandoned = self._any_abandoned = True

    def _of(self, serial: int) -> _ActivePass | None:
        return next((active for active in self._active if active.serial == serial), None)

    # Checkpoints inside of loops

    def state_dict(self, loaders: Mapping[int, Loader[Any]]) -> list[dict[str, Any]]:
        """Return where every loop over a loader stands that somebody holds, oldest first.

        Args:
            loaders: by number.
        """
        live = [entered for loader in loaders.values() for entered in loader.live_passes]
        return [self._state_of(entered) for entered in sorted(live, key=lambda entered: entered.serial)]

    def _state_of(self, entered: LoaderPass[Any]) -> dict[str, Any]:
        state = {"loader": entered.loader.number, "number": entered.number, "position": entered.position}
        active = self._of(entered.serial)
        if active is None:
            return {**state, "begun": False}
        for totals in active.totals:
            totals.end_step()
        return {
            **state,
            "begun": True,
            "first_step": active.first_step,
            "share": active.share,
            "num_batches": active.num_batches,
            "num_samples": active.num_samples,
            "totals": {totals.number: totals.begun for totals in active.totals},
        }

    def load_state_dict(
        self,
        saved: list[dict[str, Any]],
        loaders: Mapping[int, Loader[Any]],
        entered: LoaderPass[Any] | None,
        same_workers: bool,
    ) -> None:
        """Put every loop to where it stood.

        The n-th that the program holds of a loader is the n-th that it held. One that it does not hold
        yet, such as that of a generator, is the next one over its loader.

        Args:
            saved: what `state_dict` gave on the main worker.
            loaders: by number.
            entered: the loop that the checkpoint was taken in, the youngest of its loader.
            same_workers: whether there are as many workers as there were.
        """
        held = {number: loader.live_passes for number, loader in loaders.items()}
        if entered is not None:
            held[entered.loader.number].remove(entered)
        active_place = _youngest(saved, entered.loader.number) if entered is not None else None
        for place, state in enumerate(saved):
            entry = state if same_workers else {**state, "totals": {}}
            loader = loaders[entry["loader"]]
            found = entered if place == active_place else None
            if found is None and held[loader.number]:
                found = held[loader.number].pop(0)
            if not entry["begun"]:
                continue
            if found is None:
                loader.waiting.append((entry["number"], entry["position"]))
                self._waiting.setdefault(loader.number, []).append(entry)
            else:
                found.move(entry["number"], entry["position"])
                self._load(self._of(found.serial) or self._enter(found), entry)
        for rest in held.values():
            for over in rest:
                over.end()

    def _load(self, active: _ActivePass, entry: dict[str, Any]) -> None:
        active.first_step = entry["first_step"]
        active.share = entry["share"]
        active.num_batches = entry["num_batches"]
        active.num_samples = entry["num_samples"]
        for totals in active.totals:
            totals.begin_pass(entry["totals"].get(totals.number))

    def _end(self, active: _ActivePass) -> None:
        self._active.remove(active)
        for totals in active.totals:
            totals.end_pass(self._group)
        stepped = self._hooks.step > active.first_step
        if stepped:
            self.stepped.add(active.loader.number)
            self._meter.trained(active.num_samples, time.perf_counter() - active.begun)
            synchronise_buffers(self._models, self._group)
        if active.forks_generators:
            self._equalise_generators()
        self._metrics.flush(everyone=True)
        self._stopwatch.cut()
        if active.by_for and not any(other.by_for for other in self._active):
            self._keeper.pass_is_complete(active.loader, stepped)

    def _equalise_generators(self) -> None:
        torch.set_rng_state(self._group.broadcast_(torch.get_rng_state()))
        if self._device.type == "cuda":
            state = self._group.broadcast_object(torch.cuda.get_rng_state(self._device))
            torch.cuda.set_rng_state(state, self._device)


def _youngest(saved: list[dict[str, Any]], loader: int) -> int:
    begun = [place for place, entry in enumerate(saved) if entry["loader"] == loader and entry["begun"]]
    return begun[-1]
