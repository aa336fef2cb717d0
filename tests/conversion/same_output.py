"""Run research code and its project side by side, in one process and with one worker, and compare.

Not a test itself: `test_same_output.py` runs it in a process of its own, because it imports torch and
changes the working folder. The run is a stand-in that does as little as one worker needs, so what is
compared is the conversion alone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import random
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

import bessemer


class Loader(DataLoader[Any]):
    """A loader that counts."""

    def enumerate(self, start: int = 0) -> Iterator[tuple[int, Any]]:
        return enumerate(self, start)


class Run:
    """A run of one worker that keeps nothing."""

    device = torch.device("cpu")
    share = 1.0

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        self.logged: list[str] = []
        self.tracked: set[str] = set()

    def place(self, model: Any) -> Any:
        return model

    def track(self, **objects: Any) -> None:
        self.tracked |= set(objects)

    def loader(self, dataset: Any, *args: Any, shard: bool = True, **options: Any) -> Loader:
        return Loader(dataset, *args, **options)

    def epochs(self, *given: Any) -> Any:
        return given[0] if len(given) == 1 and not isinstance(given[0], int) else range(*given)

    def carry(self, **initial: Any) -> SimpleNamespace:
        return SimpleNamespace(**initial)

    totals = last = carry

    def log(self, metrics: dict[str, Any]) -> None:
        for name, value in metrics.items():
            assert float(value) == float(value), name
            self.logged.append(name)

    def save(self, value: Any, name: str) -> None:
        torch.save(value, self.output_dir / name)

    def saved(self, name: str) -> Path:
        return self.output_dir / name


def main(jobs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    bessemer.Run = Run  # type: ignore[misc, assignment]
    for job in jobs:
        os.chdir(job["folder"])
        yield {"name": job["name"], "before": original(job), **converted(job)}


def seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def original(job: dict[str, Any]) -> str:
    seed()
    sys.argv = [job["script"], *job["arguments"]]
    folder, known = str(Path(job["script"]).parent), set(sys.modules)
    sys.path.insert(0, folder)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_path(job["script"], run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
    sys.path.remove(folder)
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
            del sys.modules[name]
    return out.getvalue()


def converted(job: dict[str, Any]) -> dict[str, Any]:
    sys.path.insert(0, job["project"])
    module, _, function = job["entry"].partition(":")
    package = module.partition(".")[0]
    entry = getattr(importlib.import_module(module), function)
    settings = importlib.import_module(f"{package}.config.settings").Settings(**job["settings"])
    run = Run(Path(job["folder"]))
    seed()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        entry(run, settings)
    sys.path.remove(job["project"])
    return {"after": out.getvalue(), "logged": sorted(set(run.logged)), "tracked": sorted(run.tracked)}


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        given = json.load(file)
    target = Path(sys.argv[2]).resolve()
    target.write_text(json.dumps(list(main(given))))
