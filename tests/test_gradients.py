"""Gradients of many workers are those of the global batch, however the loss came about."""

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
from torch.utils.checkpoint import checkpoint
from torch.utils.data import TensorDataset

from bessemer.errors import TrainingError
from bessemer.models import buckets
from bessemer.training.run import Run
from runs import Ran, run_program, settings_with
from workers import WorkerError, on_workers, run_on_workers

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


def test_tied_weights_and_methods_other_than_forward_are_the_same(tmp_path: Path) -> None:
    same_on_any_number_of_workers(train_tied, tmp_path)


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


# Gradients that the program keeps, adds to, or uses by itself


def never_zeroed(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            backward(functional.mse_loss(model(x), y))
            optimizer.step()
    return weights_of(model)


def stepped_twice(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            optimizer.zero_grad(set_to_none=False)
            backward(functional.mse_loss(model(x), y))
            optimizer.step()
            optimizer.step()
    return weights_of(model)


def added_to_after_clipping(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x), y))
            clip_grad_norm_(model.parameters(), 0.3)
            backward(functional.l1_loss(model(x), y))
            optimizer.step()
    return weights_of(model)


def clamped_by_hand(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x), y))
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.grad.data.clamp_(-0.02, 0.02)
            optimizer.step()
    return weights_of(model)


def given_by_autograd_grad(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    parameters = list(model.parameters())
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            gradients = torch.autograd.grad(functional.mse_loss(model(x), y), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
    return weights_of(model)


def of_the_input_and_the_weights(run: Run) -> Any:
    """Adversarial training: the input's gradient is that of the global batch's mean, too."""
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            near = x.clone().requires_grad_()
            backward(functional.mse_loss(model(near), y))
            assert near.grad is not None
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x + 3 * near.grad), y))
            optimizer.step()
    return weights_of(model)


def recomputed(run: Run) -> Any:
    """A backward pass in a backward pass, which comes to the same parameters again."""
    first, second = run.place(mlp(5, 5)), run.place(mlp())
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.05)
    run.track(first=first, second=second, optimizer=optimizer)
    for _ in run.epochs(3):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            optimizer.zero_grad()
            given = x.clone().requires_grad_()
            hidden = checkpoint(first, checkpoint(first, given, use_reentrant=True), use_reentrant=True)
            backward(functional.mse_loss(second(hidden), y))
            optimizer.step()
    return weights_of(first, second)


KINDS_OF_USE = [
    never_zeroed,
    stepped_twice,
    added_to_after_clipping,
    clamped_by_hand,
    given_by_autograd_grad,
    of_the_input_and_the_weights,
    recomputed,
]


@pytest.mark.parametrize("program", KINDS_OF_USE, ids=lambda program: str(program.__name__))
def test_gradients_are_those_of_the_global_batch_whatever_is_done_with_them(
    tmp_path: Path, program: Callable[[Run], Any]
) -> None:
    same_on_any_number_of_workers(program, tmp_path)


def update_by_hand(run: Run) -> Any:
    """No optimizer at all; a step of the run is what an optimizer takes, so none is counted."""
    model = run.place(mlp())
    run.track(model=model)
    for _ in run.epochs(2):
        for _, x, y in run.loader(data_of(23), batch_size=8, shuffle=True):
            model.zero_grad()
            backward(functional.mse_loss(model(x), y))
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.data.add_(parameter.grad, alpha=-0.05)
    return weights_of(model)


def test_updates_by_hand_are_those_of_the_global_batch(tmp_path: Path) -> None:
    alone = run_program(update_by_hand, tmp_path).result
    many = run_on_workers(update_by_hand, 3, tmp_path)
    assert all(ran.result == many[0].result for ran in many)
    close(many[0].result, alone)


def kept_from_step_to_step(run: Run) -> Any:
    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    kept, copies = [], []
    for _ in run.epochs(1):
        for _, x, y in run.loader(data_of(23), batch_size=8):
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x), y))
            optimizer.step()
            kept += [p.grad for p in model.parameters() if p.grad is not None]
            copies += [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return all(torch.equal(one, other) for one, other in zip(kept, copies, strict=True))


def test_a_gradient_that_the_program_keeps_is_never_written_over(tmp_path: Path) -> None:
    assert all(ran.result is True for ran in run_on_workers(kept_from_step_to_step, 2, tmp_path))


def launched_early(run: Run) -> Any:
    """Count the buckets that are under way before backward() is at its end."""
    launched: list[int] = []
    launch = buckets.Bucket.launch

    def seen(bucket: buckets.Bucket, *arguments: Any) -> None:
        launched[-1] += run._session.reducer._thread is not None
        launch(bucket, *arguments)

    model = run.place(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    before = buckets.BUCKET_BYTES
    buckets.BUCKET_BYTES = 1
    buckets.Bucket.launch = seen  # type: ignore[assignment, method-assign]
    try:
        for _ in run.epochs(1):
            for _, x, y in run.loader(data_of(23), batch_size=8):
                launched.append(0)
                optimizer.zero_grad()
                backward(functional.mse_loss(model(x), y))
                optimizer.step()
    finally:
        buckets.BUCKET_BYTES = before
        buckets.Bucket.launch = launch  # type: ignore[method-assign]
    return launched


def test_gradients_are_summed_while_others_are_computed(tmp_path: Path) -> None:
    assert [ran.result for ran in run_on_workers(launched_early, 2, tmp_path)] == [[0, 4, 4]] * 2


def test_torchs_engine_is_where_it_was_and_says_what_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The private function that gradients are taken hold of at: fails when a new torch calls another."""
    calls = []
    engine = torch.autograd._engine_run_backward  # type: ignore[attr-defined]

    def noted(tensors: Any, seeds: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((len(tensors), len(seeds), len(args[2]), kwargs["accumulate_grad"]))
        return engine(tensors, seeds, *args, **kwargs)

    monkeypatch.setattr(torch.autograd, "_engine_run_backward", noted)
    weight = torch.ones(2, requires_grad=True)
    backward(weight.sum())
    weight.sum().backward()  # type: ignore[no-untyped-call]
    torch.autograd.grad(weight.sum(), [weight])
    assert calls == [(1, 1, 0, True), (1, 1, 0, True), (1, 1, 1, False)]


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
