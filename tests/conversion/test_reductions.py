"""What adds up over workers, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.reductions import Reduction, Reductions, combine
from bessemer.conversion.syntax import walk

PROGRAM = """
import math
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

def accuracy(scores, labels):
    hits = (scores.argmax(1) == labels).sum().item()
    return hits / len(labels)

def main(model, dataset):
    loader = DataLoader(dataset, batch_size=8)
    mean_loss = nn.CrossEntropyLoss()
    sum_loss = nn.MSELoss(reduction="sum")
    weighted = nn.CrossEntropyLoss(weight=torch.ones(3))
    scale = 3
    for i, (x, y) in enumerate(loader):
        out = model(x)
        _, guess = torch.max(out.data, 1)
        loss = mean_loss(out, y)
        probe = VALUE
"""
VALUES = {
    "loss": Reduction.MEAN,
    "loss.item()": Reduction.MEAN,
    "loss.detach().cpu().item() * scale": Reduction.MEAN,
    "loss.item() * x.size(0)": Reduction.SUM,
    "len(y) * loss.item()": Reduction.SUM,
    "loss.item() / len(loader)": Reduction.MEAN,
    "loss.sum().item()": Reduction.MEAN,
    "loss.item() ** 2": Reduction.UNKNOWN,
    "loss.item() * loss.item()": Reduction.UNKNOWN,
    "math.log(loss.item())": Reduction.UNKNOWN,
    "10 * math.log10(1 / loss.item())": Reduction.UNKNOWN,
    "sum_loss(out, x)": Reduction.SUM,
    "sum_loss(out, x) / x.shape[0]": Reduction.MEAN,
    "sum_loss(out, x) + loss": Reduction.UNKNOWN,
    "weighted(out, y)": Reduction.UNKNOWN,
    "F.nll_loss(out, y)": Reduction.MEAN,
    'F.nll_loss(out, y, reduction="sum").item()': Reduction.SUM,
    "F.nll_loss(out, y, size_average=False)": Reduction.SUM,
    'F.mse_loss(out, x, reduction="none").sum()': Reduction.SUM,
    "F.cross_entropy(out, y, ignore_index=0)": Reduction.UNKNOWN,
    "(guess == y).sum().item()": Reduction.SUM,
    "(guess == y).float().mean().item()": Reduction.MEAN,
    "guess.eq(y.view_as(guess)).sum()": Reduction.SUM,
    "torch.sum(guess == y)": Reduction.SUM,
    "y.size(0)": Reduction.SIZE,
    "len(x)": Reduction.SIZE,
    "x.numel()": Reduction.SIZE,
    "accuracy(out, y)": Reduction.MEAN,
    "accuracy(out, y) * len(y)": Reduction.SUM,
    "(x - out).abs().max().item()": Reduction.UNKNOWN,
    "(out @ out.T).sum()": Reduction.UNKNOWN,
    "out.sum(0)": Reduction.UNKNOWN,
    "out.sum(1).mean()": Reduction.MEAN,
    "(out - torch.ones(x.size(0))).sum()": Reduction.SUM,
    "out.item()": Reduction.UNKNOWN,
    "out[0].sum()": Reduction.UNKNOWN,
    "1": Reduction.SAME,
    "scale * 2": Reduction.SAME,
    "i": Reduction.SAME,
    "len(loader.dataset)": Reduction.SAME,
    "model.weight.norm()": Reduction.SAME,
}


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_known_by_how_it_is_computed(value: str, analyzed: Callable[[str], Analysis]) -> None:
    analysis = analyzed(PROGRAM.replace("VALUE", value))
    (loop,) = analysis.training.loader_loops
    assignment = list(walk(loop.node, cst.Assign))[-1]
    rules = Reductions(analysis.script.program, analysis.kinds)
    assert rules.in_loop(assignment.value, loop.node) is VALUES[value]


KINDS = st.sampled_from(list(Reduction))


@given(KINDS, KINDS)
def test_adding_and_multiplying_do_not_care_about_the_order(a: Reduction, b: Reduction) -> None:
    for operator in (cst.Add(), cst.Multiply()):
        assert combine(operator, a, b) is combine(operator, b, a)


# Two workers with one sample and three samples of the same batch of four.
SAMPLES = ([1.0], [2.0, 4.0, 9.0])


def value_of(kind: Reduction, part: list[float]) -> float:
    total = sum(part)
    known = {
        Reduction.SUM: total,
        Reduction.MEAN: total / len(part),
        Reduction.SIZE: float(len(part)),
        Reduction.SAME: 7.0,
    }
    return known[kind]


SCALARS = st.sampled_from([Reduction.SUM, Reduction.MEAN, Reduction.SIZE, Reduction.SAME])


@given(SCALARS, SCALARS, st.sampled_from(["+", "-", "*", "/"]))
def test_what_the_algebra_calls_a_sum_or_a_mean_is_one(a: Reduction, b: Reduction, sign: str) -> None:
    """Put together from two parts as the algebra says, the value is that of the whole batch."""
    operators = {"+": cst.Add(), "-": cst.Subtract(), "*": cst.Multiply(), "/": cst.Divide()}
    result = combine(operators[sign], a, b)

    def compute(part: list[float]) -> float:
        x, y = value_of(a, part), value_of(b, part)
        return {"+": x + y, "-": x - y, "*": x * y, "/": x / y}[sign]

    whole = [x for part in SAMPLES for x in part]
    if result in (Reduction.SUM, Reduction.SIZE):
        assert sum(map(compute, SAMPLES)) == pytest.approx(compute(whole))
    elif result is Reduction.MEAN:
        shares = [len(part) / len(whole) for part in SAMPLES]
        weighted = [share * compute(part) for share, part in zip(shares, SAMPLES, strict=True)]
        assert sum(weighted) == pytest.approx(compute(whole))
    elif result is Reduction.SAME:
        assert len({compute(part) for part in SAMPLES}) == 1
