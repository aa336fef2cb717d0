"""Runs the converted project with `bessemer train`, in a copy of the research code's folder, taped.

On a cluster of its own, since only processes that begin with the run have the tape.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bessemer.config.project import Project
from bessemer.proof.copies import Ground
from bessemer.proof.original import COPY_FOLDER, Taped, environment_for
from bessemer.proof.processes import run_bounded
from bessemer.proof.tape import configure, environment_of
from bessemer.proof.tapes import read_tapes
from bessemer.tracking import DATABASE_NAME


@dataclass(frozen=True)
class Way:
    """How a project is trained.

    Attributes:
        order: of the samples.
        num_workers: that train (count).
        is_even: whether dropout and statistics of a batch are switched off.
        is_shaken: whether gradients and parameters are changed in their last bits.
    """

    order: Literal["research", "canonical"]
    num_workers: int = 1
    is_even: bool = False
    is_shaken: bool = False


def train_command(project: Project, way: Way, storage: Path, seed: int, research_arguments: str) -> list[str]:
    """Return the command that trains a project; its runs and records go to `storage`."""
    # -P: the folder that it runs in is the research code's, whose modules may have any name.
    command = [sys.executable, "-P", "-m", "bessemer", "train", "--project", str(project.root)]
    if research_arguments:
        command.append(f"--research-args={research_arguments}")
    processors = min(1.0, (os.cpu_count() or 1) / way.num_workers)
    settings = {
        "scaling.num-workers": way.num_workers,
        "scaling.cpus-per-worker": f"{processors:.3f}",
        "scaling.device": "cpu",
        "scaling.max-failures": 0,
        "data.order": way.order,
        "data.source": "inline",
        "data.seed": seed,
        "cluster.address": "local",
        "checkpoint.storage-path": storage,
        "tracking.uri": f"sqlite:///{storage / DATABASE_NAME}",
        "tracking.log-model": "false",
        "tracking.system-metrics-every-s": 0,
    }
    return command + [f"--{name}={value}" for name, value in settings.items()]


def run_converted(
    project: Project,
    ground: Ground,
    way: Way,
    work: Path,
    name: str,
    log_file: Path,
    *,
    seed: int,
    steps: int,
    limit_s: float,
    research_arguments: str,
) -> Taped:
    """Train the project once.

    Args:
        project: a converted project.
        ground: the research code's, which its relative paths are meant for.
        way: how it is trained.
        work: folder for the copy, the run and the tapes.
        name: of the run.
        log_file: what it prints.
        seed: of all generators before the program starts.
        steps: after which it is ended (count); 0: it runs to its end.
        limit_s: how long it may take (seconds).
        research_arguments: the research code's own command line.
    """
    folder = ground.copied(work / COPY_FOLDER)
    tapes, storage = work / f"tapes-{name}", work / f"runs-{name}"
    storage.mkdir(parents=True)
    configure(tapes, steps=steps, ends_run=True, is_even=way.is_even, is_shaken=way.is_shaken)
    # Bessemer seeds its workers itself; Ray's own processes had better not all draw alike.
    environment = environment_of(tapes, environment_for(os.environ), None)
    environment.setdefault("RAY_AUTH_MODE", "disabled")
    # Ray itself looks for a running head where it is given no address.
    environment["RAY_ADDRESS"] = "local"
    command = train_command(project, way, storage, seed, research_arguments)
    ended = run_bounded(command, folder, environment, log_file, limit_s)
    return Taped(ended, tuple(read_tapes(tapes)))
