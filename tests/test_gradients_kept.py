"""Gradients that a program keeps, adds to, or computes by other ways than backward() alone."""

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

from bessemer.models import buckets
from bessemer.training.run import Run
from bessemer.utils.collectives import Group
from many_workers import close, data_of, mlp, same_on_any_number_of_workers, weights_of
from runs import run_program
from workers import run_on_workers

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
    # The last of the four is complete when backward() is: it carries what is told.
    assert [ran.result for ran in run_on_workers(launched_early, 2, tmp_path)] == [[0, 3, 3]] * 2


def operations_of_each_step(run: Run, dtype: torch.dtype) -> Any:
    """Count the collective operations of a step whose gradients fit into one bucket."""
    counted: list[int] = []
    begin = Group.begin_sum_

    def seen(group: Group, tensor: torch.Tensor) -> Any:
        counted[-1] += 1
        return begin(group, tensor)

    model = run.place(mlp().to(dtype))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    Group.begin_sum_ = seen  # type: ignore[assignment, method-assign]
    try:
        for _ in run.epochs(1):
            for _, x, y in run.loader(data_of(23), batch_size=8):
                counted.append(0)
                optimizer.zero_grad()
                backward(functional.mse_loss(model(x.to(dtype)), y.to(dtype)))
                optimizer.step()
    finally:
        Group.begin_sum_ = begin  # type: ignore[method-assign]
    return counted


@pytest.mark.parametrize(("dtype", "counted"), [(torch.float32, [2, 1, 1]), (torch.bfloat16, [2, 2, 2])])
def test_a_step_is_one_operation_where_a_bucket_can_carry_what_workers_tell_each_other(
    tmp_path: Path, dtype: torch.dtype, counted: list[int]
) -> None:
    done = run_on_workers(operations_of_each_step, 2, tmp_path, arguments=(dtype,))
    assert [ran.result for ran in done] == [counted] * 2


def gradients_of_one_batch_again_and_again(run: Run) -> Any:
    torch.manual_seed(3)
    model = run.place(nn.Sequential(nn.Linear(5, 33), nn.Tanh(), nn.Linear(33, 2)).float())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    run.track(model=model, optimizer=optimizer)
    found = []
    for _ in run.epochs(3):
        for _, x, y in run.loader(data_of(24), batch_size=24):
            optimizer.zero_grad()
            backward(functional.mse_loss(model(x.float()), y.float()))
            optimizer.step()
            found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    return [all(map(torch.equal, found[0], later)) for later in found[1:]]


def test_the_first_step_of_an_attempt_has_the_same_bits_as_it_would_have_as_a_later_one(
    tmp_path: Path,
) -> None:
    # Three workers: the order in which numbers are added decides their last bit.
    done = run_on_workers(gradients_of_one_batch_again_and_again, 3, tmp_path)
    assert [ran.result for ran in done] == [[True, True]] * 3


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
