"""An evaluation runs one turn of the program from a checkpoint, with its training loaders empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional
from torch.utils.data import TensorDataset

from bessemer.errors import UserError
from bessemer.training.checkpoints import CheckpointStore
from bessemer.training.run import Run
from bessemer.utils.collectives import Group
from runs import Program, Ran, run_program
from workers import on_workers


def data_of(num_samples: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(num_samples, 3, generator=generator, dtype=torch.float64)
    return TensorDataset(x, x.sum(dim=1, keepdim=True))


def train_and_test(run: Run) -> dict[str, Any]:
    body = nn.Linear(3, 8, dtype=torch.float64)
    model = run.place(nn.Sequential(body, nn.Tanh(), nn.Linear(8, 1, dtype=torch.float64)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    run.track(model=model, optimizer=optimizer, scheduler=scheduler)
    train_loader = run.loader(data_of(20), batch_size=6, shuffle=True)
    test_loader = run.loader(data_of(11), batch_size=4, shuffle=True)
    trained = 0
    turns = []
    for epoch in run.epochs(4):
        turns.append(epoch)
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = functional.mse_loss(model(x), y)
            backward(loss)
            optimizer.step()
            trained += 1
            run.log({"train/loss": loss})
        test = run.totals(loss=0.0, count=0)
        with torch.no_grad():
            for x, y in test_loader:
                test.loss += float(functional.mse_loss(model(x), y, reduction="sum"))
                test.count += len(x)
                run.log({"test/batch": functional.mse_loss(model(x), y)})
        run.log({"test/loss": test.loss / test.count})
        scheduler.step()
    return {
        "trained": trained,
        "turns": turns,
        "weights": [p.tolist() for p in model.parameters()],
        "learning_rate": optimizer.param_groups[0]["lr"],
    }


def trained(program: Program, folder: Path) -> tuple[Ran, CheckpointStore]:
    store = CheckpointStore(str(folder / "checkpoints"), keep=100)
    ran = run_program(program, folder, store=store)
    store.close()
    return ran, store


def test_an_evaluation_logs_what_training_logged_at_that_checkpoint(tmp_path: Path) -> None:
    ran, store = trained(train_and_test, tmp_path)
    test_losses = ran.values("test/loss")
    for number, saved in enumerate(store.complete()):
        judged = run_program(train_and_test, tmp_path, resume=store.load(saved), mode="evaluate")
        assert judged.metrics["test/loss"] == pytest.approx(test_losses[number], rel=1e-12)
        assert judged.values("test/loss") == [judged.metrics["test/loss"]]
        assert len(judged.values("test/batch")) == 3


def test_an_evaluation_does_not_train_and_takes_one_turn(tmp_path: Path) -> None:
    _, store = trained(train_and_test, tmp_path)
    for number, saved in enumerate(store.complete()):
        state = store.load(saved)
        judged = run_program(train_and_test, tmp_path, resume=state, mode="evaluate")
        assert judged.result["trained"] == 0
        assert judged.result["turns"] == [number]
        assert judged.values("train/loss") == []
        assert judged.step == saved.step
        weights = [value.tolist() for value in state["tracked"]["model"].values()]
        assert judged.result["weights"] == weights


def test_an_evaluation_takes_no_checkpoint(tmp_path: Path) -> None:
    _, store = trained(train_and_test, tmp_path)
    state = store.load(store.complete()[0])
    other = CheckpointStore(str(tmp_path / "other"), keep=100)
    run_program(train_and_test, tmp_path, resume=state, mode="evaluate", store=other)
    other.close()
    assert other.complete() == []


def judge(group: Group, folder: Path, number: int) -> dict[str, float]:
    store = CheckpointStore(str(folder / "checkpoints"), keep=100)
    state = store.load(store.complete()[number])
    store.close()
    ran = run_program(train_and_test, folder, group=group, resume=state, mode="evaluate")
    return ran.metrics


@pytest.mark.parametrize("size", [2, 3])
def test_an_evaluation_is_exact_at_any_number_of_workers(tmp_path: Path, size: int) -> None:
    ran, _ = trained(train_and_test, tmp_path)
    judged = on_workers(judge, size, tmp_path, 1)
    assert judged[0]["test/loss"] == pytest.approx(ran.values("test/loss")[1], rel=1e-12)


def evaluate_before_training(run: Run) -> None:
    model = run.place(nn.Linear(3, 1, dtype=torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    test_loader = run.loader(data_of(11), batch_size=4)
    train_loader = run.loader(data_of(20), batch_size=6, shuffle=True)
    for _ in run.epochs(3):
        with torch.no_grad():
            for x, y in test_loader:
                run.log({"test/loss": functional.mse_loss(model(x), y)})
        for x, y in train_loader:
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x), y))
            optimizer.step()


def test_a_program_that_evaluates_before_it_trains_is_judged_with_the_weights_of_the_checkpoint(
    tmp_path: Path,
) -> None:
    ran, store = trained(evaluate_before_training, tmp_path)
    rows = [row.metrics["test/loss"] for row in ran.rows]
    for number, saved in enumerate(store.complete()[:-1]):
        judged = run_program(evaluate_before_training, tmp_path, resume=store.load(saved), mode="evaluate")
        # Its training comes after, so these are the weights that the next turn was judged with.
        assert judged.metrics["test/loss"] == pytest.approx(rows[number + 1], rel=1e-12)


def step_outside(run: Run) -> None:
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        optimizer.zero_grad()
        backward(model(torch.ones(2, 3)).sum())
        optimizer.step()


def test_a_step_outside_of_the_training_loaders_is_refused(tmp_path: Path) -> None:
    _, store = trained(step_outside, tmp_path)
    state = store.load(store.complete()[0])
    with pytest.raises(UserError, match="outside of the loaders"):
        run_program(step_outside, tmp_path, resume=state, mode="evaluate")


def leave_files(run: Run) -> None:
    for x, _ in run.loader(data_of(4), batch_size=2):
        run.log({"before": float(x.sum())})
    for epoch in run.epochs(3):
        run.log({"epoch": epoch})
    run.log({"after": 1.0})


def test_an_evaluation_tells_only_of_its_turn_and_what_follows(tmp_path: Path) -> None:
    _, store = trained(leave_files, tmp_path)
    state = store.load(store.complete()[-1])
    judged = run_program(leave_files, tmp_path, resume=state, mode="evaluate")
    assert [name for name, _, _ in judged.points] == ["epoch", "epoch/epoch", "after"]
    assert judged.values("epoch") == [2.0]
