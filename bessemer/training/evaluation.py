"""Judges a finished run again: its best checkpoint on the loaders that it does not train on.

The program itself is run for one turn of its outer loop, from the checkpoint, with the loaders that
it took optimizer steps on left empty; what it logs is the evaluation. So the evaluation code is the
researcher's own, at any number of workers, and exact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
from rich.console import Console

from bessemer.config.settings import Settings
from bessemer.errors import ProjectError, nearest
from bessemer.tracking import log_metrics
from bessemer.training.folders import CHECKPOINTS_FOLDER, RECORD_FILE, SETTINGS_FILE
from bessemer.training.trainer import (
    checkpoints_of,
    place_workers,
    recorded_run,
    storage_folder,
)
from bessemer.utils.console import TrainingScreen


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        run_dir: the run that was judged.
        step: optimizer steps of the checkpoint (count).
        metrics: what the program logged, by name.
    """

    run_dir: Path
    step: int
    metrics: dict[str, float]


def find_run(settings: Settings, project: str, name: str = "", needs_checkpoint: bool = True) -> Path:
    """Return the folder of a run by name, or of the newest.

    Args:
        settings: say where runs are.
        project: whose.
        name: of the run, or "" for the newest.
        needs_checkpoint: whether only runs with a checkpoint count.

    Raises:
        ProjectError: there is no such run.
    """
    folder = storage_folder(settings) / project
    runs = sorted(
        (
            path.parent
            for path in folder.glob(f"*/{CHECKPOINTS_FOLDER if needs_checkpoint else RECORD_FILE}")
            if path.is_file() or any(path.iterdir())
        ),
        key=lambda path: path.stat().st_mtime,
    )
    names = [path.name for path in runs]
    suffix = " with a checkpoint" if needs_checkpoint else ""
    if name and name not in names:
        raise ProjectError(
            f"project {project} has no run {name!r}{suffix} in {folder}",
            expected=nearest(name, names) or f"one of: {', '.join(names[-5:]) or 'none yet'}",
            todo=f"bessemer train --project {project}",
        )
    if not runs:
        raise ProjectError(
            f"project {project} has no run{suffix} in {folder}",
            expected="a run that was begun",
            todo=f"bessemer train --project {project}",
        )
    return runs[names.index(name)] if name else runs[-1]


def settings_file_of(run_dir: Path) -> Path:
    """Return the settings that a run was trained with."""
    return run_dir / SETTINGS_FILE


def evaluate(
    program: str,
    settings: Settings,
    run_dir: Path,
    *,
    search_path: Sequence[str] = (),
    console: Console | None = None,
) -> Evaluation:
    """Judge the best checkpoint of a run; the metrics go to its MLflow run as `evaluate/<name>`.

    Args:
        program: `package.module:function` of the project.
        settings: those of the run; scaling may differ.
        run_dir: folder of the run.
        search_path: folders that workers put in front of `sys.path`.
        console: where notes are shown.

    Raises:
        ProjectError: the run has no checkpoint, or the program evaluates nothing.
    """
    from bessemer.training.attempts import Limits
    from bessemer.training.launch import Heard, launch
    from bessemer.training.monitor import Monitor
    from bessemer.training.worker import Job

    saved = checkpoints_of(run_dir, settings).best()
    if saved is None:
        raise ProjectError(
            f"{run_dir} has no complete checkpoint",
            expected="a run that was trained for a turn of its outer loop",
        )
    placement = place_workers(settings)
    heard = Heard({})
    monitor = Monitor.start(Limits(max_failures=0))
    try:
        job = Job(
            search_path=tuple(search_path),
            program=program,
            settings=cloudpickle.dumps(settings),
            run_dir=run_dir / "evaluation",
            placement=placement,
            tracked=None,
            monitor=monitor,
            mode="evaluate",
            checkpoint=saved,
        )
        launch(job, settings, TrainingScreen(console or Console(quiet=True)), heard)
    finally:
        with contextlib.suppress(Exception):
            monitor.stop()
    if not heard.metrics:
        raise ProjectError(
            f"{program} logs no metric when it does not train",
            expected="an evaluation loop that calls run.log",
        )
    tracked = recorded_run(run_dir)
    if tracked is not None:
        named = {f"evaluate/{name}": value for name, value in heard.metrics.items()}
        log_metrics(tracked, named, saved.step)
    return Evaluation(run_dir, saved.step, dict(heard.metrics))
