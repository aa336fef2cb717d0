"""A copy of an optimizer's state takes the options of its new owner, and keeps its schedule."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LinearLR, OneCycleLR, SequentialLR, StepLR

from bessemer.training.hyperparameters import options_of, put_in
from bessemer.training.tracked import Tracked


def made(lr: float, momentum: float = 0.0) -> tuple[Tracked, Any]:
    optimizer = SGD([torch.nn.Parameter(torch.ones(2))], lr=lr, momentum=momentum)
    tracked = Tracked()
    scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    tracked.add("optimizer", optimizer)
    tracked.add("scheduler", scheduler)
    return tracked, optimizer


def train(tracked: Tracked, turns: int) -> list[float]:
    optimizer, scheduler = tracked["optimizer"], tracked["scheduler"]
    rates = []
    for _ in range(turns):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.param_groups[0]["params"][0].sum().backward()
        optimizer.step()
        scheduler.step()
    return rates


def taken_over(source: Tracked, target: Tracked) -> None:
    states = copy.deepcopy({name: value.state_dict() for name, value in source.items()})
    for name, value in target.items():
        value.load_state_dict(states[name])
    put_in(target, source.options, target.options)


def test_a_copy_goes_on_with_its_own_rate_where_the_schedule_is() -> None:
    good, _ = made(0.8)
    train(good, 3)
    copied, _ = made(0.2)
    copied["optimizer"]._opt_called = True
    taken_over(good, copied)
    whole, _ = made(0.2)
    assert train(copied, 4) == train(whole, 7)[3:]


def test_other_numbers_are_replaced() -> None:
    good, _ = made(0.8, momentum=0.9)
    copied, optimizer = made(0.8, momentum=0.5)
    taken_over(good, copied)
    assert optimizer.param_groups[0]["momentum"] == 0.5
    assert optimizer.param_groups[0]["lr"] == 0.8


def test_betas_stay_a_pair() -> None:
    def adam(betas: tuple[float, float]) -> tuple[Tracked, Optimizer]:
        tracked, optimizer = Tracked(), Adam([torch.nn.Parameter(torch.ones(2))], betas=betas)
        tracked.add("optimizer", optimizer)
        return tracked, optimizer

    good, _ = adam((0.9, 0.999))
    copied, optimizer = adam((0.8, 0.999))
    taken_over(good, copied)
    assert tuple(optimizer.param_groups[0]["betas"]) == (0.8, 0.999)


def test_schedules_inside_of_schedules_follow() -> None:
    def warming(lr: float) -> Tracked:
        optimizer = SGD([torch.nn.Parameter(torch.ones(2))], lr=lr)
        tracked = Tracked()
        parts: list[Any] = [LinearLR(optimizer, 0.1, total_iters=2), StepLR(optimizer, 2, gamma=0.5)]
        tracked.add("optimizer", optimizer)
        tracked.add("scheduler", SequentialLR(optimizer, parts, milestones=[2]))
        return tracked

    good, copied, whole = warming(0.8), warming(0.4), warming(0.4)
    train(good, 3)
    copied["optimizer"]._opt_called = True
    taken_over(good, copied)
    expected = train(whole, 7)[3:]
    assert torch.allclose(torch.tensor(train(copied, 4)), torch.tensor(expected))


def test_nothing_changes_where_nothing_was_changed() -> None:
    good, optimizer = made(0.3, momentum=0.7)
    train(good, 3)
    before = options_of(optimizer)
    put_in(good, good.options, good.options)
    assert options_of(optimizer) == before


def test_a_schedule_goes_on_with_what_this_run_made_it_with() -> None:
    def decaying(gamma: float) -> Tracked:
        optimizer = SGD([torch.nn.Parameter(torch.ones(2))], lr=0.8)
        tracked = Tracked()
        tracked.add("optimizer", optimizer)
        tracked.add("scheduler", ExponentialLR(optimizer, gamma))
        return tracked

    good, copied = decaying(0.9), decaying(0.5)
    train(good, 3)
    copied["optimizer"]._opt_called = True
    taken_over(good, copied)
    at = 0.8 * 0.9**3
    assert torch.allclose(torch.tensor(train(copied, 3)), torch.tensor([at, at / 2, at / 4]))


def test_one_cycle_goes_on_with_half_the_rate_where_it_is() -> None:
    def cycling(lr: float) -> Tracked:
        optimizer = SGD([torch.nn.Parameter(torch.ones(2))], lr=lr)
        tracked = Tracked()
        # As programs do: what is tracked first knows nothing of the scheduler yet.
        tracked.add("optimizer", optimizer)
        tracked.add("scheduler", OneCycleLR(optimizer, max_lr=lr, total_steps=20, cycle_momentum=False))
        return tracked

    good, copied, whole = cycling(0.8), cycling(0.4), cycling(0.4)
    train(good, 5)
    copied["optimizer"]._opt_called = True
    taken_over(good, copied)
    assert torch.allclose(torch.tensor(train(copied, 6)), torch.tensor(train(whole, 11)[5:]))
