"""The gap at the boundary of two epochs, in steps: Bessemer's, and that of torch's `DataLoader`.

    python benchmarks/epochs.py [--pairs 5] [--out epochs.json]

One worker trains the small CNN of `steps.py` for 6 epochs of 60 steps on images in memory, with
nothing else in the loop. The gap is the time from the last step of an epoch being done to the first
batch of the next one; the figure is the median over the boundaries of a run, to be compared with the
median step of the same run. Bessemer has its default settings: Ray Data fetches, and a checkpoint is
taken after each epoch. torch's `DataLoader` with 2 worker processes, without any checkpoint, is shown
for comparison: it starts its processes anew in each epoch, as it does by default.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pairs import Goal, interleaved, judge, write
from steps import cnn
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from ways import leave, measured, options, settings, with_bessemer

_NUM_EPOCHS = 6
_NUM_STEPS = 60
_BATCH = 32
_WARM_STEPS = 10
BOUND = 3.0


def data() -> TensorDataset:
    """Random images and labels for an epoch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(_NUM_STEPS * _BATCH, 1, 28, 28, generator=generator)
    return TensorDataset(images, torch.randint(0, 10, (len(images),), generator=generator))


def train(epochs: Iterable[Any], loader: Any, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Train as research code does, and leave the figures."""
    gaps, steps = [], []
    done = 0.0
    for _ in epochs:
        came, ends = [], []
        for x, y in loader:
            came.append(time.perf_counter())
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            ends.append(time.perf_counter())
        if done:
            gaps.append(came[0] - done)
        done = ends[-1]
        steps += [after - before for before, after in itertools.pairwise(ends[_WARM_STEPS:])]
    leave(
        {
            "gap_ms": statistics.median(gaps) * 1000,
            "longest_gap_ms": max(gaps) * 1000,
            "step_ms": statistics.median(steps) * 1000,
        }
    )


def plain() -> None:
    """The research script."""
    torch.manual_seed(0)
    model = cnn()
    loader = DataLoader(data(), _BATCH, shuffle=True, num_workers=2)
    train(range(_NUM_EPOCHS), loader, model, torch.optim.SGD(model.parameters(), lr=0.01))


def program(run: Any, _settings: Any) -> None:
    """The same with Bessemer."""
    torch.manual_seed(0)
    model = run.place(cnn())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(data(), _BATCH, shuffle=True)
    train(run.epochs(_NUM_EPOCHS), loader, model, optimizer)


def bessemer() -> None:
    """Train with Bessemer."""
    with_bessemer(program, settings())


def main() -> int:
    """Measure both ways, or one in this process."""
    ways = {"torch2": plain, "bessemer": bessemer}
    arguments = options(__doc__, Path(__file__).stem, list(ways)).parse_args()
    if arguments.way:
        ways[arguments.way]()
        return 0
    found = interleaved({way: partial(measured, __file__, way) for way in ways}, arguments.pairs)
    goals = {"gap, in steps of the same run": Goal("bessemer.gap_ms", "bessemer.step_ms", BOUND)}
    results = judge("epoch boundary", found, goals)
    theirs = statistics.median(found["torch2.gap_ms"]) / statistics.median(found["torch2.step_ms"])
    print(f"epoch boundary, torch's DataLoader with 2 workers: {theirs:.3f} (for comparison)")
    write(arguments.out, {"epochs": {**results, "torch2_gap_in_steps": theirs}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
