"""Runs one job on Ray Train and listens to it: the only place that builds a `TorchTrainer`.

Ray restarts the workers after a failure, as often as the ledger of attempts allows; each time the job
runs again from its first line and finds its checkpoint. What the workers tell comes through the
monitor and is shown while Ray's own call blocks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from bessemer.config.settings import Scaling, Settings
from bessemer.errors import BessemerError, TrackingError, TrainingError
from bessemer.training.account import Books
from bessemer.training.casualties import Casualties
from bessemer.training.chronicle import Chronicle
from bessemer.training.folders import LOGS_FOLDER, POSITIONS_FOLDER
from bessemer.training.gauges import Gauges
from bessemer.training.judging import Judge
from bessemer.training.relay import Recorder
from bessemer.training.room import waiting_told
from bessemer.training.worker import Job, home_of, train_worker
from bessemer.utils.console import TrainingScreen
from bessemer.utils.events import Event, Note, ProgramEnded, Tally, TurnEnded, TurnToJudge

# Ray Train looks after its workers this often; its default of two seconds delays the end of a run, and each
# look wakes a thread of every worker.
_RAY_POLL_S = "0.5"
# How long workers of a group that follows the cluster wait for room.
_START_TIMEOUT_S = "10"
# Ray looks this often whether a node is about to be taken away; its default is 5 seconds.
_PREEMPTION_POLL_S = "1"
# News come at once, and so does the end of the job; this is how long the driver waits in one call.
_NEWS_WITHIN_S = 2.0


@dataclass
class Heard:
    """What the driver has heard from the workers.

    Attributes:
        metrics: the last value of each metric.
        step: optimizer steps (count).
        num_turns: turns of the outer loop that are complete (count).
        num_attempts: worker groups that began (count).
        first_step_at: when the first optimizer step was done (seconds since 1970), or None.
        error: an error that no restart can mend, or None.
        stopped_at: the step at which the workers ended because they were asked to, or None.
        books: what the account of the run is drawn up from.
        chronicle: is told of every event, or None.
    """

    metrics: dict[str, float]
    step: int = 0
    num_turns: int = 0
    num_attempts: int = 0
    first_step_at: float | None = None
    error: BessemerError | None = None
    stopped_at: int | None = None
    books: Books = field(default_factory=Books)
    chronicle: Chronicle | None = None

    def take(self, event: Event) -> None:
        """Remember what matters of an event."""
        if self.chronicle is not None:
            self.chronicle.take(event)
        if isinstance(event, TurnEnded):
            self.metrics.update(event.metrics)
            self.step, self.num_turns = event.step, event.turn
        elif isinstance(event, ProgramEnded):
            self.metrics.update(event.metrics)
            self.step = event.step
        elif isinstance(event, Tally) and self.first_step_at is None:
            self.first_step_at = event.first_step_at
        self.books.take(event)


def launch(
    job: Job,
    settings: Settings,
    screen: TrainingScreen,
    heard: Heard,
    execute: Callable[[Job], None] | None = None,
    judge: Judge | None = None,
) -> None:
    """Run a job to its end.

    Args:
        job: what the workers do; its monitor must be running.
        settings: of the run.
        screen: shows what the workers tell.
        heard: filled with what the workers tell, also when the job fails.
        execute: runs the job to its end; by default on workers of Ray Train.
        judge: says of turns whether the run ends after them.

    Raises:
        BessemerError: the job failed; the first cause, as the worker named it.
    """
    assert job.monitor is not None
    failure: BaseException | None = None
    heard.books.asked_at = time.time()
    done = threading.Event()
    recorder = None
    if job.tracked is not None:
        recorder = Recorder(job.tracked, settings.tracking, job.monitor, home_of(job, settings))
    listener = threading.Thread(
        target=_listen,
        args=(job, recorder, heard, screen, done, judge),
        name="bessemer-listener",
        daemon=True,
    )
    # Those of an earlier driver say nothing of these workers.
    shutil.rmtree(job.run_dir / POSITIONS_FOLDER, ignore_errors=True)
    log_file = job.run_dir / LOGS_FOLDER / "ray.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    # Ray writes about dead workers and busy nodes to both streams; the screen says it in its own way.
    with (
        open(log_file, "a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        screen,
    ):
        listener.start()
        try:
            if execute is not None:
                execute(job)
            else:
                with waiting_told(lambda text: screen.show(Note(text))):
                    _trainer(job, settings.scaling).fit()
        except (ray.train.TrainingFailedError, ray.exceptions.RayError, BessemerError) as error:
            failure = error
        finally:
            done.set()
            with contextlib.suppress(ray.exceptions.RayError):
                job.monitor.wake()
            listener.join(timeout=10)
            if recorder is not None:
                with contextlib.suppress(TrackingError) if failure else contextlib.nullcontext():
                    recorder.close()
    with contextlib.suppress(ray.exceptions.RayError):
        heard.stopped_at = job.monitor.stopped_at()
    if heard.error is not None:
        raise heard.error
    if failure is not None:
        raise _named(failure, job) from failure


def _trainer(job: Job, scaling: Scaling) -> TorchTrainer:
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", _RAY_POLL_S)
    os.environ.setdefault("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", _PREEMPTION_POLL_S)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    placement = job.placement
    elastic = placement.max_workers is not None and job.mode == "train"
    if elastic:
        # Ray knows of a dead node late, and waits for room on it before it asks again what there is.
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", _START_TIMEOUT_S)
    assert job.monitor is not None
    return TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if placement.use_gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=(placement.num_workers, placement.max_workers) if elastic else placement.num_workers,
            elastic_resize_monitor_interval_s=scaling.resize_every_s,
            use_gpu=placement.use_gpu,
            resources_per_worker=placement.resources_per_worker,
        ),
        run_config=ray.train.RunConfig(
            name=job.run_dir.name,
            # Ray's own notes, by its controller on this node: no checkpoint goes through Ray, and of a run
            # at a URL nothing is kept here that another node or driver would need.
            storage_path=str(job.run_dir.parent),
            # Failures are counted by the ledger, which knows what Ray takes for one and is none; it ends
            # the run through the callback.
            failure_config=ray.train.FailureConfig(
                max_failures=-1, max_preemption_failures=scaling.max_preemptions
            ),
            callbacks=[Casualties(job.monitor, job.run_dir, sees_all=not job.home)],
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )


def _listen(
    job: Job,
    recorder: Recorder | None,
    heard: Heard,
    screen: TrainingScreen,
    done: threading.Event,
    judge: Judge | None,
) -> None:
    """Take news until the job is done, and then once more for what came last."""
    assert job.monitor is not None
    gauges = Gauges(job.project, job.name) if job.mode == "train" else None
    try:
        _take_news(job, recorder, heard, screen, gauges, done, judge)
    except Exception as error:
        # Or a worker would wait for ever for its metrics to be written.
        job.monitor.lose_driver(
            TrainingError(f"the driver stopped listening to its workers: {type(error).__name__}: {error}")
        )
        raise


def _take_news(
    job: Job,
    recorder: Recorder | None,
    heard: Heard,
    screen: TrainingScreen,
    gauges: Gauges | None,
    done: threading.Event,
    judge: Judge | None,
) -> None:
    assert job.monitor is not None
    last, received = False, -1
    while True:
        try:
            news = job.monitor.next_news(0.0 if last else _NEWS_WITHIN_S, received)
        except ray.exceptions.RayError as error:
            if last:
                return
            # The cluster went away, and the call that waits for the job says so; or it answers later.
            print(f"no news from the workers: {error}", file=sys.stderr, flush=True)
            last = done.wait(_NEWS_WITHIN_S)
            continue
        received = news.number
        heard.error, heard.num_attempts = news.error, news.num_attempts
        for event in news.events:
            heard.take(event)
            screen.show(event)
            if isinstance(event, TurnToJudge) and judge is not None:
                job.monitor.tell_verdict(event.turn, judge(event))
        # After the events: a checkpoint counts once its records are written, and then no turn before it may
        # be unknown to who judges.
        if recorder is not None:
            recorder.take(news.records)
        if gauges is not None:
            gauges.show(heard.books, news.events)
        if last:
            return
        last = done.is_set()


def _named(error: BaseException, job: Job) -> BessemerError:
    """Find the first cause in what Ray reports."""
    causes = list(getattr(error, "worker_failures", {}).values()) or [error]
    for cause in causes:
        current: BaseException | None = cause
        while current is not None:
            if isinstance(current, BessemerError):
                return current
            current = getattr(current, "cause", None) or current.__cause__
    text = str(causes[0]).strip().splitlines()
    return TrainingError(
        f"training failed: {text[0] if text else type(error).__name__}",
        expected="workers that live until the program ends",
        todo=f"see {shown_path(job.run_dir / LOGS_FOLDER)} and Ray's logs"
        + ("; scaling.max_preemptions allows more" if "preempt" in str(causes[0]) else ""),
    )


def shown_path(path: Path) -> Path:
    """Return a path as it is shown: from the current folder, if it is in there."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
