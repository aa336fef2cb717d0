"""What runs on each worker: builds the `Run`, calls the project's program, ends it properly.

`train_worker` is the function that Ray Train starts; everything it needs comes in a `Job`. The
pieces below it know nothing of Ray and are used by tests as they are.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import torch

from bessemer.config.project import package_of, resolve_function
from bessemer.config.settings import Settings
from bessemer.data.feed import OpenSource
from bessemer.data.generators import seed_generators
from bessemer.errors import BessemerError, TrackingError, TrainingError, UserError
from bessemer.tracking import TrackedRun, log_model, sign_in
from bessemer.training.attempts import details_of
from bessemer.training.checkpoints import CheckpointStore, Saved, State, comparison
from bessemer.training.folders import CHECKPOINTS_FOLDER, LOGS_FOLDER
from bessemer.training.home import Home, folder_of
from bessemer.training.judging import Deciding
from bessemer.training.last_words import crashes_written, mark, opened_position
from bessemer.training.lease import Claim
from bessemer.training.monitor import Attempt, Monitor
from bessemer.training.notices import Notices, sigterm_noted
from bessemer.training.observing import Observer
from bessemer.training.opening import Streams
from bessemer.training.outlet import Outlet, prints_of
from bessemer.training.placement import Placement
from bessemer.training.positions import all_ids
from bessemer.training.relay import RelayedWriter
from bessemer.training.run import Run, set_current_run
from bessemer.training.run_log import RunLog, say_ended, worker_log
from bessemer.training.session import Session, closing
from bessemer.training.shelf import Shelf
from bessemer.training.stopwatch import Stopwatch
from bessemer.training.surroundings import Mode, ProgramInspected, RunStopped, Surroundings
from bessemer.training.watchdog import EXIT_STATUS, Watchdog
from bessemer.utils.allocator import keep_freed_memory
from bessemer.utils.collectives import Group, says_a_peer_is_gone
from bessemer.utils.events import AttemptStarted, Note, Tally, TurnToJudge
from bessemer.utils.log_lines import Where

Program = Callable[[Run, Any], Any]


@dataclass(frozen=True)
class Job:
    """All that a worker is told.

    Attributes:
        search_path: folders that go in front of `sys.path` before anything below is unpickled.
        program: `package.module:function`, or a function pickled by value.
        settings: the project's settings, pickled.
        run_dir: folder of the run: checkpoints, logs, files.
        placement: how the run uses the cluster.
        tracked: where MLflow records it, or None for nowhere.
        monitor: the line to the driver.
        mode: how much of the program is run.
        code: folders of the project's packages, for a model that has to be pickled.
        checkpoint: which checkpoint to begin with instead of the newest.
        identity: what the run is made of; its checkpoints carry it.
        resumed: whether an earlier driver has trained this run.
        allow_drift: whether the data may differ from those that made the checkpoint.
        observe: makes what looks at the program on this worker, given its number, pickled; or None.
        folder: where the driver was started; relative paths of the program are meant from there.
        deciding: the turns at which the driver says whether the run ends; None: nobody judges it.
        explores: whether optimizers keep this run's options when they take another run's state.
        shelf: keeps data sets that other runs read too; None: this run has its own.
        project: name of the project.
        run_name: of the run; of a trial with its search. By default that of the folder.
        attempts_before: attempts that began under earlier drivers (count).
        home: URL of the run, if nodes do not share its folder; each has one of its own then.
        claim: the lease of the driver, of a run at a URL that is trained.
    """

    search_path: tuple[str, ...]
    program: str | bytes
    settings: bytes
    run_dir: Path
    placement: Placement
    tracked: TrackedRun | None
    monitor: Monitor | None
    mode: Mode = "train"
    code: tuple[Path, ...] = ()
    checkpoint: Saved | None = None
    identity: Mapping[str, str] = field(default_factory=dict)
    resumed: bool = False
    allow_drift: bool = False
    observe: bytes | None = None
    folder: str = field(default_factory=os.getcwd)
    deciding: Deciding | None = None
    explores: bool = False
    shelf: Shelf | None = None
    project: str = ""
    run_name: str = ""
    attempts_before: int = 0

    home: str = ""
    claim: Claim | None = None

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run_name or self.run_dir.name

    @property
    def checkpoints(self) -> str:
        """Where its checkpoints are: a path or a URL."""
        return f"{self.home}/{CHECKPOINTS_FOLDER}" if self.home else str(self.run_dir / CHECKPOINTS_FOLDER)


def home_of(job: Job, settings: Settings) -> Home | None:
    """Return where what the program saves is put; None if the job's folder is all there is."""
    if not job.home or job.mode != "train":
        return None
    return Home(job.home, job.run_dir, settings.checkpoint.retry_s, job.claim)


def train_worker(config: dict[str, Any]) -> None:
    """Run a job on this worker; the function that Ray Train starts."""
    import ray.train
    import ray.train.torch

    from bessemer.training.gauges import RankGauges

    job: Job = config["job"]
    # Ray has gone to a folder of its own, where no `../data` is; other machines may lack the driver's.
    if os.path.isdir(job.folder):
        os.chdir(job.folder)
    context = ray.train.get_context()
    group = Group(context.get_world_rank(), context.get_world_size())
    device = ray.train.torch.get_device()
    assert isinstance(device, torch.device)
    tell = RankGauges(job.project, job.name, group.rank).show if job.mode == "train" else _tell_nobody
    saved = run_job(job, group, device, Streams(job, group), tell)
    if job.mode == "train" and saved is not None:
        # Once, at the end: Ray Train polls reports every now and then and holds a single one.
        ray.train.report(
            {"step": saved.step},
            # One that is elsewhere is none of Ray's.
            checkpoint=None if job.home else ray.train.Checkpoint(saved.path),
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD,
        )


def _tell_nobody(_tally: Tally) -> None:
    pass


def run_job(
    job: Job,
    group: Group,
    device: torch.device,
    open_source: OpenSource | None,
    tell: Callable[[Tally], None] = _tell_nobody,
) -> Saved | None:
    """Run the project's program on one worker.

    Args:
        job: what to do.
        group: this worker among all.
        device: what it computes on.
        open_source: starts a stream for a loader, or None to fetch in process.
        tell: told now and then what this worker has counted.

    Returns:
        The best checkpoint, or None where there is none or no restart can mend what happened;
        the driver has been told why.

    Raises:
        TrainingError: the program failed; a restart may help.
    """
    keep_freed_memory()
    sys.path[:0] = [folder for folder in job.search_path if folder not in sys.path]
    settings: Settings = cloudpickle.loads(job.settings)
    if job.home and job.mode == "train":
        # The driver's folder is on another node, and may have another name there.
        job = replace(job, run_dir=folder_of(job.home))
    home = home_of(job, settings)
    try:
        return _run_job(job, settings, home, group, device, open_source, tell)
    finally:
        if home is not None:
            home.send_logs()


def _run_job(
    job: Job,
    settings: Settings,
    home: Home | None,
    group: Group,
    device: torch.device,
    open_source: OpenSource | None,
    tell: Callable[[Tally], None],
) -> Saved | None:
    checkpoint = settings.checkpoint
    attempt = group.broadcast_object(_begun(job, settings) if group.rank == 0 else None)
    if attempt.give_up is not None:
        return None
    trains, monitor = job.mode == "train", job.monitor
    outlet, stopwatch = Outlet(), Stopwatch(tell)
    if group.rank == 0:
        outlet = Outlet(_writer(job, settings, attempt), job.monitor, home)
        if monitor is not None:
            stopwatch = Stopwatch(partial(_tell_both, monitor, tell), attempt.number, attempt.reached)
    store = CheckpointStore(
        job.checkpoints,
        checkpoint.keep,
        better=comparison(checkpoint.best_metric, checkpoint.best_mode),
        note=lambda text: outlet.event(Note(text)),
        identity=job.identity,
        retry_s=checkpoint.retry_s,
        saved=monitor.send if monitor is not None else lambda _event: None,
    )
    if home is not None:
        home.fetch()
        # Nobody writes there before all workers of its node have what was there.
        group.gather_objects(None)
    state = _starting_state(job, store, group)
    if group.rank == 0:
        step = state["step"] if state else None
        where = f"{group.size} x {device.type}"
        outlet.event(AttemptStarted(attempt.number, where, step, attempt.why, attempt.wait_s, group.size))
    position = None
    if trains:
        first_step = state["step"] if state else 0
        position = opened_position(
            job.run_dir, group, attempt.number, first_step, lambda text: _tell(monitor, text)
        )
    surroundings = Surroundings(
        settings=settings,
        group=group,
        device=device,
        output_dir=job.run_dir,
        outlet=outlet,
        store=store if job.mode == "train" else None,
        resume=state,
        open_source=open_source if settings.data.source == "ray" else None,
        mode=job.mode,
        stop_wished=_stop_wish(job.monitor if group.rank == 0 else None),
        notices=(notices := _notices(job)),
        check_data=job.resumed and not job.allow_drift,
        position=position,
        stopwatch=stopwatch,
        package=package_of(job.program),
        observer=cloudpickle.loads(job.observe)(group.rank) if job.observe else Observer(),
        deciding=job.deciding if trains else None,
        ends_after=partial(_ends_after, monitor) if monitor is not None else lambda _turn: False,
        explores=job.explores,
        home=home,
    )
    seed_generators(settings.data.seed)
    log_file = job.run_dir / LOGS_FOLDER / f"{job.mode}.log"
    number = job.attempts_before + attempt.number
    with (
        _log_of(job, settings, group, number, state, lambda: outlet.muted) as log,
        prints_of(group.rank == 0, log_file, lambda: outlet.muted, [log.stdout] if log else ()),
        closing(Session(surroundings)) as session,
        _watched(session, settings.scaling.step_timeout_s, job.run_dir / LOGS_FOLDER),
        crashes_written(job.run_dir, group.rank) if trains else contextlib.nullcontext(),
        sigterm_noted(notices.sigterm) if trains else contextlib.nullcontext(),
    ):
        if log is not None:
            log.where = lambda: Where(number, session.hooks.step, session.epoch)
        failure = _run_program(job, session)
        stopwatch.end()
        if log is not None:
            say_ended(log, failure, session.hooks.step)
        if isinstance(failure, RunStopped):
            store.close()
            outlet.close()
            mark(position, "ended")
            if group.rank == 0 and job.monitor is not None:
                job.monitor.stopped(session.hooks.step)
            return None
        if failure is not None:
            # A checkpoint that is being written is none of what failed.
            with contextlib.suppress(BessemerError):
                store.close()
            outlet.abandon()
            _failed(job, session, failure)
            return None
        store.close()
        if home is not None and group.rank == 0:
            home.send()
        best = group.broadcast_object(store.best() if group.rank == 0 else None)
        if group.rank == 0:
            outlet.tags(_facts(session))
            if job.mode == "train" and best is not None:
                _log_best_model(job, session, store, best)
        outlet.close()
        mark(position, "ended")
    return best if isinstance(best, Saved) else None


def _log_of(
    job: Job,
    settings: Settings,
    group: Group,
    attempt: int,
    state: State | None,
    is_muted: Callable[[], bool],
) -> contextlib.AbstractContextManager[RunLog | None]:
    """Return what writes the log of this worker; other modes than training have none."""
    if job.mode != "train":
        return contextlib.nullcontext()
    where = Where(attempt, state["step"] if state else 0)
    level, told = settings.tracking.log_level, partial(_tell, job.monitor)
    return worker_log(job.run_dir, job.name, level, group, where, is_muted, told)


@contextlib.contextmanager
def _watched(session: Session, limit_s: float, logs: Path) -> Iterator[None]:
    """End this process when the session makes no progress for too long."""
    log_file = logs / f"hung-worker-{session.group.rank}.log"

    def end() -> None:
        mark(session.given.position, "hung")
        os._exit(EXIT_STATUS)

    watchdog = Watchdog(limit_s, lambda: session.progress, log_file, end)
    try:
        yield
    finally:
        watchdog.close()


def _begun(job: Job, settings: Settings) -> Attempt:
    """Count the attempt, and wait before it if the ones before it failed in a row."""
    if job.monitor is None:
        return Attempt(1, None)
    store = CheckpointStore(job.checkpoints, settings.checkpoint.keep, retry_s=settings.checkpoint.retry_s)
    complete = store.complete() if job.mode == "train" else []
    attempt = job.monitor.begin_attempt(complete[-1].step if complete else None)
    time.sleep(attempt.wait_s)
    return attempt


def _tell_both(monitor: Monitor, tell: Callable[[Tally], None], tally: Tally) -> None:
    monitor.send(tally)
    tell(tally)


def _tell(monitor: Monitor | None, text: str) -> None:
    if monitor is not None:
        monitor.send(Note(text))


def _ends_after(monitor: Monitor, turn: TurnToJudge) -> bool:
    """Tell the driver of a turn; where the run waits for what it says of it, return that."""
    monitor.send(turn)
    return turn.waits and monitor.verdict(turn.turn)


def _notices(job: Job) -> Notices:
    """Return what counts the notices that this worker will not live long, and tells the driver."""
    monitor = job.monitor
    if monitor is None:
        return Notices(frozenset, lambda _text: None)
    from bessemer.training.casualties import nodes_to_go

    return Notices(nodes_to_go, lambda text: monitor.noticed(Note(text)))


def _stop_wish(monitor: Monitor | None) -> Callable[[], bool]:
    """Return what tells whether the driver wants the run to end; it is waited for in the background."""
    if monitor is None:
        return lambda: False
    wished = threading.Event()

    def ask() -> None:
        with contextlib.suppress(Exception):  # the monitor ends with the run
            while not monitor.stop_wished():
                pass
            wished.set()

    threading.Thread(target=ask, name="bessemer-stop", daemon=True).start()
    return wished.is_set


def _run_program(job: Job, session: Session) -> Exception | RunStopped | None:
    run = Run(session)
    set_current_run(run)
    try:
        if isinstance(job.program, str):
            program = resolve_function(job.program, list(job.search_path))
        else:
            program = cloudpickle.loads(job.program)
        with contextlib.suppress(ProgramInspected):
            program(run, run.settings)
            session.finish()
        session.given.observer.finish()
        return None
    except RunStopped as stopped:
        return stopped
    except Exception as error:
        return error
    finally:
        set_current_run(None)


def _failed(job: Job, session: Session, error: Exception) -> None:
    """Tell the driver what went wrong, and Ray whether a restart may help."""
    log_file = job.run_dir / LOGS_FOLDER / f"error-worker-{session.group.rank}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    position = session.given.position
    mark(position, "failed")
    where = position.read() if position is not None else None
    traceback_text = "".join(traceback.format_exception(error))
    log_file.write_text(traceback_text + all_ids(where), encoding="utf-8")
    named = error if isinstance(error, BessemerError) else _as_training_error(error, log_file)
    if job.monitor is not None:
        if isinstance(named, UserError):
            # Every worker meets it at the same line, so all end here and none waits for another.
            job.monitor.fail(named)
            return
        details = details_of(where) if where is not None else f"worker {session.group.rank}"
        collateral = says_a_peer_is_gone(error)
        job.monitor.failed_at(session.hooks.step, named, session.group.rank, details, collateral)
    raise named from error


def _as_training_error(error: Exception, log_file: Path) -> TrainingError:
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename and "/bessemer/" not in frame.filename
    ]
    place = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    return TrainingError(
        f"the program failed{place}: {type(error).__name__}: {error}",
        expected="a program that runs to its end",
        todo=f"the traceback is in {log_file}",
    )


def _starting_state(job: Job, store: CheckpointStore, group: Group) -> State | None:
    """Load the checkpoint to begin with; all workers use the one that the main worker chose."""
    if job.mode == "inspect":
        return None
    if job.checkpoint is not None:
        return store.load(job.checkpoint)
    newest = store.newest() if group.rank == 0 else None
    chosen = group.broadcast_object(newest[0] if newest else None)
    if chosen is None:
        return None
    return newest[1] if newest else store.load(chosen)


def _writer(job: Job, settings: Settings, attempt: Attempt) -> RelayedWriter | None:
    if job.tracked is None or job.monitor is None:
        return None
    return RelayedWriter(
        job.monitor,
        attempt.number,
        resumed=job.resumed or attempt.number > 1,
        machine_every_s=settings.tracking.system_metrics_every_s,
        began_at=job.tracked.began_at,
    )


def _facts(session: Session) -> dict[str, str]:
    """Return tags that are known only once the program has run."""
    facts = {"bessemer.world_size": str(session.group.size)}
    for number, found in sorted(session.known_data.fingerprints(session.loaders).items()):
        facts[f"bessemer.data.{number}"] = found
    if facts:
        joined = " ".join(value for key, value in facts.items() if ".data." in key)
        facts["bessemer.data_fingerprint"] = joined
    return facts


def _log_best_model(job: Job, session: Session, store: CheckpointStore, best: Saved) -> None:
    """Log every model that was called with a single tensor, with the weights of the best checkpoint."""
    settings = session.given.settings
    if job.tracked is None or not settings.tracking.log_model:
        return
    sign_in(settings.tracking)
    state = store.load(best)
    for number, model in enumerate(session.models):
        names = [name for name, value in session.tracked.items() if value is model]
        name = names[0] if names else f"placed.{number}"
        example = session.examples.get(number)
        if example is None:
            session.outlet.event(
                Note(
                    f"{name} is not logged as an MLflow model: its input is not one tensor that NumPy has too"
                )
            )
            continue
        model.load_state_dict(state["tracked"][name])
        try:
            log_model(
                job.tracked,
                model.cpu().eval(),
                name.replace(".", "_"),
                example,
                job.code,
                best.step,
            )
        except TrackingError as error:
            session.outlet.event(Note(str(error).replace("\n", "; ")))
