"""Loops whose course hangs on one worker's part of a batch, and values that several loops use."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bessemer.conversion import plan
from bessemer.conversion.analysis import Analysis

PROGRAM = """
import torch
from torch import nn
from torch.utils.data import DataLoader

def main():
    loader = DataLoader(dataset, batch_size=8)
    test_loader = DataLoader(dataset, batch_size=8)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        total = 0
        for i, (x, y) in enumerate(loader):
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            TRAIN
            optimizer.step()
            total += loss.item()
        print("loss:", total)
        total = 0
        for x, y in test_loader:
            EVALUATE
            total += len(y)
        print("seen", total)

if __name__ == "__main__":
    main()
"""
SAME = ["if i > 3: break", "if epoch == 2 and i % 5 == 0: continue", "pass"]
OWN = [
    "if loss.item() < 0.1: break",
    "if torch.isnan(loss): continue",
    "if i > 3 or len(x) < 8: continue",
    "if not x.isfinite().all(): continue",
]


def program(train: str = "pass", evaluate: str = "pass") -> str:
    return PROGRAM.replace("TRAIN", train).replace("EVALUATE", evaluate)


@pytest.mark.parametrize("line", SAME)
def test_what_all_workers_know_may_steer_training(line: str, analyzed: Callable[[str], Analysis]) -> None:
    assert plan(analyzed(program(train=line))).num_workers == 2


@pytest.mark.parametrize("line", OWN)
def test_what_one_worker_sees_steers_one_worker(line: str, analyzed: Callable[[str], Analysis]) -> None:
    made = plan(analyzed(program(train=line)))
    assert made.num_workers == 1
    assert "the course of the loop hangs on" in made.num_workers_reason
    assert any("train.py:15" in question.where for question in made.questions)


@pytest.mark.parametrize("line", ["if len(y) < 8: continue", "if model(x).sum() > 1: break"])
def test_an_evaluation_that_is_steered_by_data_sees_whole_batches(
    line: str, analyzed: Callable[[str], Analysis]
) -> None:
    analysis = analyzed(program(evaluate=line))
    assert plan(analysis).num_workers == 2
    (loader,) = analysis.state.whole
    assert analysis.script.program.line(loader) == 7


@pytest.mark.parametrize("line", ["meter.add(model(x).sum())", "meter.total = y", "meter.seen[0] += 1"])
def test_an_evaluation_that_an_object_remembers_sees_whole_batches(
    line: str, analyzed: Callable[[str], Analysis]
) -> None:
    meter = """
class Meter:
    def __init__(self):
        self.total, self.seen = 0, [0]
    def add(self, value):
        self.total += value

def main():
    meter = Meter()"""
    analysis = analyzed(program(evaluate=line).replace("\ndef main():", meter))
    (loader,) = analysis.state.whole
    assert "test_loader" in analysis.script.program.code(analysis.script.program.statement(loader))


@pytest.mark.parametrize(
    "line",
    [
        "first, _ = next(iter(test_loader))",
        "sizes = [len(y) for x, y in test_loader]",
        "for a, b in zip(test_loader, range(3)): total += 1",
    ],
)
def test_a_loader_whose_batches_are_not_taken_by_a_for_statement_gives_whole_ones(
    line: str, analyzed: Callable[[str], Analysis]
) -> None:
    text = program().replace("        for x, y in test_loader:\n            pass\n", f"        {line}\n")
    analysis = analyzed(text.replace("            total += len(y)\n", ""))
    (loader,) = analysis.state.whole
    assert "test_loader" in analysis.script.program.code(analysis.script.program.statement(loader))


def sized(train: str = "pass", evaluate: str = "pass") -> str:
    text = program(train, evaluate).replace("def main():", "def main():\n    size = len(dataset) // 9", 1)
    return text.replace("batch_size=8", "batch_size=size")


def test_an_evaluation_that_counts_on_the_size_of_batches_sees_whole_ones(
    analyzed: Callable[[str], Analysis],
) -> None:
    analysis = analyzed(sized(evaluate="model(x).view(size, 1)"))
    (loader,) = analysis.state.whole
    assert "test_loader" in analysis.script.program.code(analysis.script.program.statement(loader))
    assert plan(analysis).num_workers == 2


def test_training_that_counts_on_the_size_of_batches_has_one_worker(
    analyzed: Callable[[str], Analysis],
) -> None:
    made = plan(analyzed(sized(train="hidden = torch.zeros(size, 3)")))
    assert made.num_workers == 1
    assert "torch.zeros(size, 3) at train.py:" in made.num_workers_reason


def test_a_size_that_is_only_printed_changes_nothing(analyzed: Callable[[str], Analysis]) -> None:
    line = "print(i * size, str(size))"
    assert plan(analyzed(sized(train=line, evaluate="print(size)"))).num_workers == 2


def test_a_name_that_two_loops_use_has_two_lives(analyzed: Callable[[str], Analysis]) -> None:
    analysis = analyzed(program())
    names = [(holder.name, holder.kind) for holder in analysis.state.holders]
    assert names == [("train_totals", "totals"), ("eval_totals", "totals")]
    lines = [
        sorted(analysis.script.program.line(use) for use in holder.variables[0].occurrences)
        for holder in analysis.state.holders
    ]
    assert lines == [[17, 18], [22, 23]]
