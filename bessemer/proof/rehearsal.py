"""Trains a project for a few steps in a process of its own, so that its tests can say whether it trains.

The process runs in a copy of what is beside the project and of the research code's folder, where the data
are, so nothing there is changed; it is ended when it takes too long.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bessemer.config.project import Project, read_project
from bessemer.errors import BessemerError, ProjectError, StorageError
from bessemer.proof.copies import LEFT_OUT, size_of
from bessemer.proof.original import environment_for, original_of
from bessemer.proof.processes import run_bounded

_WRITTEN = frozenset({"runs", "verification", "mlruns"})
_GIB = 2**30
_MOST_BYTES = 2 * _GIB


@dataclass(frozen=True)
class ModelCall:
    """The first call of a model while it trained: shape and dtype of what went in and came out."""

    model: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    is_finite: bool


@dataclass(frozen=True)
class Rehearsal:
    """What a project did in its first steps.

    Attributes:
        steps: of the optimizer that took most; 0 where parameters are updated by hand (count).
        losses: what `backward()` was called on, in order.
        num_parameters: tensors that the losses depend on (count).
        num_changed: those of them that are not what they were (count).
        calls: models that were called to be trained.
        missing: what is not here, so that nothing can be said; else empty.
        error: the traceback of what went wrong, or that it took too long; else empty.
    """

    steps: int = 0
    losses: tuple[float, ...] = ()
    num_parameters: int = 0
    num_changed: int = 0
    calls: tuple[ModelCall, ...] = ()
    missing: str = ""
    error: str = ""


def rehearse(root: Path, steps: int = 2, limit_s: float = 300.0) -> Rehearsal:
    """Train a project for a few steps on one CPU worker.

    Args:
        root: the project's folder.
        steps: after which it is ended (count).
        limit_s: how long it may take (seconds).

    Raises:
        ProjectError: there is no project in this folder.
    """
    project = read_project(root.resolve())
    with tempfile.TemporaryDirectory(prefix="bessemer-rehearsal-") as work:
        result, log_file = Path(work) / "result.json", Path(work) / "log.txt"
        try:
            folder = _ground(project, Path(work) / "copy")
        except StorageError as error:
            return Rehearsal(missing=error.found)
        # -P: the folder that it runs in holds research code, whose modules may have any name.
        command = [sys.executable, "-P", "-m", "bessemer.proof.few_steps", str(project.root), str(steps)]
        environment = environment_for(os.environ)
        ended = run_bounded([*command, str(result)], folder, environment, log_file, limit_s)
        if not result.is_file():
            return Rehearsal(error=f"no {steps} steps: {ended}")
        found = json.loads(result.read_text(encoding="utf-8"))
    calls = tuple(
        ModelCall(x["model"], tuple(x["inputs"]), tuple(x["outputs"]), x["is_finite"])
        for x in found.pop("calls")
    )
    return Rehearsal(**{**found, "losses": tuple(found["losses"]), "calls": calls})


def _ground(project: Project, area: Path) -> Path:
    """Copy the research code's folder, and over it what somebody put into the project's."""
    own = [x for x in project.root.iterdir() if not _is_written(project, x)]
    try:
        ground = original_of(project, [], None).ground
    except BessemerError:  # research code that is gone; the data may be in the project's own folder
        ground = None
    sources = [*own, *([ground.folder, *ground.others] if ground is not None else [])]
    total = sum(size_of(x) for x in sources)
    if total > _MOST_BYTES:
        raise StorageError(
            f"the data beside it have {total / _GIB:.1f} GiB, more than the "
            f"{_MOST_BYTES / _GIB:.0f} that are copied for a test"
        )
    folder = ground.copied(area) if ground is not None else area
    folder.mkdir(parents=True, exist_ok=True)
    for path in own:
        target = folder / path.name
        if path.is_dir():
            shutil.copytree(path, target, ignore_dangling_symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, target)
    return folder


def _is_written(project: Project, path: Path) -> bool:
    """Tell whether conversion, training or a tool wrote what lies in a project's folder."""
    if path.name in _WRITTEN or path.name in LEFT_OUT or path.name.startswith("."):
        return True
    try:
        manifest = json.loads((project.root / "conversion.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ProjectError(f"{project.root} has no conversion.json", expected="a converted project") from None
    names = {name.partition("/")[0] for name in manifest["files"]}
    return path.name in {*names, "conversion.json", "verification.json"}
