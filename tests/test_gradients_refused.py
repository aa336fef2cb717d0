"""Batches that are not cut evenly or at all; steps that nobody could sum; and what a run leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional

from bessemer.errors import TrainingError
from bessemer.training.run import Run
from many_workers import data_of, mlp, refused, same_on_any_number_of_workers, train_tied, weights_of
from runs import run_program
from workers import on_workers, run_on_workers

# Batches with fewer samples than workers


def fail_on_stand_ins(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(data_of(13), batch_size=4, shuffle=True)
    for _ in run.epochs(2):
        for _, x, y in loader:
            optimizer.zero_grad()
            loss = functional.mse_loss(model(x), y)
            if run.share == 0:
                loss = loss * float("nan")
            backward(loss)
            optimizer.step()
            run.log({"loss": loss})
    return weights_of(model)


def test_a_stand_in_does_not_count_whatever_its_loss(tmp_path: Path) -> None:
    same_on_any_number_of_workers(fail_on_stand_ins, tmp_path)


# Batches that every worker has


def train_on_whole_batches(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(20), batch_size=1, shuffle=True, shard=False):
            optimizer.zero_grad()
            loss = functional.mse_loss(model(x), y)
            backward(loss)
            optimizer.step()
            run.log({"loss": loss})
    return weights_of(model)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_loader_that_is_not_sharded_trains_the_same(tmp_path: Path, reduction: str) -> None:
    same_on_any_number_of_workers(train_on_whole_batches, tmp_path, reduction=reduction)


def train_without_a_loader(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    _, x, y = data_of(20).tensors
    for _ in run.epochs(4):
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), y)
        backward(loss)
        optimizer.step()
        run.log({"loss": loss})
    return weights_of(model)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_step_outside_of_any_loader_is_the_same(tmp_path: Path, reduction: str) -> None:
    same_on_any_number_of_workers(train_without_a_loader, tmp_path, reduction=reduction)


# What is refused


def step_untracked(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    backward(model(torch.ones(1, 5, dtype=torch.float64)).sum())
    optimizer.step()


@pytest.mark.parametrize("size", [1, 2])
def test_a_step_of_an_optimizer_that_is_not_tracked_is_refused(tmp_path: Path, size: int) -> None:
    text = refused(step_untracked, tmp_path, size)
    assert "a step of SGD, which is not tracked" in text
    assert "run.track(optimizer=...)" in text


def step_unplaced(run: Run) -> Any:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(optimizer=optimizer)
    backward(model(torch.ones(1, 5, dtype=torch.float64)).sum())
    optimizer.step()


def test_a_step_of_a_model_that_was_not_placed_is_refused(tmp_path: Path) -> None:
    text = refused(step_unplaced, tmp_path, 2)
    assert "a parameter of shape (8, 5) that is on no placed model" in text
    assert "run.place" in text


def step_sparse(run: Run) -> Any:
    model = run.place(nn.Embedding(10, 3, sparse=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(optimizer=optimizer)
    backward(model(torch.tensor([1, 2])).sum())
    optimizer.step()


def test_a_sparse_gradient_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "sparse=False" in refused(step_sparse, tmp_path, 2)


def test_optimizers_are_free_again_when_a_run_is_over(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not tracked"):
        run_program(step_untracked, tmp_path)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    backward(model(torch.ones(1, 5, dtype=torch.float64)).sum())
    optimizer.step()


def left_behind(_group: object) -> tuple[int, int, bool]:
    from torch.optim import optimizer as module

    changed = "bessemer" in nn.utils.clip_grad_norm_.__code__.co_filename
    return len(module._global_optimizer_pre_hooks), len(module._global_optimizer_post_hooks), changed


def test_no_hook_is_left_when_a_run_is_over(tmp_path: Path) -> None:
    run_on_workers(train_tied, 2, tmp_path)
    assert on_workers(left_behind, 2) == [(0, 0, False)] * 2
