"""A run that goes on from any of its checkpoints ends as the undisturbed run does, to the last bit."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import Dataset, TensorDataset, WeightedRandomSampler

from bessemer.config.settings import Settings
from bessemer.data.datasets import Fetched, Recipe, fetch
from bessemer.errors import BessemerError, CheckpointError
from bessemer.training.checkpoints import CheckpointStore, State
from bessemer.training.run import Run
from bessemer.training.session import ProgramInspected
from bessemer.utils.collectives import Group
from bessemer.utils.events import AttemptStarted
from runs import FakeWriter, Program, Ran, run_program, settings_with
from workers import on_workers


class MarkingStore(CheckpointStore):
    """Remembers how much had been logged when each checkpoint was taken."""

    def __init__(self, folder: Path, writer: FakeWriter) -> None:
        super().__init__(str(folder / "checkpoints"), keep=100)
        self.writer = writer
        self.marks: dict[int, int] = {}

    def save(
        self,
        state: State,
        step: int,
        metric: float | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.marks[step] = len(self.writer.points)
        super().save(state, step, metric, before)


class Source:
    """A stream in this process."""

    def __init__(self, recipe: Recipe, start: int, stop: int | None) -> None:
        self.recipe = recipe

    def get(self, position: int) -> Fetched:
        return fetch(self.recipe, *divmod(position, self.recipe.plan.steps_per_pass), 0, 1)

    def close(self) -> None:
        pass


class Noisy(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Samples with random transforms."""

    def __len__(self) -> int:
        return 14

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.tensor([index, index**0.5, 1.0]) / 10
        return x + torch.randn(3) * random.random(), x[:1] * 3 + np.random.rand()


def data_of(num_samples: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(num_samples, 3, generator=generator)
    return TensorDataset(x, x.sum(dim=1, keepdim=True))


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 6), nn.Dropout(0.3), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))


def weights_of(*models: nn.Module) -> list[Any]:
    return [value.tolist() for model in models for value in model.state_dict().values()]


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> torch.Tensor:
    x, y = batch
    optimizer.zero_grad()
    loss = functional.mse_loss(model(x), y)
    backward(loss)
    optimizer.step()
    return loss


@dataclass
class Undisturbed:
    """A run to the end, with its checkpoints."""

    ran: Ran
    store: MarkingStore


def train_to_the_end(program: Program, folder: Path, settings: Settings | None = None) -> Undisturbed:
    writer = FakeWriter()
    store = MarkingStore(folder, writer)
    ran = run_program(program, folder, settings, store=store, writer=writer)
    store.close()
    return Undisturbed(ran, store)


def resumed_from_each_is_the_same(
    program: Program, folder: Path, settings: Settings | None = None, **surroundings: Any
) -> Undisturbed:
    """Go on from every checkpoint of a run and compare all that comes after it with the run itself."""
    whole = train_to_the_end(program, folder, settings)
    saved = whole.store.complete()
    assert len(saved) > 1
    for checkpoint in saved:
        state = whole.store.load(checkpoint)
        assert state["step"] == checkpoint.step
        ran = run_program(program, folder, settings, resume=state, **surroundings)
        assert ran.points == whole.ran.points[whole.store.marks[checkpoint.step] :]
        assert ran.result == whole.ran.result
        assert ran.step == whole.ran.step
        assert ran.metrics == whole.ran.metrics
        labels = [row.label for row in ran.rows]
        assert labels == [row.label for row in whole.ran.rows][len(whole.ran.rows) - len(labels) :]
    return whole


# Programs


def everything(run: Run) -> Any:
    """A loop with all that a restart could lose."""
    random.random()
    np.random.normal()
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    run.track(model=model, optimizer=optimizer, scheduler=scheduler)
    train_loader = run.loader(Noisy(), batch_size=4, shuffle=True)
    test_loader = run.loader(data_of(10), batch_size=4)
    best = run.carry(loss=float("inf"), history=[], name="none", none=None)
    totals = run.totals(seen=0, loss=0.0, tensor=torch.zeros(2))
    for epoch in run.epochs(1, 6):
        model.train()
        for i, batch in train_loader.enumerate():
            loss = train_step(model, optimizer, batch)
            totals.seen += len(batch[0])
            totals.loss += float(loss.detach()) * random.random()
            totals.tensor += torch.rand(2)
            run.log({"train/loss": loss, "train/i": i, "noise": np.random.normal()})
        model.eval()
        test = run.totals(loss=0.0, count=0)
        with torch.no_grad():
            for x, y in test_loader:
                test.loss += float(functional.mse_loss(model(x), y, reduction="sum"))
                test.count += len(x)
        loss_now = test.loss / test.count
        if loss_now < best.loss:
            best.loss, best.name = loss_now, f"epoch {epoch}"
        best.history = [*best.history, random.gauss(0, 1)]
        run.log({"test/loss": loss_now, "seen": totals.seen, "total": totals.loss})
        scheduler.step()
    state = scheduler.state_dict()
    return [
        weights_of(model),
        str(best),
        totals.seen,
        totals.loss,
        totals.tensor.tolist(),
        [state["last_epoch"], state["_last_lr"]],
        [random.random(), float(np.random.normal()), float(torch.rand(()))],
    ]


def two_loops_in_sequence(run: Run) -> Any:
    model = run.place(net())
    warm_up = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, warm_up=warm_up, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    for _ in run.epochs(2):
        for batch in loader:
            run.log({"warm": train_step(model, warm_up, batch)})
    run.log({"between": random.random()})
    for _ in run.epochs(3):
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
    return weights_of(model), loader.passes


def nested_loops(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    outer = run.carry(cycles=0, noise=0.0)
    for cycle in run.epochs(3):
        loader = run.loader(Noisy(), batch_size=5, shuffle=True)
        outer.cycles += 1
        inner = run.carry(epochs=0)
        for epoch in run.epochs(2):
            for batch in loader:
                run.log({"loss": train_step(model, optimizer, batch)})
            inner.epochs += 1
            run.log({"place": 10 * cycle + epoch, "inner": inner.epochs, "outer": outer.cycles})
        outer.noise += random.random()
        run.log({"cycle": cycle, "noise": outer.noise})
    return weights_of(model), outer.cycles, outer.noise


def objects_made_in_each_turn(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    for epoch in run.epochs(4):
        seen = run.totals(count=0)
        for batch in run.loader(Noisy(), batch_size=5, shuffle=True):
            run.log({"loss": train_step(model, optimizer, batch)})
            seen.count += len(batch[0])
        run.log({"seen": seen.count, "epoch": epoch})
    return weights_of(model)


def early_stopping(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    scheduler = ReduceLROnPlateau(optimizer, patience=0)
    run.track(model=model, optimizer=optimizer, scheduler=scheduler)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    patience = run.carry(left=3)
    stopped = run.carry(at=-1)
    for epoch in run.epochs(100):
        for batch in loader:
            loss = train_step(model, optimizer, batch)
            run.log({"loss": loss})
        scheduler.step(float(loss.detach()))
        patience.left -= 1
        run.log({"left": patience.left})
        if patience.left == 0:
            stopped.at = epoch
            break
    run.log({"after": float(stopped.at)})
    return weights_of(model), stopped.at


def counting_steps(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    for step in run.steps():
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch), "turn": step})
            break
        if step >= 5:
            break
    return weights_of(model), loader.passes


def over_items(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    seen = run.carry(names="")
    for name, lr in run.epochs([("slow", 0.01), ("fast", 0.1), ("slower", 0.001)]):
        optimizer.param_groups[0]["lr"] = lr
        seen.names += name
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
    return weights_of(model), seen.names


def inner_loops_that_are_left(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    left = run.carry(at="")
    for cycle in run.epochs(3):
        for epoch in run.epochs(5):
            for batch in loader:
                run.log({"loss": train_step(model, optimizer, batch)})
            if epoch == cycle:
                left.at += f"{cycle}.{epoch} "
                break
        run.log({"cycle": cycle, "noise": random.random()})
    return weights_of(model), left.at


def a_first_loop_that_is_left(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    for epoch in run.epochs(9):
        for batch in loader:
            run.log({"warm": train_step(model, optimizer, batch)})
        if epoch == 1:
            break
    run.log({"between": random.random()})
    for _ in run.epochs(2):
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
    return weights_of(model), random.random()


def drawn_by_a_sampler(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    sampler = WeightedRandomSampler(list(range(1, 15)), 10)
    loader = run.loader(Noisy(), batch_size=4, sampler=sampler)
    for _ in run.epochs(4):
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
    return weights_of(model)


def evaluation_first(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    train_loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    test_loader = run.loader(Noisy(), batch_size=7, shuffle=True)

    def evaluate() -> None:
        for x, y in test_loader:
            run.log({"test": functional.mse_loss(model(x), y)})

    evaluate()
    for batch in train_loader:  # one pass before the outer loop
        run.log({"warm": train_step(model, optimizer, batch)})
    for _ in run.epochs(3):
        evaluate()
        for batch in train_loader:
            run.log({"loss": train_step(model, optimizer, batch)})
    evaluate()
    return weights_of(model), train_loader.passes, test_loader.passes


PROGRAMS = [
    everything,
    two_loops_in_sequence,
    nested_loops,
    objects_made_in_each_turn,
    early_stopping,
    counting_steps,
    over_items,
    inner_loops_that_are_left,
    a_first_loop_that_is_left,
    drawn_by_a_sampler,
    evaluation_first,
]


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


def test_a_stream_goes_on_to_the_last_bit_too(tmp_path: Path) -> None:
    settings = settings_with(data={"block_steps": 2})
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
        assert same(again.load(saved), later[saved.step])


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


def same(one: Any, other: Any) -> bool:
    """Compare nested states with tensors to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        keys = one.keys() == other.keys()
        return keys and all(same(one[key], other[key]) for key in one if key != "metrics")
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


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
    for saved in whole.store.complete():
        ran = run_program(program, tmp_path, resume=whole.store.load(saved))
        assert ran.result == whole.ran.result
        assert ran.points == whole.ran.points[whole.store.marks[saved.step] :]


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
    created = state["loops"][0]["created"]
    assert state["loops"] == [{"number": 0, "turns": 2, "created": created, "left": False}]
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
