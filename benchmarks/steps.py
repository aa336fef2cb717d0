"""Step time and memory of the workers: Bessemer against plain PyTorch, the same model and data.

    python benchmarks/steps.py [--pairs 5] [--only cnn2] [--out steps.json]

Two workers: a small CNN and an MLP of 10 M parameters, against torchrun with DistributedDataParallel
and gloo. One worker: the same CNN and MLP against the script that a researcher has, with no library
but torch. A figure is the median time between two steps of one run (after the first 20), so start-up
does not count; the data are a tensor in memory, fetched in process (`data.source = "inline"`): the
data path has a benchmark of its own. Memory is the largest resident set of a worker.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pairs import Goal, interleaved, judge, run_once, write
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

_WARM_STEPS = 20
_GLOBAL_BATCH = int(os.environ.get("BENCHMARK_BATCH", "64"))
_STEPS = {"cnn": 200, "mlp": 80}
GOALS = {"cnn1": 1.03, "mlp1": 1.03, "cnn2": 1.02, "mlp2": 1.02}
MEMORY_BOUND = 1.3


def cnn() -> nn.Module:
    """A CNN of the size of PyTorch's first MNIST example; takes (batch, 1, 28, 28) float32."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(9216, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def mlp() -> nn.Module:
    """An MLP of 10 M parameters; takes (batch, 1, 28, 28) float32."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 2200), nn.ReLU(), nn.Linear(2200, 2200), nn.ReLU(),
        nn.Linear(2200, 1600), nn.ReLU(), nn.Linear(1600, 10),
    )  # fmt: skip


MODELS = {"cnn": cnn, "mlp": mlp}


def data(kind: str) -> TensorDataset:
    """Random images and labels for one epoch."""
    count = _STEPS[kind] * _GLOBAL_BATCH
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.rand(count, 1, 28, 28, generator=generator), torch.randint(0, 10, (count,), generator=generator)
    )


def train(model: nn.Module, loader: Any, optimizer: torch.optim.Optimizer) -> list[float]:
    """One epoch, as research code has it; returns when each step was done (seconds)."""
    done = []
    for x, y in loader:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        done.append(time.perf_counter())
    return done


def report(folder: str, rank: int, done: list[float]) -> None:
    """Leave this worker's figures in a file."""
    gaps = [
        after - before for before, after in zip(done[_WARM_STEPS:], done[_WARM_STEPS + 1 :], strict=False)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"step_ms": statistics.median(gaps) * 1000, "memory_mib": peak}
    Path(folder, f"worker-{rank}.json").write_text(json.dumps(figures))


def plain(kind: str, folder: str) -> None:
    """The research script; under torchrun, with DistributedDataParallel."""
    torch.manual_seed(0)
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    dataset, model = data(kind), MODELS[kind]()
    sampler: DistributedSampler[Any] | None = None
    if size > 1:
        torch.distributed.init_process_group("gloo")
        sampler = DistributedSampler(dataset)
        model = nn.parallel.DistributedDataParallel(model)
    loader = DataLoader(dataset, _GLOBAL_BATCH // size, shuffle=sampler is None, sampler=sampler)
    report(folder, rank, train(model, loader, torch.optim.SGD(model.parameters(), lr=0.01)))
    if size > 1:
        torch.distributed.destroy_process_group()


def bessemer_program(run: Any, _settings: Any) -> None:
    """The same with Bessemer."""
    kind, folder = os.environ["BENCHMARK_KIND"], os.environ["BENCHMARK_FOLDER"]
    dataset, model = data(kind), run.place(MODELS[kind]())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(dataset, _GLOBAL_BATCH, shuffle=True)
    done: list[float] = []
    for _ in run.epochs(1):
        done = train(model, loader, optimizer)
    report(folder, run.rank, done)


def with_bessemer(kind: str, folder: str, num_workers: int) -> None:
    """Train with `bessemer.fit` on a Ray cluster of its own."""
    from bessemer import Settings, fit

    os.environ.update(BENCHMARK_KIND=kind, BENCHMARK_FOLDER=folder)
    settings = Settings.model_validate(
        {
            "scaling": {"num_workers": num_workers},
            "data": {"source": "inline"},
            "checkpoint": {"storage_path": f"{folder}/runs"},
            "tracking": {"log_model": False, "uri": f"sqlite:///{folder}/mlflow.db"},
        }
    )
    fit("steps:bessemer_program", settings, project="steps", search_path=[str(Path(__file__).parent)])


def measured(way: str, kind: str, num_workers: int) -> dict[str, float]:
    """Run one way in a process of its own; return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable]
        if way == "plain" and num_workers > 1:
            command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_workers}"]
        command += [__file__, "--as", way, "--kind", kind, "--folder", folder, "--workers", str(num_workers)]
        run_once(command, Path(folder), BENCHMARK_KIND=kind, BENCHMARK_FOLDER=folder)
        workers = [json.loads(file.read_text()) for file in sorted(Path(folder).glob("worker-*.json"))]
    assert len(workers) == num_workers
    return {name: max(worker[name] for worker in workers) for name in workers[0]}


def main() -> int:
    """Measure all, or one way in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=5, help="rounds (count)")
    parser.add_argument("--only", choices=sorted(GOALS), help="model and number of workers")
    parser.add_argument("--out", type=Path, default=Path("steps.json"), help="JSON file")
    parser.add_argument("--as", dest="way", choices=["plain", "bessemer"], help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=sorted(MODELS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way == "plain":
        plain(arguments.kind, arguments.folder)
        return 0
    if arguments.way == "bessemer":
        with_bessemer(arguments.kind, arguments.folder, arguments.workers)
        return 0
    results: dict[str, Any] = {}
    for case, bound in GOALS.items():
        if arguments.only not in (None, case):
            continue
        kind, num_workers = case[:3], int(case[3])
        figures = interleaved(
            {way: partial(measured, way, kind, num_workers) for way in ("plain", "bessemer")},
            arguments.pairs,
        )
        goals = {"step time": Goal("bessemer.step_ms", "plain.step_ms", bound)}
        if num_workers > 1:
            goals["memory"] = Goal("bessemer.memory_mib", "plain.memory_mib", MEMORY_BOUND)
        results[case] = judge(f"{kind}, {num_workers} worker(s)", figures, goals)
        write(arguments.out, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
