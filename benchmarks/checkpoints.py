"""Time that a checkpoint of 400 MB stops training: Bessemer's against `torch.save` in the loop.

    python benchmarks/checkpoints.py [--pairs 5] [--out checkpoints.json]

One worker trains an MLP of 50 M parameters with SGD and momentum: 400 MB of parameters and momenta. A
checkpoint is taken every 32 steps, to the same disk: `torch.save` of model and optimizer over the same
file, as a research script does it, against `checkpoint.every_steps = 32`. Two figures, each the median
over the checkpoints of a run without its first one:

- extra time: the 16 steps from a checkpoint on, minus the 16 steps after them. It holds the pause, and
  what writing in the background takes from the steps that follow.
- longest pause: the longest time between two steps of those 32, minus the median step.

A way's `written_s` is the time from the checkpoint being asked for to its last byte being written: if
it is longer than 16 steps take, the steps after them are not quiet and the extra time means little.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pairs import Goal, interleaved, judge, write
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from ways import folder, leave, measured, options, settings, with_bessemer

_EVERY_STEPS = 32
_NUM_CHECKPOINTS = 4
_NUM_STEPS = _EVERY_STEPS * (_NUM_CHECKPOINTS + 1)
_BATCH = 16
_WIDTH = 2500
_NUM_LAYERS = 8
BOUND = 0.2


def mlp() -> nn.Module:
    """An MLP of 50 M parameters; takes (batch, 2500) float32."""
    layers: list[nn.Module] = []
    for _ in range(_NUM_LAYERS):
        layers += [nn.Linear(_WIDTH, _WIDTH), nn.ReLU()]
    return nn.Sequential(*layers)


def data() -> TensorDataset:
    """Random rows for one epoch."""
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.rand(_NUM_STEPS * _BATCH, _WIDTH, generator=generator))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of both ways."""
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    """One step, as research code has it."""
    optimizer.zero_grad()
    functional.mse_loss(model(x), x).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def plain() -> None:
    """The research script, which saves in its loop."""
    torch.manual_seed(0)
    model = mlp()
    optimizer = sgd(model)
    loader = DataLoader(data(), _BATCH, shuffle=True)
    done, written_s = [], []
    for number, (x,) in enumerate(loader, 1):
        step(model, optimizer, x)
        done.append(time.perf_counter())
        if number % _EVERY_STEPS == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": number}
            torch.save(state, folder() / "checkpoint.pt")
            written_s.append(time.perf_counter() - done[-1])
    leave(figures(done, written_s))


def program(run: Any, _settings: Any) -> None:
    """The same with Bessemer."""
    torch.manual_seed(0)
    model = run.place(mlp())
    optimizer = sgd(model)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(data(), _BATCH, shuffle=True)
    done, written_s = [], []
    for _ in run.epochs(1):
        began, wall_clock = time.perf_counter(), time.time()
        for (x,) in loader:
            step(model, optimizer, x)
            done.append(time.perf_counter())
            if len(done) % _EVERY_STEPS == _EVERY_STEPS - 1 and len(done) > 2 * _EVERY_STEPS:
                asked = done[-_EVERY_STEPS] - began + wall_clock
                newest = max(run.output_dir.glob("checkpoints/step-*/manifest.json"), default=None)
                written_s.append(os.path.getmtime(newest) - asked if newest else float("nan"))
    leave(figures(done, written_s))


def figures(done: list[float], written_s: list[float]) -> dict[str, float]:
    """Return the figures of a run from when each of its steps was done (seconds)."""
    gaps = [after - before for before, after in itertools.pairwise(done)]
    half = _EVERY_STEPS // 2
    extra, pauses, quiet = [], [], []
    for number in range(1, _NUM_CHECKPOINTS):  # the first checkpoint is not counted
        # gaps[n] begins when step n + 1 is done, so a checkpoint after step n is in gaps[n - 1].
        begin = (number + 1) * _EVERY_STEPS - 1
        cycle = gaps[begin : begin + _EVERY_STEPS]
        extra.append(sum(cycle[:half]) - sum(cycle[half : 2 * half]))
        quiet.append(statistics.median(cycle[half:]))
        pauses.append(max(cycle) - quiet[-1])
    return {
        "extra_s": statistics.median(extra),
        "pause_s": statistics.median(pauses),
        "step_s": statistics.median(quiet),
        "written_s": statistics.median(written_s),
    }


def bessemer() -> None:
    """Train with Bessemer; the data are a tensor in memory, fetched in process."""
    with_bessemer(program, settings(data={"source": "inline"}, checkpoint={"every_steps": _EVERY_STEPS}))


def main() -> int:
    """Measure both ways, or one in this process."""
    ways = {"plain": plain, "bessemer": bessemer}
    arguments = options(__doc__, Path(__file__).stem, list(ways)).parse_args()
    if arguments.way:
        ways[arguments.way]()
        return 0
    found = interleaved({way: partial(measured, __file__, way) for way in ways}, arguments.pairs)
    goals = {
        "extra time": Goal("bessemer.extra_s", "plain.extra_s", BOUND),
        "longest pause": Goal("bessemer.pause_s", "plain.pause_s", BOUND),
    }
    write(arguments.out, {"checkpoints": judge("checkpoint of 400 MB", found, goals)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
