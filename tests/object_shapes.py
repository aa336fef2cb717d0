"""Training that keeps its state in objects, in tensors of no model, or in conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd import backward
from torch.nn import functional

from bessemer.training.run import Run
from loop_shapes import small_net
from restarts import Noisy, data_of, train_step, weights_of


class Trainer:
    """Counts, collects and remembers."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        self.num_steps = 0
        self.losses: list[float] = []
        self.best = {"loss": float("inf")}

    def step(self, batch: Any) -> float:
        self.num_steps += 1
        loss = float(train_step(self.model, self.optimizer, batch).detach())
        self.losses.append(loss)
        if loss < self.best["loss"]:
            self.best = {"loss": loss}
        return loss


class Meter:
    """A mean so far."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, value: float) -> None:
        self.total += value
        self.count += 1


def an_object_that_counts_and_collects(run: Run) -> Any:
    trainer = Trainer(run.place(small_net()))
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    run.keep(trainer, "num_steps", "losses", "best")
    run.track(model=trainer.model, optimizer=trainer.optimizer)
    for _ in run.epochs(3):
        for batch in loader:
            loss = trainer.step(batch)
            run.log({"loss": loss, "best": trainer.best["loss"], "seen": sum(trainer.losses)})
    assert trainer.num_steps == len(trainer.losses)
    return weights_of(trainer.model), trainer.losses, trainer.best


def an_object_that_each_epoch_makes(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    loader = run.loader(data_of(14), batch_size=4, shuffle=True)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs(3):
        meter = Meter()
        run.keep(meter, "total", "count")
        for batch in loader:
            meter.update(float(train_step(model, optimizer, batch).detach()))
            run.log({"mean": meter.total / meter.count})
        run.log({"epoch mean": meter.total / meter.count, "batches": meter.count})
    return weights_of(model)


def updates_by_hand(run: Run) -> Any:
    model = run.place(small_net())
    run.track(model=model)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    for _ in run.epochs(3):
        for x, y in loader:
            model.zero_grad()
            loss = functional.mse_loss(model(x), y)
            backward(loss)
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.data.add_(parameter.grad, alpha=-0.1)
            run.log({"loss": loss})
    return weights_of(model)


def tensors_of_no_model(run: Run) -> Any:
    weight = torch.randn(3, 1, requires_grad=True)
    rest = [torch.zeros(1, requires_grad=True)]
    run.track(weight=weight, rest=rest)
    for _ in run.steps(11):
        x = torch.randn(6, 3)
        loss = ((x @ weight + rest[0] - x.sum(1, keepdim=True)) ** 2).mean()
        backward(loss)
        with torch.no_grad():
            for tensor in (weight, *rest):
                assert tensor.grad is not None
                tensor -= 0.1 * tensor.grad
                tensor.grad.zero_()
        run.log({"loss": loss})
    return [x.detach().tolist() for x in (weight, *rest)]


def a_condition_before_each_turn(run: Run) -> Any:
    model = run.place(small_net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    carry = run.carry(left=1.0)
    run.track(model=model, optimizer=optimizer)
    for _ in run.epochs_while(lambda: carry.left > 0.3):
        for batch in loader:
            run.log({"loss": train_step(model, optimizer, batch)})
        carry.left *= 0.7
    return weights_of(model), carry.left


def models_in_lists_and_dictionaries(run: Run) -> Any:
    nets = [run.place(small_net()) for _ in range(2)]
    optimizers = {
        name: torch.optim.Adam(net.parameters(), lr=0.05) for name, net in zip("ab", nets, strict=True)
    }
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    run.track(nets=nets, optimizers=optimizers)
    for _ in run.epochs(3):
        for batch in loader:
            for net, optimizer in zip(nets, optimizers.values(), strict=True):
                run.log({"loss": train_step(net, optimizer, batch)})
    return weights_of(*nets)


def one_training_after_the_other(run: Run) -> Any:
    model = run.place(small_net())
    loader = run.loader(data_of(14), batch_size=4, shuffle=True)
    for rate in (0.1, 0.01):
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
        run.track(model=model, optimizer=optimizer)
        for _ in run.epochs(2):
            for batch in loader:
                run.log({"loss": train_step(model, optimizer, batch), "rate": rate})
    return weights_of(model)


def models_that_each_round_makes(run: Run) -> Any:
    carry = run.carry(scores=[], table=np.zeros(3))
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    for fold in range(3):
        model = run.place(small_net())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        last = run.last(loss=None)
        run.track(model=model, optimizer=optimizer)
        for _ in run.epochs(2):
            for batch in loader:
                last.loss = train_step(model, optimizer, batch)
                run.log({"loss": last.loss})
        carry.scores.append((last.loss.item(), model(torch.ones(1, 3)).item()))
        carry.table[fold] = last.loss.item()
        run.log({"score": carry.scores[-1][0], "table": carry.table.sum()})
    return weights_of(model), carry.scores, carry.table.tolist()


def models_that_only_the_optimizer_is_tracked_of(run: Run) -> Any:
    models = {"body": small_net(), "head": nn.Linear(1, 1)}
    whole = nn.Sequential(*models.values())
    optimizer = torch.optim.Adam(whole.parameters(), lr=0.05)
    loader = run.loader(Noisy(), batch_size=5, shuffle=True)
    run.track(optimizer=optimizer)
    for _ in run.epochs(2):
        for batch in loader:
            run.log({"loss": train_step(whole, optimizer, batch)})
    return weights_of(*models.values())


SHAPES = [
    an_object_that_counts_and_collects,
    an_object_that_each_epoch_makes,
    updates_by_hand,
    tensors_of_no_model,
    a_condition_before_each_turn,
    models_in_lists_and_dictionaries,
    models_that_each_round_makes,
    one_training_after_the_other,
    models_that_only_the_optimizer_is_tracked_of,
]
