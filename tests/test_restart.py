"""A run that goes on from any of its checkpoints ends as the undisturbed run does, to the last bit."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import backward

from bessemer.errors import BessemerError, CheckpointError
from bessemer.training.checkpoints import CheckpointStore, State
from bessemer.training.run import Run
from bessemer.training.surroundings import ProgramInspected
from bessemer.utils.collectives import Group
from bessemer.utils.events import AttemptStarted
from restarts import (
    PROGRAMS,
    MarkingStore,
    Noisy,
    Source,
    data_of,
    everything,
    net,
    resumed_from_each_is_the_same,
    same,
    streaming_at_once,
    train_step,
    train_to_the_end,
    weights_of,
)
from runs import FakeWriter, Program, run_program, settings_with
from workers import on_workers


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program.__name__))
def test_a_run_goes_on_from_each_of_its_checkpoints_to_the_last_bit(tmp_path: Path, program: Program) -> None:
    resumed_from_each_is_the_same(program, tmp_path)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: str(program.__name__))
def test_taking_checkpoints_changes_nothing(tmp_path: Path, program: Program) -> None:
    with_checkpoints = train_to_the_end(program, tmp_path)
    without = run_program(program, tmp_path)
    assert without.points == with_checkpoints.ran.points
    assert without.result == with_checkpoints.ran.result


def test_the_research_order_goes_on_to_the_last_bit_too(tmp_path: Path) -> None:
    resumed_from_each_is_the_same(everything, tmp_path, settings_with(data={"order": "research"}))


def test_a_stream_goes_on_to_the_last_bit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(data={"block_steps": 2})
    with streaming_at_once(monkeypatch):
        resumed_from_each_is_the_same(everything, tmp_path, settings, open_source=Source)


def test_checkpoints_of_every_second_epoch_and_of_the_last_are_enough(tmp_path: Path) -> None:
    settings = settings_with(checkpoint={"every_epochs": 2})
    whole = resumed_from_each_is_the_same(everything, tmp_path, settings)
    assert [saved.step for saved in whole.store.complete()] == [8, 16, 20]


def test_a_resumed_run_takes_the_checkpoints_that_the_undisturbed_one_takes(tmp_path: Path) -> None:
    whole = train_to_the_end(everything, tmp_path / "whole")
    first = whole.store.complete()[0]
    again = CheckpointStore(str(tmp_path / "again"), keep=100)
    run_program(everything, tmp_path, resume=whole.store.load(first), store=again)
    again.close()
    later = {saved.step: whole.store.load(saved) for saved in whole.store.complete()[1:]}
    assert [saved.step for saved in again.complete()] == list(later)
    for saved in again.complete():
        # A frame also has what of the turn before was still alive when its turn began.
        taken = {**again.load(saved), "frames": []}
        assert same(taken, {**later[saved.step], "frames": []})


def test_a_run_that_is_resumed_after_every_turn_ends_the_same(tmp_path: Path) -> None:
    whole = train_to_the_end(everything, tmp_path / "whole")
    points: list[Any] = []
    result, state = None, None
    while result is None:
        writer = FakeWriter()
        killing = KillingStore(tmp_path / "chain", writer)
        with contextlib.suppress(KilledError):
            result = run_program(everything, tmp_path, resume=state, store=killing, writer=writer).result
        points += writer.points
        killing.close()
        newest = killing.newest()
        assert newest is not None
        state = newest[1]
    assert result == whole.ran.result
    assert points == whole.ran.points


class KilledError(Exception):
    pass


class KillingStore(MarkingStore):
    """Ends the run right after its first checkpoint; the last one may stay."""

    def save(
        self,
        state: State,
        step: int,
        metric: float | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        super().save(state, step, metric, before)
        self.wait()
        if step < 20:
            raise KilledError


# What happens before the active loop must not leak into it


def test_what_is_drawn_before_the_loop_does_not_leak_into_a_resumed_run(tmp_path: Path) -> None:
    draws = 0

    def program(run: Run) -> Any:
        model = run.place(net())
        for _ in range(draws):
            random.random(), np.random.rand(), torch.rand(5)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(draws)
        return train(run, model)

    def train(run: Run, model: nn.Module) -> Any:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        run.track(model=model, optimizer=optimizer)
        loader = run.loader(Noisy(), batch_size=5, shuffle=True)
        kept = run.carry(noise=float(draws))
        for _ in run.epochs(3):
            for batch in loader:
                run.log({"loss": train_step(model, optimizer, batch), "noise": random.random()})
            kept.noise += float(torch.rand(()))
        return weights_of(model), kept.noise

    whole = train_to_the_end(program, tmp_path)
    draws = 7
    for saved, mark in zip(whole.store.complete(), whole.store.marks, strict=True):
        ran = run_program(program, tmp_path, resume=whole.store.load(saved))
        assert ran.result == whole.ran.result
        assert ran.points == whole.ran.points[mark:]


def leaves_things(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    run.log({"start": 1.0})
    run.save({"epoch": -1}, "start.pt")
    for epoch in run.epochs(3):
        for batch in run.loader(Noisy(), batch_size=5, shuffle=True):
            train_step(model, optimizer, batch)
        run.save({"epoch": epoch}, f"epoch-{epoch}.pt")
    run.save({"epoch": 99}, "end.pt")
    return weights_of(model)


def test_a_replay_is_mute(tmp_path: Path) -> None:
    whole = train_to_the_end(leaves_things, tmp_path)
    assert whole.ran.files == [f"files/{n}.pt" for n in ("start", "epoch-0", "epoch-1", "epoch-2", "end")]
    expected = {1: ["epoch-1", "epoch-2", "end"], 2: ["epoch-2", "end"], 3: ["end"]}
    for number, saved in enumerate(whole.store.complete(), start=1):
        torch.save({"epoch": "kept"}, tmp_path / "start.pt")
        ran = run_program(leaves_things, tmp_path, resume=whole.store.load(saved))
        assert ran.files == [f"files/{name}.pt" for name in expected[number]]
        assert torch.load(tmp_path / "start.pt") == {"epoch": "kept"}
        assert "start" not in {name for name, _, _ in ran.points}
        assert not any(isinstance(event, AttemptStarted) for event in ran.events)
        assert len(ran.rows) == 3 - number


def test_a_run_that_was_complete_ends_at_once_with_the_same_result(tmp_path: Path) -> None:
    whole = train_to_the_end(everything, tmp_path)
    last = whole.store.complete()[-1]
    ran = run_program(everything, tmp_path, resume=whole.store.load(last))
    assert ran.points == []
    assert ran.result == whole.ran.result


def test_the_position_in_a_checkpoint_is_a_few_numbers(tmp_path: Path) -> None:
    whole = train_to_the_end(everything, tmp_path)
    state = whole.store.load(whole.store.complete()[1])
    assert [(frame["loop"], frame["turns"], frame["done"]) for frame in state["frames"]] == [
        (-1, 0, []),
        (0, 2, []),
    ]
    assert (state["active"], state["passes"]) == (None, [])
    assert state["loaders"] == {0: {"passes": 2, "stepped": True}, 1: {"passes": 2, "stepped": False}}


def test_a_program_may_be_inspected_up_to_its_outer_loop(tmp_path: Path) -> None:
    reached: list[str] = []

    def program(run: Run) -> None:
        reached.append("start")
        try:
            for _ in run.epochs(3):
                reached.append("loop")
        except Exception:
            reached.append("caught")
        finally:
            reached.append("end")

    ran = run_program(program, tmp_path, mode="inspect")
    assert reached == ["start", "end"]
    assert ran.points == []
    assert not issubclass(ProgramInspected, Exception)


# What is refused


def small(run: Run, names: tuple[str, ...] = ("model", "optimizer"), epochs: int = 2) -> None:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(**{names[0]: model, names[1]: optimizer})
    loader = run.loader(Noisy(), batch_size=5)
    for _ in run.epochs(epochs) if epochs else []:
        for batch in loader:
            train_step(model, optimizer, batch)


def refusal(program: Program, state: State, folder: Path) -> BessemerError:
    with pytest.raises(CheckpointError) as caught:
        run_program(program, folder, resume=state)
    return caught.value


@pytest.fixture
def state(tmp_path: Path) -> State:
    whole = train_to_the_end(small, tmp_path)
    return whole.store.load(whole.store.complete()[0])


def test_other_tracked_names_are_refused_with_both(tmp_path: Path, state: State) -> None:
    error = refusal(lambda run: small(run, ("net", "optimizer")), state, tmp_path)
    assert "['net', 'optimizer']" in error.found
    assert "['model', 'optimizer']" in error.expected


def test_a_program_that_does_not_come_to_the_saved_loop_is_refused(tmp_path: Path, state: State) -> None:
    assert "before it came to the loop" in refusal(lambda run: small(run, epochs=0), state, tmp_path).found


def test_a_model_of_another_shape_is_refused_as_a_checkpoint_that_does_not_fit(
    tmp_path: Path, state: State
) -> None:
    def program(run: Run) -> None:
        model = run.place(nn.Linear(3, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        run.track(model=model, optimizer=optimizer)
        for _ in run.epochs(2):
            pass

    assert "model" in refusal(program, state, tmp_path).found


# Many workers


def train_and_resume(group: Group, folder: Path, number: int | None) -> tuple[Any, list[Any]]:
    """Train to the end, or go on from the checkpoint of that number."""
    store = CheckpointStore(str(folder / "checkpoints"), keep=100)
    state = None if number is None else store.load(store.complete()[number])
    ran = run_program(
        exact, folder, group=group, resume=state, store=store if number is None and group.rank == 0 else None
    )
    store.close()
    return ran.result, ran.points


def exact(run: Run) -> Any:
    """No dropout and no batch statistics, so it is the same at any number of workers."""
    torch.set_default_dtype(torch.float64)
    try:
        model = run.place(nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1)))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        run.track(model=model, optimizer=optimizer)
        loader = run.loader(data_of(22), batch_size=7, shuffle=True)
        totals = run.totals(seen=0, loss=0.0)
        for _ in run.epochs(3):
            for x, y in loader:
                loss = train_step(model, optimizer, (x.double(), y.double()))
                totals.seen += len(x)
                totals.loss += float(loss.detach()) * run.share
                run.log({"loss": loss})
            run.log({"seen": totals.seen, "total": totals.loss})
        return weights_of(model), totals.seen
    finally:
        torch.set_default_dtype(torch.float32)


def with_dropout(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=7, shuffle=True)
    drawn = run.carry(last=0.0)
    for _ in run.epochs(3):
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
        drawn.last = float(torch.rand(()))
    return weights_of(model), drawn.last


def train_and_resume_with_dropout(group: Group, folder: Path, number: int | None) -> tuple[Any, list[Any]]:
    store = CheckpointStore(str(folder / "checkpoints"), keep=100)
    state = None if number is None else store.load(store.complete()[number])
    taking = store if number is None and group.rank == 0 else None
    ran = run_program(with_dropout, folder, group=group, resume=state, store=taking)
    store.close()
    return ran.result, ran.points


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("function", [train_and_resume, train_and_resume_with_dropout])
def test_many_workers_go_on_to_the_last_bit(
    tmp_path: Path, size: int, function: Callable[..., tuple[Any, list[Any]]]
) -> None:
    whole = on_workers(function, size, tmp_path, None)
    assert all(result == whole[0][0] for result, _ in whole)
    for number in range(3):
        again = on_workers(function, size, tmp_path, number)
        assert [result for result, _ in again] == [result for result, _ in whole]
        points = again[0][1]
        assert points == whole[0][1][len(whole[0][1]) - len(points) :]
        assert len(points) == (2 - number) * len(whole[0][1]) // 3


def draw_unequally(run: Run) -> Any:
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    drawn = run.carry(noise=[])
    for _ in run.epochs(3):
        backward(model(torch.ones(1, 3)).sum())
        optimizer.step()
        torch.rand(run.rank + 1)
        for _ in range(run.rank):
            random.random()
            np.random.rand()
        drawn.noise = [*drawn.noise, random.random(), float(np.random.rand()), float(torch.rand(()))]
    return drawn.noise[-3:]


def draw_and_resume(group: Group, folder: Path, number: int | None) -> Any:
    store = CheckpointStore(str(folder / "checkpoints"), keep=100)
    state = None if number is None else store.load(store.complete()[number])
    taking = store if number is None and group.rank == 0 else None
    ran = run_program(draw_unequally, folder, group=group, resume=state, store=taking)
    store.close()
    return ran.result


def test_each_worker_goes_on_with_its_own_generators(tmp_path: Path) -> None:
    whole = on_workers(draw_and_resume, 2, tmp_path, None)
    assert whole[0] != whole[1]
    for number in range(2):
        assert on_workers(draw_and_resume, 2, tmp_path, number) == whole


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (3, 2), (2, 3)])
def test_the_number_of_workers_may_change_at_a_restart(tmp_path: Path, before: int, after: int) -> None:
    whole, points = on_workers(train_and_resume, before, tmp_path, None)[0]
    for number in range(3):
        again, later = on_workers(train_and_resume, after, tmp_path, number)[0]
        for one, other in zip(again[0], whole[0], strict=True):
            assert np.array(one) == pytest.approx(np.array(other), rel=1e-10, abs=1e-12)
        assert again[1] == whole[1]
        tail = points[len(points) - len(later) :]
        assert [point[:2] for point in later] == [point[:2] for point in tail]
        assert [point[2] for point in later] == pytest.approx([point[2] for point in tail], rel=1e-10)
