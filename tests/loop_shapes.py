"""Training loops of every shape that research code has."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional
from torch.utils.data import Sampler

from bessemer.training.run import Run
from restarts import (
    PROGRAMS,
    Noisy,
    data_of,
    net,
    train_step,
    weights_of,
)


def small_net() -> nn.Module:
    """With dropout, and without batch statistics, so that one sample is enough for a worker."""
    return nn.Sequential(nn.Linear(3, 6), nn.Dropout(0.3), nn.Tanh(), nn.Linear(6, 1))


def two_training_loaders_and_evaluation_first(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    first = run.loader(Noisy(), batch_size=5, shuffle=True)
    second = run.loader(data_of(11), batch_size=3, shuffle=True)
    test_loader = run.loader(Noisy(), batch_size=7, shuffle=True)
    for _ in run.epochs(3):
        lr = 0.01 * (1 + random.random())  # drawn before the loop, used in it
        judged = run.totals(loss=0.0)
        with torch.no_grad():
            for x, y in test_loader:
                judged.loss += float(functional.mse_loss(model(x), y)) + random.random()
        for group in optimizer.param_groups:
            group["lr"] = lr
        noise = float(torch.rand(()))
        for batch in first:
            run.log({"first": train_step(model, optimizer, batch), "noise": noise})
        for i, batch in second.enumerate(1):
            run.log({"second": train_step(model, optimizer, batch), "i": i, "judged": judged.loss})
    return weights_of(model)


def two_optimizers(run: Run) -> Any:
    """A GAN: gradients of one model come about in the other's step, and are thrown away later."""
    maker, judge = run.place(nn.Linear(2, 3)), run.place(nn.Linear(3, 1))
    of_maker = torch.optim.Adam(maker.parameters(), lr=0.02)
    of_judge = torch.optim.RMSprop(judge.parameters(), lr=0.02)
    run.track(maker=maker, judge=judge, of_maker=of_maker, of_judge=of_judge)
    loader = run.loader(data_of(14), batch_size=4, shuffle=True)
    for _ in run.epochs(2):
        for i, (x, _y) in loader.enumerate():
            of_judge.zero_grad()
            made = maker(torch.randn(len(x), 2))
            loss = judge(made).mean() - judge(x).mean()
            backward(loss)
            of_judge.step()
            if i % 2 == 1:
                of_maker.zero_grad()
                backward(-judge(maker(torch.randn(len(x), 2))).mean())
                of_maker.step()
            run.log({"loss": loss})
    return weights_of(maker, judge)


def for_ever_with_an_iterator(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    running = run.totals(loss=0.0)
    iterator = iter(loader)
    for step in run.steps():
        try:
            batch = next(iterator)
        except StopIteration:
            iterator = iter(loader)
            batch = next(iterator)
        loss = train_step(model, optimizer, batch)
        running.loss += float(loss.detach())
        run.log({"loss": loss, "noise": random.random()})
        if step == 10:
            break
    return weights_of(model), running.loss


def an_endless_generator(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)

    def endless() -> Iterator[Any]:
        while True:
            yield from loader

    batches = endless()
    for _ in run.steps(9):
        run.log({"loss": train_step(model, optimizer, next(batches))})
    return weights_of(model)


def accumulation(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=3, shuffle=True)
    for _ in run.epochs(3):
        for i, (x, y) in loader.enumerate():
            loss = functional.mse_loss(model(x), y) / 3
            backward(loss)
            if (i + 1) % 3 == 0:  # what is left of a pass goes on in the next one
                optimizer.step()
                optimizer.zero_grad()
            run.log({"loss": loss})
    return weights_of(model)


def gradients_that_are_never_zeroed(run: Run) -> Any:
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        for x, y in run.loader(data_of(12), batch_size=4, shuffle=True):
            backward(functional.mse_loss(model(x), y))
            optimizer.step()
    return weights_of(model)


def no_outer_loop(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=3, shuffle=True)
    kept = run.carry(losses=[])
    for batch in loader:
        loss = train_step(model, optimizer, batch)
        kept.losses.append(float(loss.detach()))
        run.log({"loss": loss})
    for batch in loader:
        run.log({"again": train_step(model, optimizer, batch)})
    return weights_of(model), kept.losses


def no_loader(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    x, y = data_of(20).tensors
    for _ in run.steps(8):
        chosen = torch.randint(20, (6,))
        run.log({"loss": train_step(model, optimizer, (x[chosen], y[chosen])), "n": np.random.rand()})
    return weights_of(model)


def evaluation_in_the_middle(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=6, shuffle=True)
    test_loader = run.loader(data_of(10), batch_size=4)
    best = run.carry(loss=float("inf"))
    for _ in run.epochs(2):
        for i, batch in loader.enumerate():
            run.log({"loss": train_step(model, optimizer, batch)})
            if i % 2:
                model.eval()
                test = run.totals(loss=0.0)
                with torch.no_grad():
                    for x, y in test_loader:
                        test.loss += float(functional.mse_loss(model(x), y, reduction="sum"))
                model.train()
                best.loss = min(best.loss, test.loss)
                run.log({"test": test.loss, "best": best.loss})
    return weights_of(model)


def pairs_of_loaders(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    one = run.loader(Noisy(), batch_size=3, shuffle=True)
    other = run.loader(data_of(20), batch_size=5, shuffle=True)
    for _ in run.epochs(2):
        for batch, (x, _y) in zip(one, other, strict=False):
            run.log({"loss": train_step(model, optimizer, batch), "x": x.sum()})
    return weights_of(model)


def a_loop_in_a_loop_over_loaders(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    tasks = run.loader(data_of(6), batch_size=3, shuffle=True)
    for _ in run.epochs(2):
        for x, _y in tasks:
            for batch in run.loader(Noisy(), batch_size=5, shuffle=True):
                run.log({"loss": train_step(model, optimizer, batch), "x": x.sum()})
            for turn in run.epochs(2):
                run.log({"inner": train_step(model, optimizer, (x, x[:, :1])), "turn": turn})
    return weights_of(model)


def early_stopping_by_evaluation(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    test_loader = run.loader(data_of(10), batch_size=5)
    best = run.carry(loss=float("inf"))
    for _ in run.epochs(6):
        test = run.totals(loss=0.0)
        with torch.no_grad():
            for x, y in test_loader:
                test.loss += float(functional.mse_loss(model(x), y))
        run.log({"test": test.loss})
        if test.loss > best.loss:
            break
        best.loss = test.loss
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
    run.log({"end": best.loss})
    return weights_of(model)


def a_loop_that_is_left_in_the_middle(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=2, shuffle=True)
    for epoch in run.epochs(3):
        for i, batch in loader.enumerate():
            run.log({"loss": train_step(model, optimizer, batch)})
            if i == 3:
                break
        run.log({"epoch": epoch, "noise": random.random()})
        for batch in loader:
            run.log({"whole": train_step(model, optimizer, batch)})
    return weights_of(model)


class Remembering(Sampler[int]):
    """A sampler that goes on where it was, as some in research code do."""

    def __init__(self) -> None:
        self.turn = 0

    def __len__(self) -> int:
        return 14

    def __iter__(self) -> Iterator[int]:
        self.turn += 1
        order = list(range(14))
        random.shuffle(order)
        yield from (index for index in order[self.turn :] + order[: self.turn])


def a_sampler_with_a_memory(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, sampler=Remembering())
    for _ in run.epochs(3):
        for x, y in loader:
            run.log({"loss": train_step(model, optimizer, (x, y)), "x": x.sum()})
    return weights_of(model)


def an_evaluation_with_loops_in_it(run: Run) -> Any:
    model = run.place(net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    test_loader = run.loader(data_of(6), batch_size=3)
    for _ in run.epochs(2):
        for x, _y in test_loader:
            for turn in run.epochs(2):
                run.log({"test": model(x).mean() + turn + random.random()})
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
    return weights_of(model)


SHAPES = [
    *PROGRAMS,
    two_training_loaders_and_evaluation_first,
    two_optimizers,
    for_ever_with_an_iterator,
    an_endless_generator,
    accumulation,
    gradients_that_are_never_zeroed,
    no_outer_loop,
    no_loader,
    evaluation_in_the_middle,
    pairs_of_loaders,
    a_loop_in_a_loop_over_loaders,
    early_stopping_by_evaluation,
    a_loop_that_is_left_in_the_middle,
    a_sampler_with_a_memory,
    an_evaluation_with_loops_in_it,
]
