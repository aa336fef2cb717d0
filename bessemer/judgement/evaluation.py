"""Judges a checkpoint of a run, or a registered model, on the program's own evaluation data or on others.

The program itself is run for one turn of its outer loop, from the checkpoint, with the loaders that it
took optimizer steps on left empty. What it logs are its own metrics; what its model returned meanwhile
becomes a table, and the metrics of the task are computed from that here, once, so they do not depend on
the number of workers.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle
import numpy as np
import torch
from rich.console import Console

from bessemer.config.project import Project
from bessemer.config.settings import Settings
from bessemer.errors import ProjectError
from bessemer.judgement.making import Judged, make_split
from bessemer.judgement.parts import About, Predictions, joined
from bessemer.judgement.report import (
    CheckpointUsed,
    Report,
    folder_name,
    reports_of,
    request_of,
    write_report,
)
from bessemer.judgement.runs import BEST, changed_code, find_checkpoint
from bessemer.tracking import TrackedRun, check_store, log_folder, log_metrics
from bessemer.training.folders import EVALUATION_FOLDER
from bessemer.training.identity import identity_of
from bessemer.training.placement import Placement
from bessemer.training.storage import home_of, recorded_run, url_of
from bessemer.training.trainer import place_workers
from bessemer.utils.console import TrainingScreen

if TYPE_CHECKING:
    from bessemer.training.checkpoints import Saved

# What is left of the run that evaluates: logs, and what the program wrote.
_WORK_FOLDER = "work"
# The split of an evaluation whose data nobody saw.
_PROGRAM = "program"


@dataclass(frozen=True)
class Request:
    """What is to be judged.

    Attributes:
        checkpoint: "best", "last" or a step.
        split: name of the data; "" for those that the program judges itself on.
        weights: file with the weights of a registered model, or None.
        registered: its "name/version", or "".
        if_changed: whether an evaluation that would be the same is shown instead.
    """

    checkpoint: str = BEST
    split: str = ""
    weights: Path | None = None
    registered: str = ""
    if_changed: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        run_dir: the run that was judged.
        step: optimizer steps of the checkpoint (count).
        metrics: what the program logged, by name.
        reports: one for each split.
        unchanged: whether it was there already.
    """

    run_dir: Path
    step: int
    metrics: dict[str, float]
    reports: tuple[Report, ...]
    unchanged: bool = False


def evaluate(
    project: Project,
    settings: Settings,
    run_dir: Path,
    request: Request = Request(),
    console: Console | None = None,
) -> Evaluation:
    """Judge a run; metrics go to its MLflow run as `evaluate/...`, files to `evaluation/<split>`.

    Args:
        project: whose run it is.
        settings: those of the run; scaling and evaluation may differ.
        run_dir: folder of the run.
        request: what is judged by what.
        console: where notes are shown.

    Raises:
        ProjectError: the run has no such checkpoint, or the program evaluates nothing.
        DataError: the model returned NaN, or a sample is not there exactly once.
        TrackingError: MLflow cannot be reached; nothing was begun.
    """
    saved, choice = find_checkpoint(run_dir, settings, request.checkpoint)
    used = CheckpointUsed(
        step=saved.step, sha256=saved.sha256, path=saved.path, choice=choice, registered=request.registered
    )
    identity = request_of(
        {
            "checkpoint": saved.sha256,
            "registered": request.registered,
            "split": request.split,
            "evaluation": settings.evaluation.model_dump(),
            "identity": identity_of(settings, [project.package_dir], {}),
        }
    )
    if request.if_changed:
        known = _unchanged(project, settings, run_dir, identity)
        if known:
            return Evaluation(run_dir, saved.step, known[0].program, tuple(known), unchanged=True)
    tracked = recorded_run(run_dir)
    if tracked is not None:
        check_store(tracked.uri)
    root = run_dir / EVALUATION_FOLDER
    work = root / _WORK_FOLDER
    parts = work / f"parts-{secrets.token_hex(4)}"
    try:
        program = _run(project, settings, work, parts, saved, request, url_of(run_dir), console)
        remark = changed_code(saved, settings, project)
        judged = Judged(
            project=project.name,
            run=run_dir.name,
            run_id=tracked.run_id if tracked is not None else "",
            checkpoint=used,
            program=program,
            evaluation=settings.evaluation,
            seed=settings.data.seed,
            request=identity,
            remarks=(remark,) if remark else (),
        )
        try:
            return _kept(project.entry, root, parts, judged, tracked)
        finally:
            send_evaluation(run_dir)
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def _run(
    project: Project,
    settings: Settings,
    work: Path,
    parts: Path,
    saved: Saved,
    request: Request,
    home: str,
    console: Console | None,
) -> dict[str, float]:
    """Have the workers evaluate; returns what the program logged.

    Of a run at a URL that is one worker in this process: others could not hand over what they see.
    """
    from bessemer.judgement.watching import Watch, Watcher
    from bessemer.training.attempts import Limits
    from bessemer.training.here import run_here
    from bessemer.training.launch import Heard, launch
    from bessemer.training.monitor import LocalMonitor, Monitor
    from bessemer.training.worker import Job

    if settings.data.order == "research":
        # Only the canonical order knows which sample is which; what is judged by is not shuffled anyway.
        data = settings.data.model_copy(update={"order": "canonical"})
        settings = settings.model_copy(update={"data": data})
    if home:
        settings, placement = alone(settings)
    else:
        placement = place_workers(settings, [project.package_dir])
    search_path = (str(project.root),)
    watch = Watch(parts, request.split, settings.evaluation, search_path, request.weights)
    parts.mkdir(parents=True)
    heard = Heard({})
    limits = Limits(max_failures=0)
    monitor = LocalMonitor(limits) if home else Monitor.start(limits)
    try:
        job = Job(
            search_path=search_path,
            program=project.entry,
            settings=cloudpickle.dumps(settings),
            run_dir=work,
            placement=placement,
            tracked=None,
            monitor=monitor,
            mode="evaluate",
            checkpoint=saved,
            observe=cloudpickle.dumps(functools.partial(Watcher, watch)),
            home=home,
        )
        screen = TrainingScreen(console or Console(quiet=True))
        launch(job, settings, screen, heard, run_here if home else None)
    finally:
        with contextlib.suppress(Exception):
            monitor.stop()
    return dict(heard.metrics)


def alone(settings: Settings) -> tuple[Settings, Placement]:
    """Return settings and placement of one worker that needs no cluster."""
    scaling = settings.scaling.model_copy(update={"num_workers": 1})
    data = settings.data.model_copy(update={"source": "inline"})
    use_gpu = torch.cuda.is_available()
    return (
        settings.model_copy(update={"scaling": scaling, "data": data}),
        Placement(1, use_gpu, 1.0, float(use_gpu), 1, 0.0),
    )


def send_evaluation(run_dir: Path) -> None:
    """Put what evaluations have found to the run's home, if that is elsewhere."""
    home = home_of(run_dir)
    if home is not None:
        left_out = f"{EVALUATION_FOLDER}/{_WORK_FOLDER}/"
        home.send_folder(EVALUATION_FOLDER, lambda name: not name.startswith(left_out))


def _kept(entry: str, root: Path, parts: Path, judged: Judged, tracked: TrackedRun | None) -> Evaluation:
    """Measure what was seen, and put each split's folder where it belongs, whole."""
    program = dict(judged.program)
    found = joined(parts) or [_nothing_seen()]
    if not program and all(predictions.about.reason for predictions in found):
        raise ProjectError(
            f"{entry} logs no metric when it does not train, and its predictions could not be "
            f"observed: {found[0].about.reason}",
            expected="an evaluation loop over a loader, or one that calls run.log",
            todo="name a function in evaluation.predict: package.module:function",
        )
    made = []
    for number, predictions in enumerate(found):
        folder = parts / f"split-{number}"
        folder.mkdir()
        made.append((make_split(predictions, judged, folder), folder))
    try:
        if tracked is not None:
            _track(tracked, [report for report, _ in made], [folder for _, folder in made])
    except BaseException:
        # What was found is kept all the same, and is not relied on: the next time it is done again.
        for report, folder in made:
            write_report(report.model_copy(update={"request": ""}), folder)
        raise
    finally:
        for report, folder in made:
            _put(folder, root / folder_name(report.split), parts)
    return Evaluation(root.parent, judged.checkpoint.step, program, tuple(report for report, _ in made))


def _put(folder: Path, target: Path, parts: Path) -> None:
    """Put a folder in the place of another, which goes."""
    if target.exists():
        target.rename(parts / f"old-{target.name}")
    folder.rename(target)


def _track(tracked: TrackedRun, reports: list[Report], folders: list[Path]) -> None:
    step = reports[0].checkpoint.step
    metrics = {f"evaluate/{name}": value for name, value in reports[0].program.items()}
    for report in reports:
        for name, score in report.metrics.items():
            key = f"evaluate/{report.split}/{name}"
            if key in metrics and metrics[key] != score.value:
                # What the program calls so keeps its name.
                key = f"evaluate/{report.split}/measured/{name}"
            metrics[key] = score.value
    log_metrics(tracked, metrics, step)
    for report, folder in zip(reports, folders, strict=True):
        log_folder(tracked, folder, f"{EVALUATION_FOLDER}/{folder_name(report.split)}")


def _nothing_seen() -> Predictions:
    reason = "the program goes over no loader that it does not train on"
    return Predictions(About(-1, _PROGRAM, reason=reason), np.zeros(0, np.int64), {})


def _unchanged(project: Project, settings: Settings, run_dir: Path, identity: str) -> list[Report]:
    """Return the reports of an evaluation that would be the same, or none."""
    from bessemer.judgement.preview import data_of

    known = [report for report in reports_of(run_dir) if report.request == identity]
    if not known or any(not (run_dir / EVALUATION_FOLDER / folder_name(r.split)).is_dir() for r in known):
        return []
    here = data_of(project, settings)
    return known if all(report.data.fingerprint in here for report in known) else []
