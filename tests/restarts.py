"""Programs of many shapes, and what goes on from each checkpoint of a run and compares."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
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
from bessemer.data.datasets import Fetched, Fetcher, Recipe
from bessemer.data.order import Plan
from bessemer.training.checkpoints import CheckpointStore, State
from bessemer.training.run import Run
from runs import FakeWriter, Program, Ran, run_program


class MarkingStore(CheckpointStore):
    """Remembers how much had been logged when each checkpoint was taken."""

    def __init__(self, folder: Path, writer: FakeWriter) -> None:
        super().__init__(str(folder / "checkpoints"), keep=100)
        self.writer = writer
        self.marks: list[int] = []

    def save(
        self,
        state: State,
        step: int,
        metric: float | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self.marks.append(len(self.writer.points))
        super().save(state, step, metric, before)


class Source:
    """A stream in this process."""

    least_share = 0.0
    has_delivered = True
    num_taken = 0

    def __init__(self, recipe: Recipe, plan: Plan, start: int, stop: int | None, block_steps: int) -> None:
        self.fetcher, self.plan, self.position = Fetcher(recipe), plan, start

    def is_ready(self, position: int) -> bool:
        self.position = position
        return True

    def get(self, position: int) -> Fetched:
        self.position = position + 1
        Source.num_taken += 1
        return self.fetcher.fetch(self.plan, position, 0, 1)

    def close(self) -> None:
        pass


@contextlib.contextmanager
def streaming_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have loaders take batches from streams as soon as they may; fails if none did."""
    for name in ("_FIRST_LEAD_S", "_LATER_LEAD_S", "_LEAST_S"):
        monkeypatch.setattr(f"bessemer.data.feed.{name}", 0.0)
    monkeypatch.setattr("bessemer.data.feed._NUM_COMPARED", 10**9)
    before = Source.num_taken
    yield
    assert Source.num_taken > before


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
    assert len(saved) == len(whole.store.marks) > 0
    for checkpoint, mark in zip(saved, whole.store.marks, strict=True):
        state = whole.store.load(checkpoint)
        assert state["step"] == checkpoint.step
        ran = run_program(program, folder, settings, resume=state, **surroundings)
        assert ran.points == whole.ran.points[mark:]
        assert ran.result == whole.ran.result
        assert ran.step == whole.ran.step
        assert ran.metrics == whole.ran.metrics
        labels = [row.label for row in ran.rows]
        assert labels == [row.label for row in whole.ran.rows][len(whole.ran.rows) - len(labels) :]
    return whole


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
    run.log({"begun": random.random()})
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
