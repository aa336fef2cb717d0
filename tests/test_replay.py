"""A run that is cut off anywhere goes on to the last bit, whatever shape its loops have."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from object_shapes import SHAPES as OBJECT_SHAPES
from object_shapes import tensors_of_no_model
from torch import nn

from bessemer.errors import CheckpointError
from bessemer.training.checkpoints import CheckpointStore
from bessemer.training.run import Run
from bessemer.training.surroundings import RunStopped
from bessemer.utils.collectives import Group
from bessemer.utils.events import Note
from loop_shapes import (
    SHAPES,
    accumulation,
    evaluation_in_the_middle,
    for_ever_with_an_iterator,
    no_loader,
    two_optimizers,
    two_training_loaders_and_evaluation_first,
)
from restarts import (
    MarkingStore,
    Noisy,
    Source,
    counting_steps,
    data_of,
    everything,
    net,
    resumed_from_each_is_the_same,
    streaming_at_once,
    train_step,
    train_to_the_end,
    weights_of,
)
from runs import FakeWriter, Program, run_program, settings_with
from workers import on_workers


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("program", [*SHAPES, *OBJECT_SHAPES], ids=lambda program: str(program.__name__))
def test_a_loop_of_any_shape_goes_on_from_any_step_to_the_last_bit(
    tmp_path: Path, program: Program, every: int
) -> None:
    settings = settings_with(checkpoint={"every_steps": every}, tracking={"row_every_steps": 3})
    whole = resumed_from_each_is_the_same(program, tmp_path, settings)
    if every == 1 and program not in (no_loader, counting_steps, tensors_of_no_model):
        assert any(whole.store.load(saved)["passes"] for saved in whole.store.complete())


def test_a_stream_goes_on_inside_of_an_epoch_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(data={"block_steps": 2}, checkpoint={"every_steps": 1})
    with streaming_at_once(monkeypatch):
        resumed_from_each_is_the_same(everything, tmp_path, settings, open_source=Source)


def test_the_clock_takes_checkpoints_inside_of_an_epoch(tmp_path: Path) -> None:
    settings = settings_with(checkpoint={"every_s": 1e-9})
    whole = resumed_from_each_is_the_same(everything, tmp_path, settings)
    assert len(whole.store.complete()) == whole.ran.step


# Kills one after the other


class KilledError(Exception):
    pass


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("program", [*SHAPES, *OBJECT_SHAPES], ids=lambda program: str(program.__name__))
def test_a_run_that_is_killed_again_and_again_ends_the_same(
    tmp_path: Path, program: Program, seed: int
) -> None:
    whole = run_program(program, tmp_path)
    chance = random.Random(seed)
    settings = settings_with(checkpoint={"every_steps": chance.randint(1, 4)})
    state, place = None, 0  # and how many points were logged before the checkpoint
    for _ in range(200):
        writer = DyingWriter(chance.randint(1, 60))
        store = MarkingStore(tmp_path / "killed", writer)
        ran = None
        with contextlib.suppress(KilledError):
            ran = run_program(program, tmp_path, settings, resume=state, store=store, writer=writer)
        store.close()
        assert writer.points == whole.points[place : place + len(writer.points)]
        if ran is not None:
            assert place + len(writer.points) == len(whole.points)
            assert ran.result == whole.result
            return
        if store.marks:
            newest = store.newest()
            assert newest is not None
            state = newest[1]
            place += store.marks[-1]
    raise AssertionError("it never came to its end")


class DyingWriter(FakeWriter):
    """Ends the program after so many metrics, as a kill would."""

    def __init__(self, lives: int) -> None:
        super().__init__()
        self.lives = lives

    def log(self, metrics: Any, step: int) -> None:
        self.lives -= 1
        if self.lives == 0:
            raise KilledError
        super().log(metrics, step)


# What cannot be gone on with inside


def counted_by(wrap: Callable[[Any], Any]) -> Program:
    def program(run: Run) -> Any:
        model = run.place(net())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run.track(model=model, optimizer=optimizer)
        loader = run.loader(Noisy(), batch_size=3, shuffle=True)
        for _ in run.epochs(3):
            for i, batch in wrap(loader):
                run.log({"loss": train_step(model, optimizer, batch), "i": i})
        return weights_of(model)

    return program


def _own_counter(loader: Any) -> Iterator[Any]:
    yield from enumerate(loader)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (enumerate, "enumerate"),
        (lambda loader: islice(loader.enumerate(), 3), None),
        (lambda loader: enumerate(islice(loader, 3)), "islice"),
        (_own_counter, None),
    ],
)
def test_what_counts_for_itself_is_gone_on_with_between_epochs_only(
    tmp_path: Path, wrap: Callable[[Any], Any], name: str | None
) -> None:
    settings = settings_with(checkpoint={"every_steps": 1})
    whole = resumed_from_each_is_the_same(counted_by(wrap), tmp_path, settings)
    assert len(whole.store.complete()) == 3
    notes = [event.text for event in whole.ran.events if isinstance(event, Note)]
    assert len(notes) == 1
    assert "test_replay.py" in notes[0]
    assert name is None or name in notes[0]


def test_a_turn_that_never_comes_to_its_loop_in_a_replay_is_refused(tmp_path: Path) -> None:
    trains = [True]

    def program(run: Run) -> None:
        model = run.place(net())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run.track(model=model, optimizer=optimizer)
        loader = run.loader(Noisy(), batch_size=3)
        for _ in run.epochs(2):
            if trains[0]:
                for batch in loader:
                    train_step(model, optimizer, batch)

    settings = settings_with(checkpoint={"every_steps": 2})
    whole = train_to_the_end(program, tmp_path, settings)
    trains[0] = False
    with pytest.raises(CheckpointError, match="ended before it came to the loop"):
        run_program(program, tmp_path, settings, resume=whole.store.load(whole.store.complete()[0]))


def test_a_comprehension_is_gone_on_with_between_epochs_only(tmp_path: Path) -> None:
    def program(run: Run) -> Any:
        model = run.place(net())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run.track(model=model, optimizer=optimizer)
        loader = run.loader(Noisy(), batch_size=3, shuffle=True)
        for _ in run.epochs(3):
            losses = [float(train_step(model, optimizer, batch).detach()) for batch in loader]
            run.log({"first": losses[0], "count": len(losses)})
        return weights_of(model)

    settings = settings_with(checkpoint={"every_steps": 1})
    assert len(resumed_from_each_is_the_same(program, tmp_path, settings).store.complete()) == 3


def test_a_program_that_decides_otherwise_in_a_replay_is_refused(tmp_path: Path) -> None:
    turns = {"first": 0}

    def program(run: Run) -> None:
        model = run.place(net())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run.track(model=model, optimizer=optimizer)
        one, other = (run.loader(Noisy(), batch_size=3) for _ in range(2))
        for _ in run.epochs(2):
            for loader in (one, other) if turns["first"] == 0 else (other, one):
                for batch in loader:
                    train_step(model, optimizer, batch)

    settings = settings_with(checkpoint={"every_steps": 7})
    whole = train_to_the_end(program, tmp_path, settings)
    turns["first"] = 1
    with pytest.raises(CheckpointError, match="loop over loader 1 where it had come to loop over loader 0"):
        run_program(program, tmp_path, settings, resume=whole.store.load(whole.store.complete()[0]))


# A stop that was asked for


def test_a_stop_takes_a_checkpoint_at_the_next_step_and_ends(tmp_path: Path) -> None:
    whole = run_program(everything, tmp_path)
    wished = False

    class Stopping(FakeWriter):
        def log(self, metrics: Any, step: int) -> None:
            nonlocal wished
            super().log(metrics, step)
            wished = step >= 6

    store = CheckpointStore(str(tmp_path / "checkpoints"), keep=9)
    writer = Stopping()
    settings = settings_with(tracking={"row_every_steps": 1})
    with pytest.raises(RunStopped):
        run_program(everything, tmp_path, settings, store=store, writer=writer, stop_wished=lambda: wished)
    store.close()
    newest = store.newest()
    assert newest is not None
    again = run_program(everything, tmp_path, settings, resume=newest[1])
    assert again.result == whole.result
    assert writer.points + again.points == whole.points


# Many workers


def totals_in_the_middle(run: Run) -> Any:
    torch.set_default_dtype(torch.float64)
    try:
        model = run.place(nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1)))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        run.track(model=model, optimizer=optimizer)
        loader = run.loader(data_of(22), batch_size=5, shuffle=True)
        iterator = iter(loader)
        totals = run.totals(seen=0, loss=0.0)
        for _ in run.epochs(2):
            for x, y in loader:
                loss = train_step(model, optimizer, (x.double(), y.double()))
                totals.seen += len(x) if run.share else 0
                totals.loss += float(loss.detach()) * run.share
                run.log({"loss": loss})
            run.log({"seen": totals.seen, "total": totals.loss})
        for _ in run.steps(4):
            x, y = next(iterator)
            run.log({"by hand": train_step(model, optimizer, (x.double(), y.double()))})
        return weights_of(model), totals.seen
    finally:
        torch.set_default_dtype(torch.float32)


def train_from(
    group: Group, program: Program, folder: Path, number: int | None
) -> tuple[Any, list[Any], int]:
    """Train to the end, or go on from the checkpoint of that number."""
    store = CheckpointStore(str(folder / "checkpoints"), keep=100)
    state = None if number is None else store.load(store.complete()[number])
    taking = store if number is None and group.rank == 0 else None
    settings = settings_with(checkpoint={"every_steps": 1})
    ran = run_program(program, folder, settings, group=group, resume=state, store=taking)
    store.close()
    return ran.result, ran.points, len(store.complete())


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    "program",
    [
        totals_in_the_middle,
        two_optimizers,
        accumulation,
        evaluation_in_the_middle,
        for_ever_with_an_iterator,
        two_training_loaders_and_evaluation_first,
    ],
    ids=lambda program: str(program.__name__),
)
def test_many_workers_go_on_inside_of_a_loop_to_the_last_bit(
    tmp_path: Path, size: int, program: Program
) -> None:
    whole = on_workers(train_from, size, program, tmp_path, None)
    num_checkpoints = whole[0][2]
    assert num_checkpoints > 3
    for number in range(0, num_checkpoints, 2):
        again = on_workers(train_from, size, program, tmp_path, number)
        assert [result for result, _, _ in again] == [result for result, _, _ in whole]
        points = again[0][1]
        assert points == whole[0][1][len(whole[0][1]) - len(points) :]


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (3, 2), (2, 3)])
def test_the_number_of_workers_may_change_in_the_middle_of_an_epoch(
    tmp_path: Path, before: int, after: int
) -> None:
    whole, points, num = on_workers(train_from, before, totals_in_the_middle, tmp_path, None)[0]
    for number in range(num):
        again, later, _ = on_workers(train_from, after, totals_in_the_middle, tmp_path, number)[0]
        for one, other in zip(again[0], whole[0], strict=True):
            assert np.array(one) == pytest.approx(np.array(other), rel=1e-10, abs=1e-12)
        assert again[1] == whole[1]
        tail = points[len(points) - len(later) :]
        assert [point[:2] for point in later] == [point[:2] for point in tail]
        assert [point[2] for point in later] == pytest.approx([point[2] for point in tail], rel=1e-10)
