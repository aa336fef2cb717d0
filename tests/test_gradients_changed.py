"""Gradients that are clipped, scaled, frozen or of several dtypes are those of the global batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from bessemer.models import buckets
from bessemer.training.run import Run
from many_workers import data_of, mlp, same_on_any_number_of_workers, weights_of
from runs import run_program
from workers import run_on_workers


def by_norm(model: nn.Module) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 0.3)


def by_norm_imported_by_name(model: nn.Module) -> None:
    clip_grad_norm_(model.parameters(), max_norm=0.3)


def by_value(model: nn.Module) -> None:
    nn.utils.clip_grad_value_(model.parameters(), 0.05)


def by_norm_of_each(model: nn.Module) -> None:
    for parameter in model.parameters():
        nn.utils.clip_grad_norm_(parameter, 0.1)


def by_both(model: nn.Module) -> None:
    by_norm(model)
    by_value(model)


def train_clipped(run: Run, clip: Callable[[nn.Module], None]) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x), y))
            clip(model)
            optimizer.step()
    return weights_of(model)


CLIPS = [by_norm, by_norm_imported_by_name, by_value, by_norm_of_each, by_both]


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: str(clip.__name__))
def test_gradients_are_clipped_as_those_of_the_global_batch(
    tmp_path: Path, clip: Callable[[nn.Module], None]
) -> None:
    same_on_any_number_of_workers(train_clipped, tmp_path, clip)


def train_scaled(run: Run, clip: bool) -> Any:
    """With a loss scaler; one sample of the second batch overflows, so its step is skipped."""
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    run.track(model=model, optimizer=optimizer, scaler=scaler)
    loader = run.loader(data_of(18), batch_size=4)
    for _ in run.epochs(2):
        for index, x, y in loader:
            optimizer.zero_grad()
            loss = functional.mse_loss(model(x), y)
            overflow = torch.where((index == 6).any(), torch.inf, 1.0)
            backward(scaler.scale(loss * overflow))
            if clip:
                scaler.unscale_(optimizer)
                clip_grad_norm_(model.parameters(), 0.3)
            scaler.step(optimizer)
            scaler.update()
            run.log({"scale": scaler.get_scale()})
    return [*weights_of(model), [scaler.get_scale()]]


@pytest.mark.parametrize("clip", [False, True])
def test_a_loss_scaler_skips_the_same_steps_on_any_number_of_workers(tmp_path: Path, clip: bool) -> None:
    alone = same_on_any_number_of_workers(train_scaled, tmp_path, clip)
    assert alone.step == 8  # two of ten are skipped


def fine_tune(run: Run) -> Any:
    model = mlp()
    model[0].requires_grad_(False)
    run.place(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=0.1)
    run.track(model=model, optimizer=optimizer)
    for epoch in run.epochs(2):
        model[0].requires_grad_(epoch == 1)
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x), y))
            optimizer.step()
    return weights_of(model)


def test_layers_that_are_frozen_at_first_train_later(tmp_path: Path) -> None:
    same_on_any_number_of_workers(fine_tune, tmp_path)


def train_mixed(run: Run, bucket_bytes: int) -> Any:
    before = buckets.BUCKET_BYTES
    buckets.BUCKET_BYTES = bucket_bytes
    try:
        first = nn.Linear(5, 6, dtype=torch.float64)
        second = nn.Linear(6, 2, dtype=torch.float32)
        run.place(first)
        run.place(second)
        parameters = [*second.parameters(), *first.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.05)
        run.track(first=first, second=second, optimizer=optimizer)
        for _, x, y in run.loader(data_of(24), batch_size=8):
            optimizer.zero_grad()
            backward(functional.mse_loss(second(first(x).float()), y.float()))
            optimizer.step()
        return weights_of(first, second)
    finally:
        buckets.BUCKET_BYTES = before


@pytest.mark.parametrize("bucket_bytes", [1, 100, 2**20])
def test_parameters_of_several_dtypes_in_buckets_of_any_size_are_reduced(
    tmp_path: Path, bucket_bytes: int
) -> None:
    alone = run_program(lambda run: train_mixed(run, bucket_bytes), tmp_path).result
    many = run_on_workers(train_mixed, 2, tmp_path, None, (bucket_bytes,))
    assert many[0].result == many[1].result
    for one, other in zip(many[0].result, alone, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-6)
