"""`tune`: one search from settings to `best.toml`.

The driver's side: it checks the space and the cluster, opens or reopens the study and its MLflow run, has
the trials run, and writes down what came of them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import cloudpickle
from rich.console import Console

from bessemer.config.loading import to_toml, value_at
from bessemer.config.settings import Settings, of_trials
from bessemer.errors import RunStoppedError, SettingsError, StorageError, TrackingError
from bessemer.search.journal import JOURNAL_FILE, Journal, read
from bessemer.search.outcome import Found, find_study, found_of
from bessemer.search.plan import Plan, plan_of
from bessemer.search.question import Question
from bessemer.search.recording import StudyRecorder
from bessemer.search.screen import SearchScreen
from bessemer.search.space import contains, space_of
from bessemer.search.study import Study
from bessemer.search.trial import Brief, name_of
from bessemer.search.tuner import Search, run_trials
from bessemer.tracking import (
    Status,
    TrackedRun,
    check_store,
    close_run,
    describe_run,
    open_children,
    open_run,
    reopen_run,
    sign_in,
    tracking_uri,
)
from bessemer.training.cluster import connect
from bessemer.training.identity import identity_of
from bessemer.training.placement import Node
from bessemer.training.shelf import Shelf
from bessemer.training.storage import shared_folder
from bessemer.training.trainer import started
from bessemer.utils.console import guess_direction


@dataclass(frozen=True)
class Job:
    """What is searched for whom.

    Attributes:
        program: a function, or `package.module:function`.
        settings: where the trials start from, as `of_trials` returns them.
        project: name for the experiment and the folder.
        search_path: folders that trials put in front of `sys.path`.
        code: folders of the packages that a model needs when it has to be pickled.
        tags: of every MLflow run.
        parent: MLflow run that the search is a part of, or "".
        again: options of `bessemer tune` that go on with it; by default --resume with its name.
    """

    program: Callable[..., Any] | str
    settings: Settings
    project: str
    search_path: tuple[str, ...] = ()
    code: tuple[Path, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""
    again: str = ""

    @property
    def program_name(self) -> str:
        """What the program is called in a study."""
        if isinstance(self.program, str):
            return self.program
        return getattr(self.program, "__qualname__", str(self.program))


def tune(
    program: Callable[..., Any] | str,
    settings: Settings,
    *,
    project: str = "",
    search_path: Sequence[str] = (),
    code: Sequence[Path] = (),
    tags: Mapping[str, str] | None = None,
    console: Console | None = None,
    name: str = "",
    resume: str | None = None,
) -> Found:
    """Search better settings, as the `[tuning]` section says, and write the best as `best.toml`.

    Args:
        program: a function, or `package.module:function` to be imported by each trial.
        settings: where the trials start from.
        project: name for the experiment and the folder; by default the function's.
        search_path: folders that trials put in front of `sys.path`.
        code: folders of the packages that a model needs when it has to be pickled.
        tags: more tags of the MLflow runs.
        console: where progress is shown; by default standard output.
        name: of a new search; by default one is made from the time.
        resume: name of a search to go on with, "" for the newest, None to begin one.

    Raises:
        SettingsError: the space is empty or wrong, no metric is chosen, or the search to go on with has
            another space.
        PlacementError: not even one trial fits on the cluster.
        NeverLoggedError: trials do not log the metric.
        ProjectError: there is no search to go on with.
        StorageError: a search of that name exists, or another process runs it.
        ClusterError: no Ray cluster answers, or it went away; the search can be gone on with.
        TrainingError: every trial fails.
        RunStoppedError: SIGTERM came; the search can be gone on with.
        KeyboardInterrupt: Ctrl-C; the search can be gone on with.
    """
    project = project or getattr(program, "__name__", str(program))
    job = Job(program, of_trials(settings), project, tuple(search_path), tuple(code), dict(tags or {}))
    console = console or Console(file=sys.stdout)
    question = question_of(job)
    storage = shared_folder(settings, "a search")
    if resume is not None:
        folder = find_study(storage, project, resume)
    else:
        if name and (name in ("newest", "..") or name != Path(name).name):
            raise SettingsError(
                f"a search cannot be called {name!r}", expected="the name of a new folder, such as wider"
            )
        folder = storage / project / (name or f"search-{time.strftime('%Y%m%d-%H%M%S')}")
        _check_free(folder, question, project)
    return search(job, question, folder, console)


def question_of(job: Job) -> Question:
    """Return what a search asks.

    Raises:
        SettingsError: the space is empty or wrong, or no metric is chosen.
    """
    settings, tuning = job.settings, job.settings.tuning
    space = space_of(settings)
    metric = tuning.metric or settings.checkpoint.best_metric
    if not metric:
        raise SettingsError(
            "no metric to judge trials by",
            expected="tuning.metric, or checkpoint.best_metric",
            todo='add metric = "test/loss" under [tuning] in settings.toml',
        )
    if tuning.scheduler == "pbt" and tuning.sampler == "grid":
        raise SettingsError(
            'tuning.sampler = "grid" with tuning.scheduler = "pbt"',
            expected="a population that begins at random, or by TPE",
            todo='set tuning.sampler = "random"',
        )
    identity = {
        key: value
        for key, value in identity_of(settings, job.code, job.tags).items()
        if key.removeprefix("setting ") not in space
    }
    now = {name: value_at(settings, name) for name in space}
    begins = tuning.begin_with_defaults and tuning.sampler != "grid" and contains(space, now)
    first = now if begins else None
    return Question(job.program_name, metric, _mode_of(metric, settings), space, tuning, identity, first)


def _mode_of(metric: str, settings: Settings) -> Literal["min", "max"]:
    """Return whether a smaller or a larger metric is better: as settings say, or as its name does."""
    if settings.tuning.mode:
        return settings.tuning.mode
    if metric == settings.checkpoint.best_metric:
        return settings.checkpoint.best_mode
    smaller = guess_direction(metric)
    if smaller is None:
        raise SettingsError(
            f"nobody knows whether a smaller or a larger {metric} is better",
            expected='tuning.mode = "min" or "max"',
            todo="add it under [tuning] in settings.toml",
        )
    return "min" if smaller else "max"


def planned(job: Job) -> tuple[Question, Plan, tuple[Node, ...]]:
    """Return what a search would do, without doing it.

    Raises:
        SettingsError: the space is empty or wrong, or no metric is chosen.
        PlacementError: not even one trial fits on the cluster.
        ClusterError: no Ray cluster answers.
    """
    question = question_of(job)
    shared_folder(job.settings, "a search", is_known=True)
    nodes = connect(job.settings.cluster, job.code).nodes
    return question, plan_of(job.settings, nodes, question.num_trials), nodes


def search(job: Job, question: Question, folder: Path, console: Console) -> Found:
    """Begin a search, or go on with one; see `tune`."""
    settings = job.settings
    storage = shared_folder(settings, "a search")
    sign_in(settings.tracking)
    uri = tracking_uri(settings.tracking.uri, storage)
    if (folder / JOURNAL_FILE).is_file():
        _check_journal(folder, question)
    # Ray and MLflow take seconds each to start, and do not need each other.
    store_checked = started(lambda: check_store(uri))
    loaded = started(question.chooser().load)
    plan = plan_of(settings, connect(settings.cluster, job.code).nodes, question.num_trials)
    store_checked.result()
    loaded.result()
    with closing(Journal(folder)) as journal:
        is_new = not journal.lines()
        study = Study(journal, question, lambda: asdict(_opened(job, question, folder, uri, storage)))
        tracked = TrackedRun(**study.parent)
        if not is_new:
            reopen_run(tracked)
        status: Status = "FAILED"
        recorder = StudyRecorder(study, tracked, folder, not is_new, settings.tracking.retry_s)
        try:
            if not study.is_over:
                stopped_by = _run(job, study, plan, folder, console, recorder)
                again = job.again or f"--resume {folder.name}"
                todo = f"bessemer tune --project {job.project} {again}"
                if stopped_by == "SIGINT":
                    status = "KILLED"
                    console.print(f"go on with: {todo}", highlight=False, soft_wrap=True)
                    raise KeyboardInterrupt
                if stopped_by:
                    status = "KILLED"
                    raise RunStoppedError(f"the search {folder.name} was asked to stop", todo=todo)
            _close_children(study, tracked)
            found = found_of(study, folder, settings, tracked)
            study.check_found()
            if found.best_file is not None:
                recorder.file(found.best_file)
            status = "FINISHED"
        finally:
            # What ended the search is worth more to know than that MLflow does not answer either.
            ended_by = sys.exc_info()[0]
            with suppress(TrackingError) if ended_by is not None else nullcontext():
                try:
                    recorder.close()
                finally:
                    close_run(tracked, status, {"bessemer.trials": str(len(study.trials))})
        for note in recorder.notes:
            console.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    return found


def _run(job: Job, study: Study, plan: Plan, folder: Path, console: Console, recorder: StudyRecorder) -> str:
    """Run the trials of a study; return the name of the signal that ended it, or ""."""
    program = job.program if isinstance(job.program, str) else cloudpickle.dumps(job.program)
    parent = {"mlflow.parentRunId": TrackedRun(**study.parent).run_id, "bessemer.search": folder.name}
    brief = Brief(
        program=program,
        settings=cloudpickle.dumps(job.settings),
        project=job.project,
        study_dir=folder,
        search_path=job.search_path,
        code=job.code,
        tags={**job.tags, **parent},
        placement=plan.placement,
        here=plan.here,
        fetches_here=plan.fetches_here,
        deciding=study.deciding(),
        folder=os.getcwd(),
        shelf=Shelf.start(),
    )
    screen = SearchScreen(console, study, plan)
    driver = Search(study, plan, screen, recorder.changed, job.settings.scaling.max_failures)
    try:
        with screen:
            run_trials(driver, plan, brief)
    finally:
        with suppress(Exception):  # the cluster may be gone
            brief.shelf.stop()
    return driver.stopping.name if driver.stopping is not None else ""


def _opened(job: Job, question: Question, folder: Path, uri: str, storage: Path) -> TrackedRun:
    """Open the MLflow run of a search."""
    settings = job.settings
    parameters = {
        "metric": question.metric,
        "mode": question.mode,
        **{f"space/{name}": str(entry) for name, entry in question.space.items()},
        **{
            f"tuning.{name}": value
            for name, value in settings.tuning.model_dump().items()
            if name not in ("space", "suggestions", "metric", "mode")
        },
    }
    tags = {
        **job.tags,
        "bessemer.project": job.project,
        "bessemer.search_dir": str(folder),
        **({"mlflow.parentRunId": job.parent} if job.parent else {}),
    }
    experiment = settings.tracking.experiment or job.project
    tracked = open_run(uri, experiment, folder.name, tags, storage)
    describe_run(tracked, parameters, to_toml(settings))
    return tracked


def _close_children(study: Study, tracked: TrackedRun) -> None:
    """Close the MLflow runs of trials that are over and were killed before they could do so."""
    over = {name_of(trial.number): trial for trial in study.trials.values() if trial.is_over}
    for child in open_children(tracked):
        if child.name in over:
            close_run(child, "FAILED" if over[child.name].state == "failed" else "FINISHED")


def _check_journal(folder: Path, question: Question) -> None:
    first = next(read(folder / JOURNAL_FILE), None)
    if first is not None:
        question.check_same(first, folder.name)


def _check_free(folder: Path, question: Question, project: str) -> None:
    """Refuse the name of a search that exists.

    Raises:
        SettingsError: it has another space, which is worth more to know than that it exists.
        StorageError: it exists.
    """
    if not folder.exists():
        return
    if (folder / JOURNAL_FILE).is_file():
        _check_journal(folder, question)
    raise StorageError(
        f"there is a search or run {folder.name} of {project} already: {folder}",
        expected="a name that is not taken",
        todo=f"go on with it by --resume {folder.name}, or choose another name",
    )
