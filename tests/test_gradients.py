"""Any number of workers trains as one does: losses, gradients and weights within 1e-12."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional

from bessemer.training.run import Run
from many_workers import SIZES, data_of, mlp, same_on_any_number_of_workers, train_tied, weights_of
from runs import run_program, settings_with
from workers import run_on_workers

# One optimizer


def train_mlp(run: Run, num_samples: int, batch_size: int, reduction: str, momentum: float = 0.9) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(data_of(num_samples), batch_size=batch_size, shuffle=True)
    for _ in run.epochs(3):
        for _, x, y in loader:
            optimizer.zero_grad()
            loss = functional.mse_loss(model(x), y, reduction=reduction)
            if reduction == "sum":
                loss = loss / 30  # a constant, so that it does not run away
            backward(loss)
            optimizer.step()
            if reduction == "mean":
                run.log({"loss": loss})
    return weights_of(model)


@pytest.mark.parametrize("num_samples", [24, 23, 22, 17], ids=lambda n: f"last batch of {(n - 1) % 8 + 1}")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_training_is_the_same_on_any_number_of_workers(
    tmp_path: Path, num_samples: int, reduction: str
) -> None:
    same_on_any_number_of_workers(train_mlp, tmp_path, num_samples, 8, reduction, reduction=reduction)


def test_one_worker_trains_as_plain_torch_does_to_the_bit(tmp_path: Path) -> None:
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []

    def program(run: Run) -> list[list[float]]:
        for _ in run.epochs(3):
            batches.extend((x, y) for _, x, y in list(run.loader(data_of(23), batch_size=8)))
        torch.manual_seed(1)
        return train_mlp_on(batches, run)

    def train_mlp_on(batches: list[tuple[torch.Tensor, torch.Tensor]], run: Run | None) -> list[list[float]]:
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        if run is not None:
            run.place(model)
            run.track(model=model, optimizer=optimizer)
        for x, y in batches:
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x), y))
            optimizer.step()
        return weights_of(model)

    ours = run_program(program, tmp_path).result
    torch.manual_seed(1)
    assert ours == train_mlp_on(batches, None)


def test_a_wrong_loss_reduction_is_a_different_training(tmp_path: Path) -> None:
    # What the drill of a conversion finds out, so it must be visible.
    settings = settings_with(scaling={"loss_reduction": "sum"})
    wrong = run_on_workers(train_mlp, 2, tmp_path, settings, (23, 8, "mean"))[0].result
    right = run_program(lambda run: train_mlp(run, 23, 8, "mean"), tmp_path).result
    assert wrong[0][0] != pytest.approx(right[0][0], rel=1e-6)


# The models


def place_unequal_models(run: Run) -> Any:
    torch.manual_seed(run.rank)
    model = run.place(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
    strided = run.place(Strided())
    return [tensor.tolist() for tensor in [*model.state_dict().values(), strided.weight]]


class Strided(nn.Module):
    """Has a parameter that is not contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4).T)


def test_a_placed_model_is_the_main_workers_on_every_worker(tmp_path: Path) -> None:
    many = run_on_workers(place_unequal_models, 3, tmp_path)
    alone = run_program(place_unequal_models, tmp_path, seed=0)
    assert many[0].result == many[1].result == many[2].result == alone.result


def keep_batch_statistics(run: Run) -> Any:
    model = run.place(nn.Sequential(nn.BatchNorm1d(5, dtype=torch.float64), mlp()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(data_of(24), batch_size=8, shuffle=True)
    for _ in run.epochs(2):
        for _, x, y in loader:
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x), y))
            optimizer.step()
    return {name: value.tolist() for name, value in model.state_dict().items()}


def test_buffers_are_equal_on_all_workers_after_a_training_pass(tmp_path: Path) -> None:
    many = run_on_workers(keep_batch_statistics, 2, tmp_path)
    assert many[0].result == many[1].result
    assert many[0].result["0.running_mean"] != [0.0] * 5


# How losses come about


def accumulate(run: Run, scaled: bool) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(data_of(23), batch_size=6, shuffle=True)
    for _ in run.epochs(2):
        optimizer.zero_grad()
        for i, (_, x, y) in loader.enumerate():
            loss = functional.mse_loss(model(x), y)
            backward(loss / 2 if scaled else loss)
            if i % 2 == 1:
                optimizer.step()
                optimizer.zero_grad()
            run.log({"loss": loss})
    return weights_of(model)


@pytest.mark.parametrize("scaled", [True, False])
def test_gradients_accumulated_over_ragged_batches_are_the_same(tmp_path: Path, scaled: bool) -> None:
    same_on_any_number_of_workers(accumulate, tmp_path, scaled)


def train_gan(run: Run) -> Any:
    generator, critic = run.place(mlp(3, 5)), run.place(mlp(5, 1))
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=0.01)
    d_optimizer = torch.optim.RMSprop(critic.parameters(), lr=0.01)
    run.track(generator=generator, critic=critic, g_optimizer=g_optimizer, d_optimizer=d_optimizer)
    loader = run.loader(data_of(22), batch_size=7, shuffle=True)
    for _ in run.epochs(2):
        for index, x, _ in loader:
            noise = torch.stack([index.double().sin(), index.double().cos(), index.double() / 22], dim=1)
            fake = generator(noise)
            d_optimizer.zero_grad()
            d_loss = (
                functional.softplus(critic(fake.detach())).mean() + functional.softplus(-critic(x)).mean()
            )
            backward(d_loss)
            d_optimizer.step()
            g_optimizer.zero_grad()
            g_loss = functional.softplus(-critic(fake)).mean()
            backward(g_loss)
            g_optimizer.step()
            run.log({"d": d_loss, "g": g_loss})
    return weights_of(generator, critic)


def test_two_optimizers_and_two_models_are_the_same(tmp_path: Path) -> None:
    ran = same_on_any_number_of_workers(train_gan, tmp_path)
    assert ran.step == 8  # a step of each optimizer is one step


def step_with_a_closure(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(data_of(23), batch_size=12)
    for _ in run.epochs(2):
        for _, x, y in loader:

            def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
                optimizer.zero_grad()
                loss = functional.mse_loss(model(x), y)
                backward(loss)
                return loss

            first = optimizer.step(closure)  # type: ignore[no-untyped-call]
            run.log({"loss": functional.mse_loss(model(x), y), "first": first})
    return weights_of(model)


def test_a_closure_with_a_line_search_is_the_same(tmp_path: Path) -> None:
    settings = settings_with()
    alone = run_program(step_with_a_closure, tmp_path, settings)
    for size in SIZES:
        many = run_on_workers(step_with_a_closure, size, tmp_path, settings)
        assert all(ran.result == many[0].result for ran in many)
        # A line search magnifies the last bits, so less is promised than for a plain step.
        for one, other in zip(many[0].result, alone.result, strict=True):
            assert one == pytest.approx(other, rel=1e-8, abs=1e-10)
        for name in ("loss", "first"):
            assert many[0].values(name) == pytest.approx(alone.values(name), rel=1e-8)


def step_with_a_closure_by_name(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    for _, x, y in run.loader(data_of(23), batch_size=8):

        def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
            optimizer.zero_grad()
            loss = functional.mse_loss(model(x), y)
            backward(loss)
            return loss

        optimizer.step(closure=closure)
    return weights_of(model)


def test_a_closure_given_by_name_is_the_same(tmp_path: Path) -> None:
    same_on_any_number_of_workers(step_with_a_closure_by_name, tmp_path)


class Branching(nn.Module):
    """Uses one part for every sample, one for a single sample, and one for none."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()
        self.rare = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, index: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        if (index == 0).any():
            out = out + (index == 0).unsqueeze(1) * self.rare
        return out


def train_branches(run: Run) -> Any:
    model = run.place(Branching())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(data_of(12), batch_size=6, shuffle=True)
    had_gradient = []
    for _ in run.epochs(4):
        for index, x, y in loader:
            optimizer.zero_grad()
            backward(functional.mse_loss(model(index, x), y))
            optimizer.step()
            had_gradient.append([float(model.rare.grad is not None), float(model.unused.grad is not None)])
    return [*weights_of(model), *had_gradient]


def test_a_parameter_used_on_one_worker_steps_on_all_and_one_used_on_none_on_none(tmp_path: Path) -> None:
    ran = same_on_any_number_of_workers(train_branches, tmp_path)
    rare, unused, *_ = ran.result
    had_gradient = ran.result[-8:]
    assert unused == [1.0, 1.0]
    assert rare != [1.0, 1.0]
    assert all(not unused_had for _, unused_had in had_gradient)
    assert sum(rare_had for rare_had, _ in had_gradient) == 4


def test_tied_weights_and_methods_other_than_forward_are_the_same(tmp_path: Path) -> None:
    same_on_any_number_of_workers(train_tied, tmp_path)
