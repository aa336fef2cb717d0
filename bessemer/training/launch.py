"""Runs one job on Ray Train and listens to it: the only place that builds a `TorchTrainer`.

Ray restarts the workers after a failure, up to `max_failures` times; each time the job runs again
from its first line and finds its checkpoint. What the workers tell comes through the monitor and is
shown while Ray's own call blocks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from bessemer.errors import BessemerError, TrainingError
from bessemer.training.account import Books
from bessemer.training.folders import LOGS_FOLDER
from bessemer.training.gauges import Gauges
from bessemer.training.noticing import Noticing
from bessemer.training.worker import Job, train_worker
from bessemer.utils.console import TrainingScreen
from bessemer.utils.events import Event, Tally, TurnEnded

# Ray Train looks after its workers this often; its default of two seconds delays the end of a run.
_RAY_POLL_S = "0.25"
_READ_EVENTS_EVERY_S = 0.2


@dataclass
class Heard:
    """What the driver has heard from the workers.

    Attributes:
        metrics: the last value of each metric of the outer loop's rows.
        step: optimizer steps (count).
        num_turns: turns of the outer loop that are complete (count).
        num_attempts: worker groups that began (count).
        first_step_at: when the first optimizer step was done (seconds since 1970), or None.
        error: an error that no restart can mend, or None.
        stopped_at: the step at which the workers ended because they were asked to, or None.
        books: what the account of the run is drawn up from.
    """

    metrics: dict[str, float]
    step: int = 0
    num_turns: int = 0
    num_attempts: int = 0
    first_step_at: float | None = None
    error: BessemerError | None = None
    stopped_at: int | None = None
    books: Books = field(default_factory=Books)

    def take(self, event: Event) -> None:
        """Remember what matters of an event."""
        if isinstance(event, TurnEnded):
            self.metrics.update(event.metrics)
            self.step, self.num_turns = event.step, event.turn
        elif isinstance(event, Tally) and self.first_step_at is None:
            self.first_step_at = event.first_step_at
        self.books.take(event)


def launch(job: Job, max_failures: int, screen: TrainingScreen, heard: Heard) -> None:
    """Run a job to its end.

    Args:
        job: what the workers do; its monitor must be running.
        max_failures: failures of workers after which Ray gives up (count).
        screen: shows what the workers tell.
        heard: filled with what the workers tell, also when the job fails.

    Raises:
        BessemerError: the job failed; the first cause, as the worker named it.
    """
    assert job.monitor is not None
    failure: BaseException | None = None
    heard.books.asked_at = time.time()
    done = threading.Event()
    listener = threading.Thread(
        target=_listen,
        args=(job, heard, screen, done),
        name="bessemer-listener",
        daemon=True,
    )
    log_file = job.run_dir / LOGS_FOLDER / "ray.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    # Ray writes about dead workers to the driver's standard error; the screen says it in its own way.
    with open(log_file, "a", encoding="utf-8") as log, contextlib.redirect_stderr(log), screen:
        listener.start()
        try:
            _trainer(job, max_failures).fit()
        except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
            failure = error
        finally:
            done.set()
            listener.join(timeout=10)
    with contextlib.suppress(ray.exceptions.RayError):
        heard.stopped_at = job.monitor.stopped_at()
    if heard.error is not None:
        raise heard.error
    if failure is not None:
        raise _named(failure, job, max_failures) from failure


def _trainer(job: Job, max_failures: int) -> TorchTrainer:
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", _RAY_POLL_S)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    placement = job.placement
    return TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if placement.use_gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=placement.num_workers,
            use_gpu=placement.use_gpu,
            resources_per_worker=placement.resources_per_worker,
        ),
        run_config=ray.train.RunConfig(
            name=job.run_dir.name,
            storage_path=str(job.run_dir.parent),
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
            callbacks=[Noticing(job.monitor)] if job.monitor is not None else [],
        ),
    )


def _listen(job: Job, heard: Heard, screen: TrainingScreen, done: threading.Event) -> None:
    """Read events until the job is done, and then once more for what came last."""
    assert job.monitor is not None
    gauges = Gauges(job.run_dir.name) if job.mode == "train" else None
    last = False
    while True:
        try:
            events, heard.error, heard.num_attempts = job.monitor.read()
        except ray.exceptions.RayError:
            return  # The cluster went away; the call that waits for the job says so.
        for event in events:
            heard.take(event)
            screen.show(event)
        if gauges is not None:
            gauges.show(heard.books, events)
        if last:
            return
        last = done.wait(_READ_EVENTS_EVERY_S)


def _named(error: BaseException, job: Job, max_failures: int) -> BessemerError:
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
        f"training failed after {max_failures} restarts: {text[0] if text else type(error).__name__}",
        expected="workers that live until the program ends",
        todo=f"see {_relative(job.run_dir / LOGS_FOLDER)} and Ray's logs; scaling.max_failures allows more",
    )


def _relative(path: Path) -> Any:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
