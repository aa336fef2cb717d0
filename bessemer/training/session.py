"""The state behind a `Run`: what is tracked, which loop is active, and when a checkpoint is taken.

`Run` is the face; this is the bookkeeping. It observes the outer loops and does between their turns
what every worker must do together. Loops over loaders are in `passes`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from bessemer.config.settings import Settings
from bessemer.data.loaders import Loader, OpenSource
from bessemer.errors import CheckpointError, UserError
from bessemer.models.losses import GradientReducer
from bessemer.training.checkpoints import FORMAT, CheckpointStore, State
from bessemer.training.loops import OuterLoop
from bessemer.training.meters import TurnMeter
from bessemer.training.metrics import PendingMetrics
from bessemer.training.optimizers import StepHooks
from bessemer.training.outlet import Outlet
from bessemer.training.passes import Passes
from bessemer.training.recovery import (
    Created,
    LoopPosition,
    generator_states,
    restore_generators,
)
from bessemer.training.values import Carried, Totals
from bessemer.utils.collectives import Group
from bessemer.utils.events import FirstStep, Note, Progress

_NUM_EXAMPLE_SAMPLES = 4

# train: the whole program. evaluate: one turn of the outer loop from a checkpoint, with the loaders
# that train left empty. inspect: everything before the outer loop.
Mode = Literal["train", "evaluate", "inspect"]


class ProgramInspected(BaseException):
    """Ends a program at its outer loop in mode "inspect"; not an error, so no `except` stops it."""


@dataclass(frozen=True)
class Surroundings:
    """What a run is given by whoever starts it.

    Attributes:
        settings: the project's settings.
        group: the workers.
        device: what this worker computes on.
        output_dir: folder for the files that the program leaves.
        outlet: where metrics, events and files go; closed on all but the main worker.
        store: checkpoints, or None to take none.
        resume: state to go on from, or None for a fresh start.
        open_source: starts a stream for a loader, or None to fetch in process.
        mode: how much of the program is run.
    """

    settings: Settings
    group: Group
    device: torch.device
    output_dir: Path
    outlet: Outlet = field(default_factory=Outlet)
    store: CheckpointStore | None = None
    resume: State | None = None
    open_source: OpenSource | None = None
    mode: Mode = "train"


class Session:
    """See the module; the attributes are read by `Run` and by the worker that runs the program."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.given = surroundings
        self.group = surroundings.group
        self.outlet = surroundings.outlet
        self.created = Created()
        self.models: list[nn.Module] = []
        self.tracked: dict[str, Any] = {}
        self.loaders: WeakValueDictionary[int, Loader[Any]] = WeakValueDictionary()
        self.values: WeakValueDictionary[int, Carried] = WeakValueDictionary()
        self.examples: dict[int, np.ndarray[Any, Any]] = {}
        self.meter = TurnMeter()
        self.metrics = PendingMetrics(self.group, self.outlet, self.meter)
        self.reducer = GradientReducer(
            self.group,
            surroundings.settings.scaling.loss_reduction,
            lambda: self.passes.share if self.passes.sharded else None,
        )
        self.hooks = StepHooks(
            self.reducer,
            self.group,
            self._is_tracked,
            self._check_may_step,
            lambda: self.outlet.event(FirstStep(time.time())),
        )
        self.passes = Passes(
            self.group,
            surroundings.device,
            self.metrics,
            self.meter,
            self.models,
            self.hooks,
            lambda: [value for value in self.values.values() if isinstance(value, Totals)],
            self._show_progress,
        )
        self.last_metrics: dict[str, float] = {}
        self._resume = surroundings.resume
        self._loops: list[OuterLoop[Any]] = []
        self._left: OuterLoop[Any] | None = None
        self._kept: list[Any] = []
        self.outlet.muted = self._resume is not None
        if self._resume is not None and surroundings.mode == "evaluate":
            self.passes.stepped.update(
                number for number, saved in self._resume["loaders"].items() if saved["stepped"]
            )

    # What Run asks

    def add_loader(self, loader: Loader[Any]) -> None:
        """Remember a new loader."""
        self.loaders[loader.number] = loader
        self._keep(loader)
        loader.silent = self.given.mode == "evaluate" and loader.number in self.passes.stepped

    def add_values(self, values: Carried, number: int) -> None:
        """Remember new carried values."""
        self.values[number] = values
        self._keep(values)

    def _keep(self, value: Any) -> None:
        # What belongs to the whole program is needed at its end; what a turn makes may go with it.
        if not self._loops:
            self._kept.append(value)

    def keep_example(self, model: nn.Module) -> None:
        """Keep the first input that a model is called with, to describe the logged model by."""
        number = len(self.models) - 1

        def keep(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            handle.remove()
            if len(inputs) == 1 and isinstance(inputs[0], torch.Tensor) and inputs[0].ndim:
                example = inputs[0].detach()[:_NUM_EXAMPLE_SAMPLES].cpu()
                self.examples[number] = example.clone().numpy()

        handle = model.register_forward_pre_hook(keep)

    # Turns of the outer loop

    def loop_started(self, loop: OuterLoop[Any]) -> int | None:
        """Find where an outer loop begins, and put the saved state back if it is the active one."""
        if self.given.mode == "inspect":
            raise ProgramInspected
        self.settle()
        self._left = None
        self._loops.append(loop)
        self.meter.reset()
        if self._resume is None:
            return 0
        positions = [LoopPosition.from_plain(plain) for plain in self._resume["loops"]]
        depth = next((d for d, p in enumerate(positions) if p.number == loop.number), None)
        if depth is None:
            self._loops.remove(loop)
            return None
        position = positions[depth]
        if depth < len(positions) - 1:
            self.created.counts = dict(position.created)
        else:
            self._restore(self._resume)
            self._resume = None
            # A checkpoint of a loop that was left is one of the whole program: all has been said.
            self.outlet.muted = position.left and self.given.mode == "train"
        if position.left and self.given.mode == "train":
            self._loops.remove(loop)
            return None
        return max(0, position.turns - 1) if self.given.mode == "evaluate" else position.turns

    def turn_started(self, loop: OuterLoop[Any]) -> None:
        """Begin a turn."""
        loop.created = dict(self.created.counts)
        self.hooks.new_round()
        self.meter.reset()

    def turn_ended(self, loop: OuterLoop[Any], label: str) -> bool:
        """Close a turn: its row, its metrics, its checkpoint."""
        self._close_turn(loop, label)
        if self.given.mode == "evaluate":
            return False
        every = self.given.settings.checkpoint.every_epochs
        if loop.turns == loop.num_turns or loop.turns % every == 0:
            self.checkpoint(self._loops)
        self.meter.reset()
        return True

    def _close_turn(self, loop: OuterLoop[Any], label: str) -> None:
        self.passes.close_all()
        self.reducer.check_used()
        self.metrics.flush(everyone=True)
        row = self.meter.row(label, loop.turns, loop.num_turns, self.hooks.step)
        self.last_metrics = {**self.last_metrics, **row.metrics}
        self.outlet.event(row)
        self.outlet.metrics(
            {
                **{f"epoch/{name}": value for name, value in row.metrics.items()},
                **self._learning_rates(),
                "epoch/duration_s": row.duration_s,
                "epoch/samples_per_s": row.samples_per_s,
                "epoch/data_wait_fraction": row.data_wait_fraction,
            },
            self.hooks.step,
        )

    def loop_ended(self, loop: OuterLoop[Any]) -> None:
        """Forget a loop that is complete."""
        self._loops.remove(loop)

    def _show_progress(self, batch: int, num_batches: int) -> None:
        if self._loops:
            turn, num_turns = self._loops[-1].turns, self._loops[-1].num_turns
            self.outlet.event(Progress(turn, num_turns, batch, num_batches))

    def finish(self) -> None:
        """End what is open when the program has returned."""
        self.settle()
        self.passes.close_all()
        self.metrics.flush(everyone=True)
        if self._left is not None and self.given.mode == "train":
            # Only now: what ran between the `break` and the next call of the run would run twice.
            self.checkpoint([self._left])
        if self._resume is not None:
            raise CheckpointError(
                "the program ended before it came to the loop that its checkpoint was taken in",
                expected="the same program as the one that took the checkpoint",
                todo="start a new run",
            )

    def close(self) -> None:
        """Free what the run holds; the workers do not talk to each other here."""
        self.hooks.close()
        for loader in list(self.loaders.values()):
            loader.close()

    def settle(self) -> None:
        """End what was left by `break`, at the next thing that the program asks of its run.

        When a loop is left, nobody knows yet whether every worker leaves it or an error unwinds one.
        """
        self.passes.settle()
        while self._loops and (label := self._loops[-1].left_at) is not None:
            loop = self._loops[-1]
            loop.turns += 1
            self._close_turn(loop, label)
            self._loops.remove(loop)
            self._left = None if self._loops else loop

    # Checkpoints

    def checkpoint(self, loops: list[OuterLoop[Any]]) -> None:
        """Take a checkpoint in these loops; every worker comes here at the same step."""
        generators = self.group.gather_objects(generator_states())
        store = self.given.store
        if store is None or self.group.rank > 0:
            return
        chosen = self.given.settings.checkpoint.best_metric
        if chosen and chosen not in self.last_metrics:
            known = ", ".join(sorted(self.last_metrics)) or "none"
            self.outlet.event(
                Note(f"checkpoint.best_metric {chosen!r} was not logged; logged so far: {known}")
            )
        metric = self.meter.metrics().get(chosen)
        store.save(self._state(loops, generators), self.hooks.step, metric, self.outlet.barrier())

    def _state(self, active: list[OuterLoop[Any]], generators: list[dict[str, Any]]) -> State:
        loops = [
            LoopPosition(loop.number, loop.turns, loop.created, loop.left_at is not None) for loop in active
        ]
        return {
            "format": FORMAT,
            "step": self.hooks.step,
            "world_size": self.group.size,
            "loops": [position.to_plain() for position in loops],
            "created": dict(self.created.counts),
            "tracked": {name: value.state_dict() for name, value in self._all_tracked().items()},
            "loaders": {
                number: {**loader.state_dict(), "stepped": number in self.passes.stepped}
                for number, loader in self.loaders.items()
            },
            "values": {number: values.state_dict() for number, values in self.values.items()},
            "generators": generators,
            "metrics": dict(self.last_metrics),
        }

    def _restore(self, state: State) -> None:
        tracked = self._all_tracked()
        if set(tracked) != set(state["tracked"]):
            raise CheckpointError(
                f"the program tracks {sorted(tracked)}",
                expected=f"what the checkpoint has: {sorted(state['tracked'])}",
                todo="resume with the code that took the checkpoint, or start a new run",
            )
        for name, value in tracked.items():
            try:
                value.load_state_dict(state["tracked"][name])
            except (RuntimeError, ValueError, KeyError) as error:
                raise CheckpointError(
                    f"{name} does not take the state that its checkpoint has: {error}",
                    expected="an object of the same shape as when the checkpoint was taken",
                    todo="resume with the code and settings that took it, or start a new run",
                ) from error
        self.created.counts = dict(state["created"])
        for number, loader in self.loaders.items():
            if number in state["loaders"]:
                loader.load_state_dict(state["loaders"][number])
                if state["loaders"][number]["stepped"]:
                    self.passes.stepped.add(number)
        for number, values in self.values.items():
            if number in state["values"]:
                values.load_state_dict(state["values"][number])
        generators = state["generators"]
        restore_generators(generators[min(self.group.rank, len(generators) - 1)])
        self.hooks.step = state["step"]
        self.last_metrics = dict(state["metrics"])

    def _all_tracked(self) -> dict[str, Any]:
        """Return what was tracked, and models that were only placed."""
        chosen = dict(self.tracked)
        for number, model in enumerate(self.models):
            if not any(value is model for value in chosen.values()):
                chosen[f"placed.{number}"] = model
        return chosen

    def _is_tracked(self, optimizer: Optimizer) -> bool:
        return any(value is optimizer for value in self.tracked.values())

    def _check_may_step(self) -> None:
        if self.given.mode == "evaluate":
            raise UserError(
                "the program takes optimizer steps outside of the loaders that it trains on",
                expected="training steps in loops over a loader, which evaluation leaves empty",
                todo="evaluate this program with code of its own",
            )

    def _learning_rates(self) -> dict[str, float]:
        return {
            f"epoch/lr/{name}": float(value.param_groups[0]["lr"])
            for name, value in self.tracked.items()
            if isinstance(value, Optimizer) and "lr" in value.param_groups[0]
        }


@contextlib.contextmanager
def closing(session: Session) -> Iterator[Session]:
    """Free what a session holds when the block ends."""
    try:
        yield session
    finally:
        session.close()
