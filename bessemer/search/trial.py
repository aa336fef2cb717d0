"""What runs in a trial's process: one full training run after the other, told to Ray Tune turn by turn.

A trial is a run like any other: its folder, its checkpoints, its MLflow run. Ray Tune asks for results;
that it asks again after a turn that decides means that the trial goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import cloudpickle
from ray import tune
from rich.console import Console

from bessemer.config.settings import Settings
from bessemer.errors import BessemerError, RunStoppedError, StorageError, TrackingError
from bessemer.search.copies import keep_aside, take_over, turns_done
from bessemer.search.space import with_values
from bessemer.search.study import Assignment
from bessemer.tracking import log_metrics
from bessemer.training.folders import LOGS_FOLDER, RECORD_FILE, RESULT_FILE
from bessemer.training.judging import Deciding, Judging
from bessemer.training.placement import Placement
from bessemer.training.shelf import Shelf
from bessemer.training.stopping import StopWish
from bessemer.training.storage import is_complete, only_driver, recorded_run, storage_folder
from bessemer.training.trainer import Resume, Within, fit
from bessemer.training.watchdog import EXIT_STATUS
from bessemer.utils.events import TurnToJudge

REPORTS_FILE = "reports.jsonl"
# Without news, a trial answers after so long, so that the search sees its budget and its user.
_NEWS_WITHIN_S = 0.5
# A run that is asked to end does so after its next step.
_END_WITHIN_S = 300.0
# One of a driver that was killed ends once it notices.
_FREE_WITHIN_S, _FREE_POLL_S = 60.0, 0.5
_LATER_S = 0.03


def name_of(number: int) -> str:
    """Return what the run of a trial is called."""
    return f"trial-{number:04d}"


@dataclass(frozen=True)
class Brief:
    """What all trials of a search have in common.

    Attributes:
        program: `package.module:function`, or a function pickled by value.
        settings: where the trials start from, pickled.
        project: name for the experiment and the folder.
        study_dir: folder of the search; runs are in it.
        search_path: folders that go in front of `sys.path`.
        code: folders of the project's packages.
        tags: of each trial's MLflow run.
        placement: how a trial uses the cluster.
        here: whether a trial trains in its own process.
        fetches_here: whether it fetches its data in this process too.
        deciding: the turns at which trials wait for a decision.
        folder: where the search was started; relative paths are meant from there.
        shelf: keeps data sets that trials share.
    """

    program: str | bytes
    settings: bytes
    project: str
    study_dir: Path
    search_path: tuple[str, ...]
    code: tuple[Path, ...]
    tags: Mapping[str, str]
    placement: Placement
    here: bool
    fetches_here: bool
    deciding: Deciding
    folder: str
    shelf: Shelf


@dataclass(frozen=True)
class Report:
    """What a trial has after a turn.

    Attributes:
        turn: turns that are complete (count).
        metrics: last value of each metric.
        num_turns: turns in all, or None.
        waits: whether the trial waits for a decision after it; it does not after its last one.
    """

    turn: int
    metrics: dict[str, float]
    num_turns: int | None
    waits: bool


@dataclass(frozen=True)
class End:
    """How a stretch of a trial ended.

    Attributes:
        state: done: trained to its end; paused: to where it waits for others; stopped: because it was told;
            again: it failed in a process that has run others, and is to be run in a fresh one; untracked:
            MLflow does not take what it writes.
        cause: why it failed.
        metrics: last value of each metric.
        turn: where it is paused (count).
    """

    state: Literal["done", "paused", "stopped", "failed", "again", "untracked"]
    cause: str = ""
    metrics: dict[str, float] | None = None
    turn: int = 0


@dataclass(frozen=True)
class News:
    """What a trial tells Ray Tune at a time.

    Attributes:
        reports: turns that were not told before.
        end: how it ended, or None.
    """

    reports: tuple[Report, ...] = ()
    end: End | None = None


Later = Callable[[Callable[[], None]], object]


def _told(work: Callable[[], None]) -> None:
    """Do something that a trial does not wait for; an error is written down, and ends nothing."""
    # A trial that begins has the process to itself: both would be slower together.
    time.sleep(_LATER_S)
    try:
        work()
    except BessemerError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)


class TrialRun:
    """One stretch of a trial, in a thread of its own.

    Args:
        brief: of the search.
        assignment: what to run.
        later: does what training need not wait for.
        is_fresh: whether this process has run no trial before.
    """

    def __init__(self, brief: Brief, assignment: Assignment, later: Later, is_fresh: bool) -> None:
        self._is_fresh = is_fresh
        self._brief = brief
        self._later = later
        self._assignment = assignment
        self.run_dir = brief.study_dir / name_of(assignment.number)
        self._changed = threading.Condition()
        self._reports: list[Report] = []
        self._end: End | None = None
        self._waits = self._told = self._ending = False
        self._verdict: bool | None = None
        self._stop = StopWish()
        self._thread = threading.Thread(target=self._run, name="bessemer-trial", daemon=True)
        self._thread.start()

    def next_news(self) -> News:
        """Wait for a turn that decides, the end, or a while; what was waited for before goes on."""
        with self._changed:
            # Only what was told can have been decided about.
            if self._waits and self._told:
                self._decide(ends=False)
            self._changed.wait_for(lambda: self._waits or self._end is not None, _NEWS_WITHIN_S)
            news = News(tuple(self._reports), self._end)
            self._reports, self._told = [], self._waits
            return news

    def end(self) -> None:
        """End the run, if it has not ended; its state is on storage when this returns.

        A run that comes to no end takes this process with it: another must not begin beside it.
        """
        with self._changed:
            self._ending = True
            if self._waits:
                self._decide(ends=True)
            elif self._end is None:
                self._stop.make()
        self._thread.join(_END_WITHIN_S)
        if self._thread.is_alive():
            os._exit(EXIT_STATUS)

    def _decide(self, ends: bool) -> None:
        self._waits, self._told, self._verdict = False, False, ends
        self._changed.notify_all()

    # In the thread

    def _run(self) -> None:
        # What a process keeps of earlier trials (start methods, registries, handlers) may be at fault.
        failed: Literal["failed", "again"] = "failed" if self._is_fresh else "again"
        try:
            end = self._trained()
        except RunStoppedError:
            end = self._stopped()
        except TrackingError as error:
            end = End("untracked", str(error))
        except BessemerError as error:
            end = End(failed, error.found)
        except BaseException as error:
            end = End(failed, f"{type(error).__name__}: {error}")
        with self._changed:
            self._end = end
            self._changed.notify_all()

    def _trained(self) -> End:
        brief, assignment, run_dir = self._brief, self._assignment, self.run_dir
        sys.path[:0] = [folder for folder in brief.search_path if folder not in sys.path]
        if os.path.isdir(brief.folder):
            os.chdir(brief.folder)
        _wait_until_free(run_dir)
        if run_dir.is_dir() and not (run_dir / RECORD_FILE).is_file():
            # A kill left it before its run was opened.
            shutil.rmtree(run_dir)
        self._tell_again()
        if is_complete(run_dir):
            result = json.loads((run_dir / RESULT_FILE).read_text(encoding="utf-8"))
            return End("done", metrics=result["metrics"])
        if assignment.source is not None:
            take_over(run_dir, brief.study_dir, name_of(assignment.source), assignment.source_turn)
            self._later(self._tag_copy)
        if assignment.until is not None and turns_done(run_dir) >= assignment.until:
            return self._stopped()
        resume = None
        if run_dir.is_dir():
            resume = Resume(run_dir, explores=assignment.until is not None)
        program = cloudpickle.loads(brief.program) if isinstance(brief.program, bytes) else brief.program
        log_file = brief.study_dir / LOGS_FOLDER / f"{run_dir.name}.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with open(log_file, "a", encoding="utf-8", buffering=1) as log:
            outcome = fit(
                program,
                self._settings(),
                project=brief.project,
                search_path=brief.search_path,
                code=brief.code,
                tags={**brief.tags, "bessemer.trial": str(assignment.number)},
                console=Console(file=log, width=160),
                resume=resume,
                within=Within(
                    *(brief.placement, brief.here, self._judging(), self._stop, self._later, brief.shelf)
                ),
            )
        return End("done", metrics=dict(outcome.metrics))

    def _tag_copy(self) -> None:
        """Say in MLflow what the trial goes on from; its parameters stay those that it began with."""
        tracked, source = recorded_run(self.run_dir), self._assignment.source
        if tracked is not None and source is not None:
            turn = self._assignment.source_turn
            tags = {
                f"bessemer.copied.{turn}": f"the state of {name_of(source)} after turn {turn}",
                f"bessemer.values.{turn}": json.dumps(self._assignment.values),
            }
            log_metrics(tracked, {}, 0, tags)

    def _settings(self) -> Settings:
        settings: Settings = cloudpickle.loads(self._brief.settings)
        tried = with_values(settings, self._assignment.values)
        place = storage_folder(tried, is_known=True) / self._brief.project
        run_name = str(self.run_dir.relative_to(place))
        if self._brief.fetches_here:
            # The same batches in the same order, wherever they are fetched.
            tried = tried.model_copy(update={"data": tried.data.model_copy(update={"source": "inline"})})
        return tried.model_copy(update={"tracking": tried.tracking.model_copy(update={"run_name": run_name})})

    def _judging(self) -> Judging:
        until = self._assignment.until
        return Judging(self._judge, Deciding(until) if until is not None else self._brief.deciding)

    def _judge(self, turn: TurnToJudge) -> bool:
        """Tell of a turn; where it decides, wait until Ray Tune asks again, or ends the trial."""
        report = Report(turn.turn, turn.metrics, turn.num_turns, turn.waits)
        self._write_down(report)
        until = self._assignment.until
        with self._changed:
            self._reports.append(report)
            if not turn.waits:
                return False
            # A worker that begins again before it has stopped comes to the same turn once more.
            if until is not None or self._ending:
                return True
            self._waits, self._told, self._verdict = True, False, None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._verdict is not None)
            return bool(self._verdict)

    def _stopped(self) -> End:
        until = self._assignment.until
        if until is not None and not self._stop.is_made:
            keep_aside(self.run_dir, self._brief.study_dir, until)
            return End("paused", turn=until)
        return End("stopped")

    # A turn that does not decide is told now and then; a kill must not lose it.

    def _write_down(self, report: Report) -> None:
        with self._reports_file("a") as file:
            file.write(json.dumps(asdict(report)) + "\n")

    def _tell_again(self) -> None:
        with contextlib.suppress(FileNotFoundError), self._reports_file("r") as file:
            for line in file:
                with contextlib.suppress(ValueError):  # cut off by a kill
                    self._reports.append(Report(**json.loads(line)))

    def _reports_file(self, mode: str) -> IO[str]:
        return open(self.run_dir / REPORTS_FILE, mode, encoding="utf-8")


def _wait_until_free(run_dir: Path) -> None:
    """Wait for a process of an earlier driver that still holds a run, before anything of it is touched.

    Raises:
        StorageError: it goes on for too long.
    """
    deadline = time.monotonic() + _FREE_WITHIN_S
    while run_dir.is_dir():
        try:
            only_driver(run_dir).close()
            return
        except StorageError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_FREE_POLL_S)


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """What Ray Tune starts: runs the trials that it is given, one after the other, in one process."""

    def setup(self, config: dict[str, Any], brief: Brief | None = None) -> None:
        """Begin the first trial."""
        assert brief is not None
        self._brief = brief
        # In the order in which it is asked for, a trial after the other.
        self._later = ThreadPoolExecutor(1, "bessemer-later")
        self._num_runs = 0
        self._is_spoilt = False
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """End the trial before, and begin another one; true: this process can do that."""
        self._run.end()
        if self._is_spoilt:
            # Ray Tune sees the process die, and the search assigns the trial again, to a new one.
            self._later.shutdown()
            os._exit(EXIT_STATUS)
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return what is new."""
        news = self._run.next_news()
        self._is_spoilt |= news.end is not None and news.end.state == "again"
        return {"news": news, "done": news.end is not None}

    def cleanup(self) -> None:
        """End what is still running."""
        self._run.end()
        self._later.shutdown()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: a run keeps its own checkpoints, and finds them."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: a run finds its own checkpoints."""

    def _begin(self, config: dict[str, Any]) -> None:
        # Ray has a folder for each trial, and may have taken away the one of the trial before.
        os.chdir(self._brief.folder if os.path.isdir(self._brief.folder) else "/")
        assignment = Assignment(**config["assignment"])
        self._run = TrialRun(self._brief, assignment, self._do_later, is_fresh=not self._num_runs)
        self._num_runs += 1

    def _do_later(self, work: Callable[[], None]) -> None:
        self._later.submit(_told, work)


def as_config(assignment: Assignment) -> dict[str, Any]:
    """Return an assignment as Ray Tune keeps it."""
    return {"assignment": asdict(assignment)}
