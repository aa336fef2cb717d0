"""How good what is found is: a search with Bessemer's defaults against plain Optuna, with the same budget.

    python benchmarks/regret.py [--seeds 10] [--trials 30] [--out regret.json]

Three small tasks: scans of digits, letters of a text, and a table of numbers. Regret is how much worse than
the best value that any search of this script has seen the result of a search is. Plain Optuna is what one
writes: `study.optimize` with its TPE sampler, every trial to its end. Bessemer decides as `bessemer tune`
does, by the same code (`bessemer.search.study`), one trial after the other and without a cluster, which
changes no decision. The budget is the epochs that are trained, which is what a search costs: as many trials
to their end, or, as it comes, more of them that end early. Either begins with a researcher's own settings.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pairs import write
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn
from torch.nn import functional

from bessemer.config.tuning_settings import Tuning
from bessemer.search.choosing import distributions_of
from bessemer.search.journal import Journal
from bessemer.search.question import Question
from bessemer.search.space import Choices, Range, Space, Values
from bessemer.search.study import Study

EPOCHS = 9
FULL, EARLY = "bessemer, no early ends", "bessemer, early ends"
TEXT = (
    "the quick brown fox jumps over the lazy dog while seven wizards mix vexing jigs and "
    "a black sphinx of quartz judges my vow as five boxing experts gaze at the liquid jam "
) * 12
WINDOW = 6


@dataclass(frozen=True)
class Task:
    """A small training whose settings are searched.

    Attributes:
        space: what is searched.
        defaults: what a researcher would begin with.
        data: returns inputs and targets, and how many of them are trained on.
        outputs: of the model (count).
        loss: of a batch.
    """

    space: Space
    defaults: Values
    data: Callable[[], tuple[Tensor, Tensor, int]]
    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]


@functools.cache
def digits() -> tuple[Tensor, Tensor, int]:
    """Scans [1797, 64] in [0, 1], and what they show."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return torch.tensor(images[order] / 16, dtype=torch.float32), torch.tensor(labels[order]), 1200


@functools.cache
def letters() -> tuple[Tensor, Tensor, int]:
    """Windows of letters, one-hot [n, 6 x letters], and the letter that follows."""
    known = sorted(set(TEXT))
    codes = torch.tensor([known.index(letter) for letter in TEXT])
    windows = codes.unfold(0, WINDOW + 1, 1)
    inputs = functional.one_hot(windows[:, :-1], len(known)).float().flatten(1)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    # Few are trained on, so that what is learned by heart does not serve.
    chosen = order[:900]
    return inputs[chosen], windows[chosen, -1], 500


@functools.cache
def table() -> tuple[Tensor, Tensor, int]:
    """Ten measurements of 442 patients, and how their illness went on, scaled."""
    x, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order] / x.std(0), (y[order] - y.mean()) / y.std()
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None], 300


SPACE: Space = {
    "lr": Range(1e-4, 1.0, log=True),
    "width": Range(8, 128, log=True),
    "dropout": Range(0.0, 0.8),
    "batch": Choices((16, 32, 64)),
}
DEFAULTS: Values = {"lr": 0.001, "width": 32, "dropout": 0.1, "batch": 32}
TASKS = {
    "digits": Task(SPACE, DEFAULTS, digits, 10, functional.cross_entropy),
    "charlm": Task(SPACE, DEFAULTS, letters, len(set(TEXT)), functional.cross_entropy),
    "table": Task(SPACE, DEFAULTS, table, 1, functional.mse_loss),
}


def trained(task: Task, values: Mapping[str, Any]) -> Iterator[float]:
    """Train with some values; yield the loss on what is held back after each epoch."""
    inputs, targets, num_train = task.data()
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(inputs.shape[1], values["width"]),
        nn.ReLU(),
        nn.Dropout(values["dropout"]),
        nn.Linear(values["width"], task.outputs),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=values["lr"])
    for _ in range(EPOCHS):
        model.train()
        for part in torch.split(torch.randperm(num_train), values["batch"]):
            optimizer.zero_grad()
            task.loss(model(inputs[part]), targets[part]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        with torch.no_grad():
            yield task.loss(model(inputs[num_train:]), targets[num_train:]).item()


def with_optuna(task: Task, num: int, seed: int) -> dict[str, float]:
    """Search as one does with Optuna alone."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = distributions_of(task.space)

    def objective(trial: optuna.Trial) -> float:
        values = {name: trial._suggest(name, distribution) for name, distribution in distributions.items()}
        return list(trained(task, values))[-1]

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=num)
    return {"value": study.best_value, "epochs": num * EPOCHS, "trials": num}


def with_bessemer(task: Task, num: int, seed: int, scheduler: Literal["asha", "none"]) -> dict[str, float]:
    """Search as `bessemer tune` does, one trial after the other, until as many epochs are trained."""
    tuning = Tuning(num_trials=num * EPOCHS, seed=seed, scheduler=scheduler)
    question = Question("regret", "loss", "min", task.space, tuning, {}, task.defaults)
    epochs = 0
    with tempfile.TemporaryDirectory() as folder, closing(Journal(Path(folder))) as journal:
        study = Study(journal, question, lambda: {})
        while epochs < num * EPOCHS and (assignment := study.next()) is not None:
            for turn, loss in enumerate(trained(task, assignment.values), 1):
                epochs += 1
                if study.report(assignment.number, turn, loss, EPOCHS):
                    study.end(assignment.number, "stopped")
                    break
            else:
                study.end(assignment.number, "done")
        winner = study.winner()
        assert winner is not None
        value = winner.loss if math.isfinite(winner.loss) else math.inf
        return {"value": value, "epochs": epochs, "trials": len(study.trials)}


def one(job: tuple[str, str, int, int]) -> dict[str, float]:
    """Run one search, in a process of a pool."""
    torch.set_num_threads(1)
    name, way, num, seed = job
    if way == "optuna":
        return with_optuna(TASKS[name], num, seed)
    return with_bessemer(TASKS[name], num, seed, "asha" if way == EARLY else "none")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="searches of each way (count)")
    parser.add_argument("--pairs", type=int, dest="seeds", help="the same")
    parser.add_argument("--trials", type=int, default=30, help="trials of each search (count)")
    parser.add_argument("--processes", type=int, default=2, help="searches at a time (count)")
    parser.add_argument("--out", type=Path, default=Path("regret.json"), help="JSON file")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    ways = ("optuna", FULL, EARLY)
    results: dict[str, Any] = {}
    with ProcessPoolExecutor(arguments.processes) as pool:
        for name in TASKS:
            jobs = [(name, way, arguments.trials, seed) for seed in range(arguments.seeds) for way in ways]
            found = dict(zip(jobs, pool.map(one, jobs), strict=True))
            best = min(each["value"] for each in found.values())
            results[name] = {"best": best}
            for way in ways:
                mine = [each for job, each in found.items() if job[1] == way]
                regret = statistics.median(each["value"] - best for each in mine)
                epochs = statistics.median(each["epochs"] for each in mine)
                trials = statistics.median(each["trials"] for each in mine)
                results[name][way] = {
                    **{"regret": regret, "epochs": epochs, "trials": trials},
                    "values": [each["value"] for each in mine],
                }
                cost = f"{trials:.0f} trials, {epochs:.0f} epochs"
                print(f"{name:<8}{way:<26} regret {regret:.4f}  {cost}", flush=True)
            for way in ways[1:]:
                reached = results[name][way]["regret"] <= results[name]["optuna"]["regret"]
                results[name][way]["reached"] = reached
                print(f"{name}, {way}, no worse than Optuna's TPE: {'reached' if reached else 'MISSED'}")
    write(arguments.out, results)


if __name__ == "__main__":
    main()
