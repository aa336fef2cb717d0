"""The state behind a `Run`: what is tracked, which loop is active, and when a checkpoint is taken.

`Run` is the face; this is the bookkeeping. It observes the outer loops and does between their turns
what every worker must do together. Loops over loaders are in `passes`, what a checkpoint holds is put
together in `snapshots`, how a restart finds its place is in `replay` and `arrival`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from torch import nn

from bessemer.data.iteration import LoaderPass
from bessemer.data.loaders import Loader
from bessemer.errors import CheckpointError, UserError
from bessemer.models.architectures import on_first_input
from bessemer.models.losses import GradientReducer
from bessemer.training.arrival import arrive, moment_of, pass_over, put_back
from bessemer.training.insides import InsideLoops
from bessemer.training.known_data import KnownData
from bessemer.training.loops import OuterLoop
from bessemer.training.meters import TurnMeter
from bessemer.training.metrics import PendingMetrics
from bessemer.training.optimizers import StepHooks, learning_rates
from bessemer.training.passes import Passes
from bessemer.training.recovery import Created
from bessemer.training.replay import Done, Frame
from bessemer.training.schedule import Schedule
from bessemer.training.snapshots import replay_of, snapshot
from bessemer.training.surroundings import ProgramInspected, RunStopped, Surroundings
from bessemer.training.tracked import Tracked, loose_parameters, with_models
from bessemer.training.values import Carried, Kept, Totals
from bessemer.training.written import Written
from bessemer.utils.events import Note, ProgramEnded, Progress, TurnToJudge


class Session:
    """See the module; the attributes are read by `Run` and by the worker that runs the program."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.given = surroundings
        self.group = surroundings.group
        self.outlet = surroundings.outlet
        self.created = Created()
        self.models: list[nn.Module] = []
        self.tracked = Tracked()
        self._told: set[str] = set()
        self.loaders: WeakValueDictionary[int, Loader[Any]] = WeakValueDictionary()
        self.values: WeakValueDictionary[int, Carried] = WeakValueDictionary()
        self.examples: dict[int, np.ndarray[Any, Any]] = {}
        self.meter = TurnMeter()
        self.metrics = PendingMetrics(self.group, self.outlet, self.meter)
        self.schedule = Schedule(
            surroundings.settings.checkpoint,
            self.group,
            surroundings.stop_wished,
            notices=surroundings.notices,
        )
        self.reducer = GradientReducer(
            self.group,
            surroundings.settings.scaling.loss_reduction,
            lambda: self.passes.share if self.passes.sharded else None,
            self.schedule,
        )
        self.hooks = StepHooks(
            self.reducer,
            self.group,
            self.tracked.holds,
            self._check_may_step,
            surroundings.stopwatch.stepped,
            lambda: not self.tracked.has_optimizer,
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
            self,
            surroundings.stopwatch,
            surroundings.position,
        )
        self.known_data = KnownData(
            surroundings.settings.data,
            surroundings.package,
            self.group,
            self.outlet,
            takes_stored=surroundings.mode != "inspect",
        )
        self.written = Written(surroundings.output_dir, self.group.rank == 0, self.outlet)
        self.last_metrics: dict[str, float] = {}
        self.resume = surroundings.resume
        self.replay = replay_of(self.resume, surroundings.mode)
        self._loops: list[OuterLoop[Any]] = []
        self._left = False
        self._kept: dict[int, list[Any]] = {}
        self.step_between = -1
        self._num_turns = 0
        self.num_judged = 0
        self.resumes_in_turn = False
        self._inside = InsideLoops(self.outlet)
        self.outlet.muted = self.resume is not None
        if self.resume is not None and surroundings.mode == "evaluate":
            self.passes.stepped.update(
                number for number, saved in self.resume["loaders"].items() if saved["stepped"]
            )

    @property
    def progress(self) -> int:
        """A number that differs after every batch, turn and step; 0 before the first."""
        return self.hooks.step + self.passes.num_batches + self._num_turns

    @property
    def epoch(self) -> int | None:
        """Turn of the outermost loop, from 1, or None outside of one and where turns are steps."""
        loops = self._loops
        return loops[0].turns + 1 if loops and not loops[0].counts_steps else None

    # What Run asks

    def add_loader(self, loader: Loader[Any]) -> None:
        """Remember a new loader."""
        if loader.remark:
            self.outlet.event(Note(loader.remark))
        self.loaders[loader.number] = loader
        self._keep(loader)
        loader.silent = self.given.mode == "evaluate" and loader.number in self.passes.stepped

    def add_values(self, values: Carried, number: int) -> None:
        """Remember new carried values."""
        self.values[number] = values
        self._keep(values)

    def _keep(self, value: Any) -> None:
        # What belongs to the whole program is needed at its end; of what a turn makes, the program holds
        # loaders and carried values itself, as long as it needs them.
        if not self._loops or isinstance(value, Kept):
            self._kept.setdefault(self.depth, []).append(value)

    def keep_example(self, model: nn.Module) -> None:
        """Keep the first input that a model is called with, to describe the logged model by."""
        number = len(self.models) - 1
        on_first_input(model, lambda example: self.examples.__setitem__(number, example))

    # Turns of the outer loop

    @property
    def depth(self) -> int:
        """Outer loops that the program is in (count)."""
        return len(self._loops)

    def loop_started(self, loop: OuterLoop[Any]) -> int | None:
        """Find where an outer loop begins, and put the saved state back if it is the active one."""
        if self.given.mode == "inspect":
            raise ProgramInspected
        self.settle()
        self._left = False
        self.meter.reset()
        skipped = 0
        # In the body of a loop over a loader it is part of that loop, which runs for real.
        if self.replay.going_on and not self.passes.in_for:
            met = self.replay.meets("loop", loop.number)
            if isinstance(met, Done):
                pass_over(self, met)
                return None
            assert met is not None
            skipped = met.turns
            if self.replay.is_innermost(met):
                arrive(self, None)
                skipped -= self.given.mode == "evaluate" and not self.resumes_in_turn
            else:
                put_back(self, met.begin)
                self.replay.frames.append(Frame(loop.number, skipped))
        else:
            self.replay.frames.append(Frame(loop.number))
        loop.first_step = self.hooks.step
        self._loops.append(loop)
        return max(0, skipped)

    def turn_started(self, loop: OuterLoop[Any]) -> None:
        """Begin a turn."""
        self._kept = {depth: kept for depth, kept in self._kept.items() if depth < self.depth}
        self.hooks.new_round()
        self.given.stopwatch.cut()
        self._num_turns += 1
        if self.given.position is not None:
            self.given.position.write(self.hooks.step)
        if not loop.counts_steps or loop.turns % self._row_every(loop) == 0:
            self.meter.reset()
        if not self.replay.going_on:
            frame = self.replay.frames[-1]
            frame.turns, frame.begin, frame.done = loop.turns, moment_of(self), []

    def turn_ended(self, loop: OuterLoop[Any], label: str) -> bool:
        """Close a turn: its row, its metrics, its checkpoint."""
        self.passes.close_below(self.depth)
        self.given.stopwatch.cut()
        if self.replay.going_on and self.given.mode == "train":
            if not self.passes.in_for:
                raise CheckpointError(
                    f"a turn of outer loop {loop.number} ended before it came to the loop that its "
                    "checkpoint was taken in",
                    expected="the same program as the one that took the checkpoint, which decides by "
                    "values that are carried",
                    todo="carry what the decision depends on with run.carry(...), or start a new run",
                )
            return True
        last = loop.turns == loop.num_turns
        if last or loop.turns % self._row_every(loop) == 0:
            self._close_turn(loop, label)
        if self.given.mode == "evaluate":
            return False
        if (last or loop.turns % self._row_every(loop) == 0) and not self.passes.in_for:
            self._judge(loop, last)
        if not loop.counts_steps:
            self.schedule.meet()
        elif self.group.size == 1:
            self.schedule.heard(self.schedule.wishes())
        every = self.given.settings.checkpoint.every_epochs
        by_turns = last or (not loop.counts_steps and loop.turns % every == 0)
        # In the body of a loop over a loader, the place of that loop would be lost.
        if (by_turns or self.schedule.is_due(self.hooks.step)) and not self.passes.in_for:
            frame = self.replay.frames[-1]
            frame.turns, frame.done = loop.turns, []
            self.metrics.flush(everyone=True)
            self.checkpoint(None)
        return True

    def _judge(self, loop: OuterLoop[Any], last: bool) -> None:
        """Tell whoever judges the run of a turn; where that decides, all workers hear what it says."""
        deciding = self.given.deciding
        if deciding is None or self.depth > 1:
            return
        self.num_judged += 1
        # After the last turn there is nothing to end.
        waits = deciding.at(self.num_judged) and not last
        ends = False
        if self.group.rank == 0:
            turn = TurnToJudge(
                self.num_judged, self.hooks.step, dict(self.last_metrics), waits, self._num_rows(loop)
            )
            ends = self.given.ends_after(turn) and waits
        if waits and self.group.broadcast_object(ends):
            self.schedule.stop = True

    def _num_rows(self, loop: OuterLoop[Any]) -> int | None:
        """Return how many turns will have been judged when a loop ends, if it says how long it is."""
        if loop.num_turns is None:
            return None
        return self.num_judged + -(-(loop.num_turns - loop.turns) // self._row_every(loop))

    def _row_every(self, loop: OuterLoop[Any]) -> int:
        return self.given.settings.tracking.row_every_steps if loop.counts_steps else 1

    def _close_turn(self, loop: OuterLoop[Any], label: str) -> None:
        self.metrics.flush(everyone=True)
        self.written.record()
        row = self.meter.row(label, loop.turns, loop.num_turns, self.hooks.step)
        row = replace(row, unit="step") if loop.counts_steps else row
        self.last_metrics = {**self.last_metrics, **row.metrics}
        self.outlet.event(row)
        self.outlet.metrics(
            {
                **{f"epoch/{name}": value for name, value in row.metrics.items()},
                **learning_rates(self.tracked),
                "epoch/duration_s": row.duration_s,
                "epoch/samples_per_s": row.samples_per_s,
                "epoch/data_wait_fraction": row.data_wait_fraction,
            },
            self.hooks.step,
        )

    def loop_ended(self, loop: OuterLoop[Any]) -> None:
        """Note a loop that is complete."""
        self._loops.remove(loop)
        if not self._loops:
            self.passes.sum_totals()
        self.replay.frames.pop()
        stepped = self.hooks.step > loop.first_step
        if not self.replay.going_on and not self.passes.in_for:
            done = Done("loop", loop.number, stepped, loop.turns, moment_of(self))
            self.replay.frames[-1].done.append(done)

    # Loops over loaders

    def pass_begins(self, entered: LoaderPass[Any], outermost: bool) -> bool:
        """Find out whether a loop over a loader is to be repeated, passed over, or gone on with."""
        if not self.replay.going_on or not outermost or self.given.mode == "evaluate":
            return True
        met = self.replay.meets("pass", entered.loader.number)
        if met is None:
            arrive(self, entered)
            return True
        assert isinstance(met, Done)
        if met.stepped:
            pass_over(self, met)
        return not met.stepped

    def pass_is_complete(self, loader: Loader[Any], stepped: bool) -> None:
        """Note a loop over a loader that is complete; in a replay, put back the moment after it."""
        if not self.replay.going_on:
            done = Done("pass", loader.number, stepped, 0, moment_of(self))
            self.replay.frames[-1].done.append(done)
        elif self.given.mode == "train":
            met = self.replay.meets("pass", loader.number)
            assert isinstance(met, Done)
            pass_over(self, met)

    def pass_is_between(self, entered: LoaderPass[Any], outermost: bool) -> None:
        """Take a checkpoint between two batches of a loop, if one is due."""
        stepped, self.step_between = self.hooks.step != self.step_between, self.hooks.step
        if self.replay.going_on or not stepped or self.given.mode != "train":
            return
        if self.group.size == 1:
            self.schedule.heard(self.schedule.wishes())
        if self.schedule.is_due(self.hooks.step) and not entered.is_at_end:
            if outermost and self._inside.can_go_on(entered):
                self.metrics.flush(everyone=True)
                self.checkpoint(entered)
            elif not entered.by_for and not (self._loops and self._loops[-1].counts_steps):
                self._inside.note(entered, "what drives this loop over a loader")

    # The program

    def _show_progress(self, batch: int, num_batches: int | None) -> None:
        if self._loops:
            turn, num_turns = self._loops[-1].turns, self._loops[-1].num_turns
            self.outlet.event(Progress(turn, num_turns, batch, num_batches))

    def finish(self) -> None:
        """End what is open when the program has returned."""
        self.settle()
        self.passes.close_all()
        self.metrics.flush(everyone=True)
        self.written.record()
        # What was logged after the last turn, or by a program that has none.
        self.outlet.event(ProgramEnded(self.hooks.step, {**self.last_metrics, **self.meter.metrics()}))
        if self._left and self.given.mode == "train":
            # Only now: what ran between the `break` and the next call of the run would run twice.
            self.checkpoint(None)
        if self.resume is not None:
            raise CheckpointError(
                "the program ended before it came to the loop that its checkpoint was taken in",
                expected="the same program as the one that took the checkpoint",
                todo="start a new run",
            )

    def close(self) -> None:
        """Free what the run holds; the workers do not talk to each other here."""
        self.hooks.close()
        self.reducer.close()
        self.written.close()
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
            self.passes.close_below(self.depth)
            self._close_turn(loop, label)
            if self.given.mode == "train":
                self._judge(loop, last=True)
            self.loop_ended(loop)
            self._left = not self._loops

    # Checkpoints

    def checkpoint(self, entered: LoaderPass[Any] | None) -> None:
        """Take a checkpoint; every worker comes here at the same step.

        Args:
            entered: the loop over a loader that it is taken in, or None between turns.

        Raises:
            RunStopped: a stop was asked for.
        """
        with self.given.stopwatch.checkpoint():
            state = snapshot(self, entered)
            self.schedule.taken(self.hooks.step)
            store = self.given.store
            if store is not None and self.group.rank == 0:
                metric = self._best_metric() if entered is None else None
                store.save(state, self.hooks.step, metric, self._before_it_counts())
        if self.schedule.stop:
            raise RunStopped

    def _before_it_counts(self) -> Callable[[], None]:
        """Return what waits until all that left the program before a checkpoint is safe."""
        recorded, home = self.outlet.barrier(), self.given.home

        def wait() -> None:
            recorded()
            if home is not None:
                home.send()

        return wait

    def _best_metric(self) -> float | None:
        chosen = self.given.settings.checkpoint.best_metric
        if chosen and chosen not in self.last_metrics:
            known = ", ".join(sorted(self.last_metrics)) or "none"
            self.outlet.event(
                Note(f"checkpoint.best_metric {chosen!r} was not logged; logged so far: {known}")
            )
        return self.meter.metrics().get(chosen)

    def all_tracked(self) -> dict[str, Any]:
        """Return what checkpoints keep: what was tracked or placed, and what only optimizers hold."""
        chosen = with_models(self.tracked, self.models)
        loose = loose_parameters(chosen)
        for name in sorted(loose.keys() - self._told):
            self.outlet.event(Note(f"{name} are of no model that is tracked; its buffers are not kept"))
        self._told |= loose.keys()
        return {**chosen, **loose}

    def _check_may_step(self) -> None:
        if self.given.mode == "evaluate":
            raise UserError(
                "the program takes optimizer steps outside of the loaders that it trains on",
                expected="training steps in loops over a loader, which evaluation leaves empty",
                todo="evaluate this program with code of its own",
            )


@contextlib.contextmanager
def closing(session: Session) -> Iterator[Session]:
    """Free what a session holds when the block ends."""
    try:
        yield session
    finally:
        session.close()
