"""A run that goes on from a checkpoint inside of a loop ends as the undisturbed run, to the last bit."""

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
from restarts import (
    PROGRAMS,
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
from torch import nn
from torch.autograd import backward
from torch.nn import functional
from torch.utils.data import Sampler

from bessemer.errors import CheckpointError
from bessemer.training.checkpoints import CheckpointStore
from bessemer.training.run import Run
from bessemer.training.surroundings import RunStopped
from bessemer.utils.collectives import Group
from bessemer.utils.events import Note
from runs import FakeWriter, Program, run_program, settings_with
from workers import on_workers


def small_net() -> nn.Module:
    """With dropout, and without batch statistics, so that one sample is enough for a worker."""
    return nn.Sequential(nn.Linear(3, 6), nn.Dropout(0.3), nn.Tanh(), nn.Linear(6, 1))


def two_training_loaders_and_evaluation_first(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    first = run.loader(Noisy(), batch_size=5, shuffle=True)
    second = run.loader(data_of(11), batch_size=3, shuffle=True)
    test_loader = run.loader(Noisy(), batch_size=7, shuffle=True)
    for _ in run.epochs(3):
        lr = 0.01 * (1 + random.random())  # drawn before the loop, used in it
        judged = run.totals(loss=0.0)
        with torch.no_grad():
            for x, y in test_loader:
                judged.loss += float(functional.mse_loss(model(x), y)) + random.random()
        for group in optimizer.param_groups:
            group["lr"] = lr
        noise = float(torch.rand(()))
        for batch in first:
            run.log({"first": train_step(model, optimizer, batch), "noise": noise})
        for i, batch in second.enumerate(1):
            run.log({"second": train_step(model, optimizer, batch), "i": i, "judged": judged.loss})
    return weights_of(model)


def two_optimizers(run: Run) -> Any:
    """A GAN: gradients of one model come about in the other's step, and are thrown away later."""
    maker, judge = run.place(nn.Linear(2, 3)), run.place(nn.Linear(3, 1))
    of_maker = torch.optim.Adam(maker.parameters(), lr=0.02)
    of_judge = torch.optim.RMSprop(judge.parameters(), lr=0.02)
    run.track(maker=maker, judge=judge, of_maker=of_maker, of_judge=of_judge)
    loader = run.loader(data_of(14), batch_size=4, shuffle=True)
    for _ in run.epochs(2):
        for i, (x, _y) in loader.enumerate():
            of_judge.zero_grad()
            made = maker(torch.randn(len(x), 2))
            loss = judge(made).mean() - judge(x).mean()
            backward(loss)
            of_judge.step()
            if i % 2 == 1:
                of_maker.zero_grad()
                backward(-judge(maker(torch.randn(len(x), 2))).mean())
                of_maker.step()
            run.log({"loss": loss})
    return weights_of(maker, judge)


def for_ever_with_an_iterator(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    running = run.totals(loss=0.0)
    iterator = iter(loader)
    for step in run.steps():
        try:
            batch = next(iterator)
        except StopIteration:
            iterator = iter(loader)
            batch = next(iterator)
        loss = train_step(model, optimizer, batch)
        running.loss += float(loss.detach())
        run.log({"loss": loss, "noise": random.random()})
        if step == 10:
            break
    return weights_of(model), running.loss


def an_endless_generator(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)

    def endless() -> Iterator[Any]:
        while True:
            yield from loader

    batches = endless()
    for _ in run.steps(9):
        run.log({"loss": train_step(model, optimizer, next(batches))})
    return weights_of(model)


def accumulation(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=3, shuffle=True)
    for _ in run.epochs(3):
        for i, (x, y) in loader.enumerate():
            loss = functional.mse_loss(model(x), y) / 3
            backward(loss)
            if (i + 1) % 3 == 0:  # what is left of a pass goes on in the next one
                optimizer.step()
                optimizer.zero_grad()
            run.log({"loss": loss})
    return weights_of(model)


def gradients_that_are_never_zeroed(run: Run) -> Any:
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for x, y in run.loader(data_of(12), batch_size=4, shuffle=True):
            backward(functional.mse_loss(model(x), y))
            optimizer.step()
    return weights_of(model)


def no_outer_loop(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=3, shuffle=True)
    kept = run.carry(losses=[])
    for batch in loader:
        loss = train_step(model, optimizer, batch)
        kept.losses.append(float(loss.detach()))
        run.log({"loss": loss})
    for batch in loader:
        run.log({"again": train_step(model, optimizer, batch)})
    return weights_of(model), kept.losses


def no_loader(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    x, y = data_of(20).tensors
    for _ in run.steps(8):
        chosen = torch.randint(20, (6,))
        run.log({"loss": train_step(model, optimizer, (x[chosen], y[chosen])), "n": np.random.rand()})
    return weights_of(model)


def evaluation_in_the_middle(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=6, shuffle=True)
    test_loader = run.loader(data_of(10), batch_size=4)
    best = run.carry(loss=float("inf"))
    for _ in run.epochs(2):
        for i, batch in loader.enumerate():
            run.log({"loss": train_step(model, optimizer, batch)})
            if i % 2:
                model.eval()
                test = run.totals(loss=0.0)
                with torch.no_grad():
                    for x, y in test_loader:
                        test.loss += float(functional.mse_loss(model(x), y, reduction="sum"))
                model.train()
                best.loss = min(best.loss, test.loss)
                run.log({"test": test.loss, "best": best.loss})
    return weights_of(model)


def pairs_of_loaders(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    one = run.loader(Noisy(), batch_size=3, shuffle=True)
    other = run.loader(data_of(20), batch_size=5, shuffle=True)
    for _ in run.epochs(2):
        for batch, (x, _y) in zip(one, other, strict=False):
            run.log({"loss": train_step(model, optimizer, batch), "x": x.sum()})
    return weights_of(model)


def a_loop_in_a_loop_over_loaders(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    tasks = run.loader(data_of(6), batch_size=3, shuffle=True)
    for _ in run.epochs(2):
        for x, _y in tasks:
            for batch in run.loader(Noisy(), batch_size=5, shuffle=True):
                run.log({"loss": train_step(model, optimizer, batch), "x": x.sum()})
            for turn in run.epochs(2):
                run.log({"inner": train_step(model, optimizer, (x, x[:, :1])), "turn": turn})
    return weights_of(model)


def early_stopping_by_evaluation(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    test_loader = run.loader(data_of(10), batch_size=5)
    best = run.carry(loss=float("inf"))
    for _ in run.epochs(6):
        test = run.totals(loss=0.0)
        with torch.no_grad():
            for x, y in test_loader:
                test.loss += float(functional.mse_loss(model(x), y))
        run.log({"test": test.loss})
        if test.loss > best.loss:
            break
        best.loss = test.loss
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
    run.log({"end": best.loss})
    return weights_of(model)


def a_loop_that_is_left_in_the_middle(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=2, shuffle=True)
    for epoch in run.epochs(3):
        for i, batch in loader.enumerate():
            run.log({"loss": train_step(model, optimizer, batch)})
            if i == 3:
                break
        run.log({"epoch": epoch, "noise": random.random()})
        for batch in loader:
            run.log({"whole": train_step(model, optimizer, batch)})
    return weights_of(model)


class Remembering(Sampler[int]):
    """A sampler that goes on where it was, as some in research code do."""

    def __init__(self) -> None:
        self.turn = 0

    def __len__(self) -> int:
        return 14

    def __iter__(self) -> Iterator[int]:
        self.turn += 1
        order = list(range(14))
        random.shuffle(order)
        yield from (index for index in order[self.turn :] + order[: self.turn])


def a_sampler_with_a_memory(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, sampler=Remembering())
    for _ in run.epochs(3):
        for x, y in loader:
            run.log({"loss": train_step(model, optimizer, (x, y)), "x": x.sum()})
    return weights_of(model)


def an_evaluation_with_loops_in_it(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    test_loader = run.loader(data_of(6), batch_size=3)
    for _ in run.epochs(2):
        for x, _y in test_loader:
            for turn in run.epochs(2):
                run.log({"test": model(x).mean() + turn + random.random()})
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
    return weights_of(model)


SHAPES = [
    *PROGRAMS,
    two_training_loaders_and_evaluation_first,
    two_optimizers,
    for_ever_with_an_iterator,
    an_endless_generator,
    accumulation,
    gradients_that_are_never_zeroed,
    no_outer_loop,
    no_loader,
    evaluation_in_the_middle,
    pairs_of_loaders,
    a_loop_in_a_loop_over_loaders,
    early_stopping_by_evaluation,
    a_loop_that_is_left_in_the_middle,
    a_sampler_with_a_memory,
    an_evaluation_with_loops_in_it,
]


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("program", SHAPES, ids=lambda program: str(program.__name__))
def test_a_loop_of_any_shape_goes_on_from_any_step_to_the_last_bit(
    tmp_path: Path, program: Program, every: int
) -> None:
    settings = settings_with(checkpoint={"every_steps": every}, tracking={"row_every_steps": 3})
    whole = resumed_from_each_is_the_same(program, tmp_path, settings)
    if every == 1 and program not in (no_loader, counting_steps):
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
@pytest.mark.parametrize("program", SHAPES, ids=lambda program: str(program.__name__))
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
