"""Is this machine ready to train? Each check says what it found and what to do about it.

`bessemer doctor` runs them all; `bessemer train` needs the same things and meets the same errors.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bessemer.config.settings import Settings
from bessemer.errors import BessemerError

_PACKAGES = ("ray", "torch", "mlflow", "pyarrow", "pydantic")
_MIN_DISK_BYTES = 2 * 2**30
# Measured on Linux: a worker of a small model, with torch, Ray Train and Ray Data loaded.
_WORKER_BYTES = 700 * 2**20

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        level: an error means that training would fail.
        found: what is there.
        todo: what to do about it; empty if nothing is.
    """

    name: str
    level: Level
    found: str
    todo: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Run every check, one after the other, for a run with these settings."""
    yield _versions()
    yield from _machine(settings)
    yield _asked("storage", lambda: _storage(settings))
    yield _asked("tracking store", lambda: _tracking(settings))
    yield _asked("ray", lambda: _ray(settings))
    yield _asked("placement", lambda: _placement(settings))


def _asked(name: str, question: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", question())
    except BessemerError as error:
        found = error.found + (f"; expected {error.expected}" if error.expected else "")
        return Check(name, "error", found, error.todo)


def _versions() -> Check:
    missing, found = [], [f"python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        return Check(
            "versions",
            "error",
            f"not installed: {', '.join(missing)}",
            "pip install -r requirements.lock",
        )
    return Check("versions", "ok", ", ".join(found))


def _machine(settings: Settings) -> Iterator[Check]:
    import psutil

    memory = psutil.virtual_memory()
    wanted = settings.scaling.min_workers * _WORKER_BYTES
    found = (
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free, "
        f"{settings.scaling.min_workers} workers take {wanted / 2**30:.1f} GiB or more"
    )
    low = memory.available < wanted
    yield Check(
        "memory",
        "warning" if low else "ok",
        found,
        "close other programs, or lower scaling.num_workers" if low else "",
    )
    folder = _local_folder(settings.checkpoint.storage_path)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Check(
        "disk",
        "warning" if free < _MIN_DISK_BYTES else "ok",
        f"{free / 2**30:.1f} GiB free at {folder}",
        "free some room, or set checkpoint.storage_path" if free < _MIN_DISK_BYTES else "",
    )


def _local_folder(storage_path: str) -> Path:
    """Return where runs take room on this machine."""
    from bessemer.training.home import scratch_of
    from bessemer.training.urls import is_url

    if is_url(storage_path):
        return scratch_of(storage_path.rstrip("/"))
    return Path(storage_path).expanduser().absolute()


def _storage(settings: Settings) -> str:
    from bessemer.training.storage import place_of, storage_folder

    folder = storage_folder(settings)
    place = place_of(folder)
    aside = "" if place == str(folder) else f"; files of runs are in {folder} too while they train here"
    return f"{place} can be written{aside}"


def _tracking(settings: Settings) -> str:
    from bessemer.tracking import check_store, without_password
    from bessemer.training.storage import storage_folder, tracking_of

    uri = tracking_of(settings, storage_folder(settings))
    check_store(uri)
    return f"{without_password(uri)} answers"


def _ray(settings: Settings) -> str:
    from bessemer.training.cluster import connect

    connection = connect(settings.cluster)
    cpus = sum(node.cpus for node in connection.nodes)
    gpus = sum(node.gpus for node in connection.nodes)
    kind = "a cluster started for this check" if connection.started_here else "a running cluster"
    auth = os.environ.get("RAY_AUTH_MODE", "disabled")
    return (
        f"{kind} at {connection.address}: {len(connection.nodes)} node(s), {cpus:g} CPU, "
        f"{gpus:g} GPU, authentication {auth}"
    )


def _placement(settings: Settings) -> str:
    from bessemer.training.trainer import place_workers

    placement = place_workers(settings)
    device = "GPU" if placement.use_gpu else "CPU"
    more = f", up to {placement.max_workers} when there is room" if placement.max_workers else ""
    return f"{placement.num_workers} workers on {device} fit{more}"
