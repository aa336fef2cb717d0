"""The five promises of exactness, one test each; the details have tests of their own elsewhere."""

from __future__ import annotations

import contextlib
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

from bessemer.data import order
from bessemer.errors import CheckpointError
from bessemer.training.checkpoints import CheckpointStore
from bessemer.training.identity import check_same, identity_of
from bessemer.training.run import Run
from bessemer.utils.collectives import Group
from restarts import everything
from runs import FakeWriter, run_program, settings_with
from workers import on_workers, run_on_workers


class KilledError(Exception):
    """Stands for SIGKILL: nothing of the program runs after it."""


class DyingStore(CheckpointStore):
    """Writes a checkpoint and dies, or dies before it is written; knows what was logged before it."""

    def __init__(self, folder: Path, chance: random.Random, writer: FakeWriter) -> None:
        super().__init__(str(folder), keep=2)
        self._chance = chance
        self._writer = writer
        self.logged_before: set[tuple[str, int]] = set()

    def save(self, *arguments: Any, **options: Any) -> None:
        if self._chance.random() < 0.2:
            raise KilledError
        super().save(*arguments, **options)
        self.wait()
        self.logged_before = {(name, step) for name, step, _ in self._writer.points}
        if self._chance.random() < 0.2:
            raise KilledError


@pytest.mark.parametrize("seed", range(5))
def test_promise_1_any_kill_same_numbers(tmp_path: Path, seed: int) -> None:
    whole = run_program(everything, tmp_path)
    chance, num_kills = random.Random(seed), 0
    settings = settings_with(checkpoint={"every_steps": 1 + seed % 3})
    points: dict[tuple[str, int], float] = {}
    result, logged_before = None, set[tuple[str, int]]()
    while result is None:
        writer = FakeWriter()
        store = DyingStore(tmp_path / "checkpoints", chance, writer)
        newest = store.newest()
        with contextlib.suppress(KilledError):
            resume = newest[1] if newest else None
            result = run_program(
                everything, tmp_path, settings, resume=resume, store=store, writer=writer
            ).result
        num_kills += result is None
        for name, step, value in writer.points:
            assert (name, step) not in logged_before  # nothing is logged twice
            assert points.setdefault((name, step), value) == value  # computed again: the same number
        logged_before |= store.logged_before
        store.close()
    assert num_kills > 1
    assert result == whole.result
    assert points == {(name, step): value for name, step, value in whole.points}


class Numbers(Dataset[int]):
    """Each sample is its own number."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> int:
        return index


def batches_seen(run: Run) -> list[list[int]]:
    model = run.place(nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Numbers(), batch_size=6, shuffle=True)
    seen: list[list[int]] = []
    for _ in run.epochs(3):
        for numbers in loader:
            optimizer.zero_grad()
            backward(model(numbers.float()[:, None]).mean())
            optimizer.step()
            seen.append(numbers.tolist() if run.share else [])
    return seen


def see_batches(group: Group, folder: Path, number: int | None) -> list[list[int]]:
    store = CheckpointStore(str(folder / "checkpoints"), keep=99)
    state = None if number is None else store.load(store.complete()[number])
    taking = store if number is None and group.rank == 0 else None
    settings = settings_with(checkpoint={"every_steps": 1})
    seen: list[list[int]] = run_program(
        batches_seen, folder, settings, group=group, resume=state, store=taking
    ).result
    store.close()
    return seen


def joined(of_workers: list[list[list[int]]]) -> list[list[int]]:
    return [list(itertools.chain(*parts)) for parts in zip(*of_workers, strict=True)]


def test_promise_2_any_number_of_workers_same_batches(tmp_path: Path) -> None:
    alone = joined(on_workers(see_batches, 1, tmp_path, None))
    for epoch in range(3):
        assert sorted(itertools.chain(*alone[4 * epoch : 4 * epoch + 4])) == list(range(23))
    num_checkpoints = len(CheckpointStore(str(tmp_path / "checkpoints"), keep=99).complete())
    for size in (2, 3, 4):
        assert joined(on_workers(see_batches, size, tmp_path / str(size), None)) == alone
        for number in range(0, num_checkpoints, 3):  # a change in the middle of an epoch goes on with it
            later = joined(on_workers(see_batches, size, tmp_path, number))
            assert later == alone[len(alone) - len(later) :]
            assert len(later) == len(alone) - number - 1


def regression(run: Run, reduction: str) -> Any:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(37, 5, dtype=torch.float64, generator=generator)
    data = TensorDataset(x, x.sin().sum(dim=1, keepdim=True))
    model = run.place(nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).double())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    losses = run.totals(sum=0.0)
    for _ in run.epochs(4):
        for part, wanted in run.loader(data, batch_size=8, shuffle=True):
            optimizer.zero_grad()
            loss = functional.mse_loss(model(part), wanted, reduction=reduction)
            backward(loss)
            optimizer.step()
            counts = run.share if reduction == "mean" else 1.0
            losses.sum += float(loss.detach()) * counts
        run.log({"loss": losses.sum})
    return [p.detach().flatten().tolist() for p in model.parameters()]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_promise_3_exact_gradients(tmp_path: Path, reduction: str) -> None:
    settings = settings_with(scaling={"loss_reduction": reduction})
    alone = run_program(lambda run: regression(run, reduction), tmp_path, settings)
    for size in (2, 3, 4):  # 37 samples in batches of 8: the last one has 5
        many = run_on_workers(regression, size, tmp_path, settings, (reduction,))
        assert many[0].values("loss") == pytest.approx(alone.values("loss"), rel=1e-12)
        for own, other in zip(many[0].result, alone.result, strict=True):
            assert own == pytest.approx(other, rel=1e-12, abs=1e-12)
        assert all(ran.result == many[0].result for ran in many)


class Drawing(Numbers):
    """Each sample draws a number; the number must not depend on what was drawn before."""

    def __getitem__(self, index: int) -> Any:
        return index, random.random() + float(torch.rand(()))


def samples_seen(run: Run, disturbed: bool) -> Any:
    order._permuted.cache_clear()  # computed anew in each run, as in another process
    run.place(nn.Linear(1, 1))
    loader = run.loader(Drawing(), batch_size=6, shuffle=True)
    seen = []
    for epoch in run.epochs(3):
        if disturbed:
            torch.rand(100 * epoch + 1)
            random.random()
        seen.append(
            [(i, d) for ids, drawn in loader for i, d in zip(ids.tolist(), drawn.tolist(), strict=True)]
        )
    return seen


def test_promise_4_the_order_is_a_pure_function(tmp_path: Path) -> None:
    plain = run_program(lambda run: samples_seen(run, False), tmp_path).result
    disturbed = run_program(lambda run: samples_seen(run, True), tmp_path).result
    other_seed = run_program(lambda run: samples_seen(run, False), tmp_path, seed=1).result
    assert plain == disturbed
    ids = [[i for i, _ in epoch] for epoch in plain]
    assert ids[0] != ids[1] != ids[2]
    assert ids != [[i for i, _ in epoch] for epoch in other_seed]
    assert all(
        dict(plain[0])[i] != dict(epoch)[i] for epoch in [*plain[1:], other_seed[0]] for i in range(23)
    )


def small(run: Run, num_samples: int) -> None:
    model = run.place(nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    x = torch.arange(float(num_samples))[:, None]
    loader = run.loader(TensorDataset(x, x), batch_size=4)
    for _ in run.epochs(2):
        for part, wanted in loader:
            optimizer.zero_grad()
            backward(functional.mse_loss(model(part), wanted))
            optimizer.step()


def test_promise_5_no_silent_drift(tmp_path: Path) -> None:
    settings = settings_with()
    package = tmp_path / "package"
    package.mkdir()
    (package / "model.py").write_text("width = 1\n")
    store = CheckpointStore(
        str(tmp_path / "checkpoints"), keep=9, identity=identity_of(settings, [package], {})
    )
    run_program(lambda run: small(run, 12), tmp_path, store=store)
    store.close()
    saved = store.complete()[0]
    check_same(saved.identity, identity_of(settings, [package], {}), saved.path)
    other_settings = identity_of(settings_with(data={"seed": 9}), [package], {})
    other_lock = identity_of(settings, [package], {"bessemer.lock_sha256": "other"})
    (package / "model.py").write_text("width = 2\n")
    other_code = identity_of(settings, [package], {})
    for now, named in (
        (other_settings, "setting data.seed: 0 -> 9"),
        (other_lock, "lock file: was not there -> other"),
        (other_code, "code package/model.py: "),
    ):
        with pytest.raises(CheckpointError, match=named):
            check_same(saved.identity, now, saved.path)
    state = store.load(saved)
    run_program(lambda run: small(run, 12), tmp_path, resume=state, check_data=True)
    with pytest.raises(CheckpointError, match="the data of loader 0 have changed"):
        run_program(lambda run: small(run, 13), tmp_path, resume=state, check_data=True)
