"""`fit`: one training run from settings to result.

The driver's side: it makes the run's folder, connects to Ray, opens the MLflow run, has the workers
do the job, and closes everything. How the job runs on Ray is in `launch`, what a worker does in
`worker`.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
from rich.console import Console

from bessemer.config.loading import fields_of, to_toml, value_at
from bessemer.config.settings import Settings
from bessemer.errors import RunStoppedError
from bessemer.tracking import (
    PendingRun,
    Status,
    TrackedRun,
    check_store,
    close_run,
    describe_run,
    open_run,
    patiently,
    reopen_run,
)
from bessemer.training.account import Account, Books
from bessemer.training.attaching import attach_logs
from bessemer.training.chronicle import Chronicle, State
from bessemer.training.folders import (
    LOGS_FOLDER,
    RAY_SNAPSHOT_FILE,
    RESULT_FILE,
    SETTINGS_FILE,
)
from bessemer.training.identity import check_same, identity_of
from bessemer.training.judging import Judging
from bessemer.training.lease import Lease
from bessemer.training.placement import Placement, decide_placement
from bessemer.training.stopping import StopWish
from bessemer.training.storage import (
    artifacts_of,
    checkpoints_of,
    home_of,
    make_run_dir,
    only_driver,
    place_of,
    record_run,
    recorded_run,
    storage_folder,
    tracking_of,
    write_record,
)
from bessemer.utils.console import TrainingScreen

if TYPE_CHECKING:
    from bessemer.training.checkpoints import Saved
    from bessemer.training.monitor import Monitor
    from bessemer.training.shelf import Shelf

_NOTE: Any = {"style": "yellow", "markup": False, "highlight": False, "soft_wrap": True}


@dataclass(frozen=True)
class Outcome:
    """What a training run came to.

    Attributes:
        name: of the run.
        run_dir: folder with its checkpoints, logs and files.
        metrics: the last value of each metric of the outer loop's rows.
        step: optimizer steps (count).
        checkpoint: the best checkpoint, or None.
        tracked: its MLflow run.
        num_attempts: worker groups that began; 1 if no worker failed (count).
        duration_s: from the call of `fit` to its end (seconds).
        first_step_at: when the first optimizer step was done (seconds since 1970), or None.
        account: where the time went.
    """

    name: str
    run_dir: Path
    metrics: Mapping[str, float]
    step: int
    checkpoint: Saved | None
    tracked: TrackedRun
    num_attempts: int
    duration_s: float
    first_step_at: float | None
    account: Account


@dataclass(frozen=True)
class Resume:
    """Which run is gone on with.

    Attributes:
        run_dir: its folder.
        allow_drift: whether code, settings, lock file and data may differ from those of its checkpoint.
        explores: whether its checkpoint may be of other settings, and optimizers take those of this run.
    """

    run_dir: Path
    allow_drift: bool = False
    explores: bool = False


@dataclass(frozen=True)
class Within:
    """What a run is a part of: something that has looked at the cluster and at MLflow for all its runs.

    Attributes:
        placement: how the run uses the cluster.
        here: whether its only worker trains in this process.
        judging: who says when it ends early; None for nobody.
        stop: a wish that it ends.
        later: does what training need not wait for; by default at once.
        shelf: keeps data sets that other runs read too.
    """

    placement: Placement
    here: bool = False
    judging: Judging | None = None
    stop: StopWish = field(default_factory=StopWish)
    later: Callable[[Callable[[], None]], object] = lambda work: work()
    shelf: Shelf | None = None


def fit(
    program: Callable[..., Any] | str,
    settings: Settings,
    *,
    project: str = "",
    search_path: Sequence[str] = (),
    code: Sequence[Path] = (),
    tags: Mapping[str, str] | None = None,
    console: Console | None = None,
    resume: Resume | None = None,
    within: Within | None = None,
) -> Outcome:
    """Train: run `program(run, settings)` on the workers that the settings ask for.

    Args:
        program: a function, or `package.module:function` to be imported on each worker.
        settings: the run's settings.
        project: name for the experiment and the folder; by default the function's.
        search_path: folders that workers put in front of `sys.path`.
        code: folders of the packages that the model needs when it has to be pickled.
        tags: more tags of the MLflow run.
        console: where progress is shown; by default standard output.
        resume: a run to go on with, instead of beginning a new one.
        within: what the run is a part of.

    Raises:
        RunStoppedError: SIGTERM came, or who judges the run ended it; it ended after a checkpoint and can
            be gone on with.
        CheckpointError: the run to go on with was made by other code, settings or data.
        ClusterError: no Ray cluster answers.
        PlacementError: the workers do not fit on the cluster.
        StorageError: the run's folder cannot be written.
        TrackingError: MLflow cannot be reached.
        TrainingError: the program failed, or workers failed more often than `max_failures`.
    """
    begun, called_at = time.monotonic(), time.time()
    console = console or Console(file=sys.stdout)
    identity = identity_of(settings, code, tags or {})
    project = project or getattr(program, "__name__", str(program))
    storage = storage_folder(settings, is_known=within is not None)
    uri = tracking_of(settings, storage)
    artifacts = artifacts_of(uri, storage)
    if resume is not None and not (resume.allow_drift or resume.explores):
        for saved in checkpoints_of(resume.run_dir, settings).complete()[-1:]:
            check_same(saved.identity, identity, Path(saved.path).name)
    is_part = within is not None
    if within is None:
        # Ray and MLflow take seconds each to start, and do not need each other.
        store_checked = started(lambda: check_store(uri))
        within = Within(place_workers(settings, code))
        store_checked.result()

    from bessemer.training.attempts import Limits
    from bessemer.training.here import run_here
    from bessemer.training.launch import Heard, launch, shown_path
    from bessemer.training.monitor import LocalMonitor, Monitor
    from bessemer.training.worker import Job

    run_dir = resume.run_dir if resume else make_run_dir(storage, project, settings.tracking.run_name)
    retry_s = settings.checkpoint.retry_s
    lock = only_driver(run_dir, lambda text: console.print(text, highlight=False, soft_wrap=True))
    with contextlib.ExitStack() as held:
        held.callback(lock.close)
        claim = lock.claim if isinstance(lock, Lease) else None
        home = home_of(run_dir, retry_s, claim)
        settings_toml = to_toml(settings)
        write_record(run_dir, SETTINGS_FILE, settings_toml, retry_s)
        recorded = recorded_run(run_dir) if resume else None
        # How it is searched is no parameter of a trial, and may change when the search goes on.
        parameters = {
            dotted: value_at(settings, dotted)
            for dotted, _ in fields_of(type(settings))
            if not (is_part and dotted.startswith("tuning."))
        }
        tracked: TrackedRun
        if recorded is not None:
            tracked = recorded
            reopen_run(tracked)
            # Ray's own notes of an earlier driver would have it look for what is no longer asked for.
            (run_dir / RAY_SNAPSHOT_FILE).unlink(missing_ok=True)
            if is_part and not (resume is not None and resume.explores):
                # It may have been killed before it had said what it is made of.
                within.later(lambda: describe_run(tracked, parameters, settings_toml))
        else:
            experiment = settings.tracking.experiment or project
            own_tags = {"bessemer.project": project, "bessemer.run_dir": place_of(run_dir), **(tags or {})}

            def opened() -> TrackedRun:
                make = partial(open_run, uri, experiment, run_dir.name, own_tags, artifacts)
                made = patiently(make, settings.tracking.retry_s) if is_part else make()
                record_run(run_dir, made)
                describe_run(made, parameters, settings_toml)
                return made

            if within.here:
                tracked = pending = PendingRun(uri, run_dir.name, opened)
                within.later(pending.open)
            else:
                tracked = opened()
        status: Status = "FAILED"
        name = _name_of(run_dir, storage / project)
        chronicle = Chronicle(run_dir, name, settings.tracking.log_level, is_brief=within.here)
        heard = Heard({}, books=Books(called_at), chronicle=chronicle)
        limits, logs = Limits.of(settings.scaling), str(shown_path(run_dir / LOGS_FOLDER))
        if home is not None:
            logs += f" and {home.url}/{LOGS_FOLDER}"
        monitor = LocalMonitor(limits, logs) if within.here else Monitor.start(limits, logs)
        if isinstance(lock, Lease):
            lock.on_lost = monitor.lose_driver
        # From here on it is closed when the run ends.
        held.pop_all()
    judging = within.judging
    try:
        job = Job(
            search_path=tuple(search_path),
            program=program if isinstance(program, str) else cloudpickle.dumps(program),
            settings=cloudpickle.dumps(settings),
            run_dir=run_dir,
            placement=within.placement,
            tracked=tracked,
            monitor=monitor,
            code=tuple(code),
            identity=identity,
            resumed=recorded is not None,
            allow_drift=resume is not None and resume.allow_drift,
            deciding=judging.deciding if judging is not None else None,
            explores=resume is not None and resume.explores,
            shelf=within.shelf,
            project=project,
            run_name=name,
            attempts_before=chronicle.attempts_before,
            home=home.url if home is not None else "",
            claim=claim,
        )
        execute = run_here if within.here else None
        with (
            chronicle.kept(),
            stopping(monitor, console, partial(chronicle.say, "stop_asked")),
            within.stop.heard_by(monitor.wish_stop),
        ):
            judge = judging.judge if judging is not None else None
            launch(job, settings, TrainingScreen(console), heard, execute, judge)
        asked = within.stop.is_made or judging is None
        status = "KILLED" if heard.stopped_at is not None and asked else "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except BaseException as error:
        chronicle.failed(error)
        raise
    finally:
        with contextlib.suppress(Exception):
            monitor.stop()
        account = heard.books.account(time.time())
        ended = {"bessemer.attempts": str(heard.num_attempts)}
        chronicle.end(_state_of(status, heard.stopped_at))
        if home is not None:
            home.send_logs()

        def closed() -> None:
            close_run(tracked, status, ended, account.metrics(), account.last_step)
            # Trials that take less time than to send their logs have them in their folders.
            if not within.here:
                attach_logs(tracked, run_dir, lambda text: console.print(f"note: {text}", **_NOTE))

        within.later(closed)
        if home is not None:
            home.close()
        lock.close()
    if heard.stopped_at is not None:
        raise RunStoppedError(
            f"the run {run_dir.name} was asked to stop; its checkpoint is of step {heard.stopped_at}",
            todo=f"bessemer train --project {project} --resume {run_dir.name}",
        )
    outcome = Outcome(
        name=run_dir.name,
        run_dir=run_dir,
        metrics=heard.metrics,
        step=heard.step,
        checkpoint=checkpoints_of(run_dir, settings).best(),
        tracked=tracked,
        num_attempts=heard.num_attempts,
        duration_s=time.monotonic() - begun,
        first_step_at=heard.first_step_at,
        account=account,
    )
    write_record(run_dir, RESULT_FILE, json.dumps(asdict(outcome), indent=2, default=str) + "\n", retry_s)
    return outcome


def _name_of(run_dir: Path, folder: Path) -> str:
    """Return the name of a run among those of its project; a trial's has its search in it."""
    return str(run_dir.relative_to(folder)) if run_dir.is_relative_to(folder) else run_dir.name


def _state_of(status: Status, stopped_at: int | None) -> State:
    if status == "FAILED":
        return "failed"
    return "stopped" if status == "KILLED" or stopped_at is not None else "complete"


@contextlib.contextmanager
def stopping(
    monitor: Monitor, console: Console, told: Callable[[str], object] = lambda _text: None
) -> Iterator[None]:
    """Turn the first SIGTERM into a wish to stop at the next step; a second one ends at once.

    Args:
        monitor: tells the workers.
        console: shows that it came.
        told: called with a sentence when it came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, before)
        monitor.wish_stop()
        console.print("SIGTERM: the run ends after a checkpoint at its next step", highlight=False)
        told("SIGTERM: the run ends after a checkpoint at its next step")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def started(work: Callable[[], None]) -> Future[None]:
    """Begin some work in a thread that nobody waits for when something else fails first."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="bessemer-store-check", daemon=True).start()
    return future


def place_workers(settings: Settings, code: Sequence[Path] = ()) -> Placement:
    """Connect to Ray and decide how a run uses the cluster.

    Args:
        settings: of the run.
        code: packages of the program, for nodes that may lack them.

    Raises:
        ClusterError: no Ray cluster answers.
        PlacementError: the workers do not fit on it.
    """
    from bessemer.training.cluster import connect

    connection = connect(settings.cluster, code)
    return decide_placement(settings.scaling, settings.data, connection.nodes)
