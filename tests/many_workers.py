"""Runs programs on several numbers of workers, and compares what they come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional
from torch.utils.data import TensorDataset

from bessemer.training.run import Run
from runs import Ran, run_program, settings_with
from workers import WorkerError, run_on_workers

TOLERANCE = 1e-12
SIZES = [2, 3]


def data_of(num_samples: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(num_samples, 5, dtype=torch.float64, generator=generator)
    y = torch.randn(num_samples, 2, dtype=torch.float64, generator=generator)
    return TensorDataset(torch.arange(num_samples), x, y)


def mlp(num_in: int = 5, num_out: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(num_in, 8, dtype=torch.float64), nn.Tanh(), nn.Linear(8, num_out, dtype=torch.float64)
    )


def weights_of(*models: nn.Module) -> list[list[float]]:
    return [p.detach().flatten().tolist() for model in models for p in model.parameters()]


def same_on_any_number_of_workers(
    program: Callable[..., Any], folder: Path, *arguments: Any, reduction: str = "mean"
) -> Ran:
    """Check that losses and results agree with one worker's, and all workers have the same bits."""
    settings = settings_with(scaling={"loss_reduction": reduction})
    alone = run_program(lambda run: program(run, *arguments), folder, settings)
    assert alone.result
    for size in SIZES:
        many = run_on_workers(program, size, folder, settings, arguments)
        assert all(ran.result == many[0].result for ran in many)
        close(many[0].result, alone.result)
        assert [point[:2] for point in many[0].points] == [point[:2] for point in alone.points]
        close([point[2] for point in many[0].points], [point[2] for point in alone.points])
        assert many[0].step == alone.step > 0
    return alone


def close(actual: list[Any], expected: list[Any]) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert one == pytest.approx(other, rel=TOLERANCE, abs=TOLERANCE)


def refused(program: Callable[..., Any], folder: Path, size: int) -> str:
    with pytest.raises(WorkerError) as caught:
        run_on_workers(program, size, folder)
    return str(caught.value)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5, dtype=torch.float64)
        self.second = nn.Linear(5, 5, dtype=torch.float64)
        self.second.weight = self.first.weight
        self.head = nn.Linear(5, 2, dtype=torch.float64)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.second(self.first(x).tanh()))
        return out


def train_tied(run: Run) -> Any:
    model = run.place(Tied())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            optimizer.zero_grad()
            loss = functional.mse_loss(model.encode(x), y)  # not model(x)
            backward(loss)
            optimizer.step()
    return weights_of(model)
