"""Stores of checkpoints on one folder, and what is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bessemer.training.checkpoints import FORMAT, CheckpointStore, State, comparison


def state_of(step: int, **more: Any) -> State:
    return {"format": FORMAT, "step": step, "weight": torch.full((3,), float(step)), **more}


class Stores:
    """Opens stores on one folder, and closes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.opened: list[CheckpointStore] = []

    def __call__(self, keep: int = 100, mode: str = "", url: str = "") -> CheckpointStore:
        better = comparison("loss" if mode else "", mode)
        self.opened.append(CheckpointStore(url or str(self.folder), keep, better, self.notes.append))
        return self.opened[-1]


def save_all(store: CheckpointStore, metrics: dict[int, float | None]) -> None:
    for step, metric in metrics.items():
        store.save(state_of(step), step, metric)
    store.wait()


def steps_of(store: CheckpointStore) -> list[int]:
    return [saved.step for saved in store.complete()]


def folder_of(stores: Stores, step: int) -> Path:
    return stores.folder / f"step-{step:010d}"


class Failing:
    """Does what it should and then fails, as a process that is killed in between."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, path: str, *arguments: Any, **options: Any) -> Any:
        if arguments == ("rb",) or options.get("mode") == "rb":
            return self.function(path, *arguments, **options)
        self.calls += 1
        if "manifest" not in path:
            self.function(path, *arguments, **options)
        raise OSError("No space left on device")
