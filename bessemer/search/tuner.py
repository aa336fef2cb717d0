"""Has Ray Tune run the trials of a study: the only place that builds a `Tuner`.

Ray Tune places trials, starts and reuses their processes, and starts one again that died. What is tried
and what ends early is the study's: its searcher and its scheduler here only pass on. So nothing of Ray
Tune's own state is needed to go on with a search, and none is kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune as ray_tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from bessemer.errors import BessemerError, ClusterError, TrackingError
from bessemer.search.plan import Plan
from bessemer.search.screen import SearchScreen
from bessemer.search.study import Study
from bessemer.search.trial import Brief, End, News, TrialActor, as_config
from bessemer.training.cluster import head_watched
from bessemer.training.folders import LOGS_FOLDER
from bessemer.training.room import waiting_told

_RAY_FOLDER = "ray"
_SPENT_EVERY_S = 10.0
_OPTIONS = {
    # A trial's folders are its run's own.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The search handles Ctrl-C itself, and keeps its own journal.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}


class Search:
    """One driver's part of a search: what Ray Tune asks and tells, in terms of the study.

    Args:
        study: what is decided.
        plan: how trials share the cluster.
        screen: shows what happens.
        redraw: called when something has changed that figures show.
        max_deaths: how often the process of a trial may die (count).

    Attributes:
        error: what ended the search.
        stopping: the signal that asked for its end, or None.
    """

    def __init__(
        self, study: Study, plan: Plan, screen: SearchScreen, redraw: Callable[[], None], max_deaths: int
    ) -> None:
        self.study = study
        self._max_deaths = max_deaths
        self._deaths: Counter[int] = Counter()
        self.error: BessemerError | None = None
        self.stopping: signal.Signals | None = None
        self._plan = plan
        self._screen = screen
        self._redraw = redraw
        self._numbers: dict[str, int] = {}
        self._begun: dict[int, float] = {}
        self._gpu_s = 0.0
        self._spent_at = time.monotonic()

    @property
    def ends(self) -> bool:
        """Whether nothing more is begun, and what runs is stopped."""
        return bool(self.error or self.stopping or self.study.out_of_budget())

    def assign(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return what a new trial of Ray Tune's runs; None: nothing now; FINISHED: nothing any more."""
        if self.ends:
            return str(Searcher.FINISHED)
        if len(self.study.active) >= self._plan.num_at_once:
            return None
        assignment = self.study.next()
        if assignment is None:
            return str(Searcher.FINISHED) if self.study.is_over else None
        self._numbers[trial_id] = assignment.number
        self._begun[assignment.number] = time.monotonic()
        self._screen.began(self.study.trials[assignment.number])
        return as_config(assignment)

    def take(self, trial_id: str, news: News) -> bool:
        """Take what a trial tells; return whether Ray Tune is to stop it."""
        number = self._numbers[trial_id]
        try:
            return self._take(number, news)
        except BessemerError as error:
            self.error = self.error or error
            self._release(number)
            return True

    def _take(self, number: int, news: News) -> bool:
        study = self.study
        metric = study.question.metric
        for report in news.reports:
            study.check_logged(number, report.turn, report.metrics)
            if metric not in report.metrics:
                continue
            value = report.metrics[metric]
            ends = study.report(number, report.turn, value, report.num_turns, decides=report.waits)
            study.trials[number].metrics = dict(report.metrics)
            if ends:
                self._end(number, End("stopped", metrics=report.metrics))
                return True
        if news.end is not None:
            self._end(number, news.end)
        elif news.reports:
            self._screen.reported(study.trials[number])
        self._spend()
        if self.ends and news.end is None:
            self._release(number)
            return True
        return False

    def died(self, trial_id: str) -> None:
        """The process of a trial has died; it is assigned again, and goes on from its checkpoint."""
        number = self._numbers.get(trial_id)
        if number is None or self.study.trials[number].is_over or number not in self.study.active:
            return
        self._deaths[number] += 1
        if self._deaths[number] <= self._max_deaths:
            self._release(number)
            return
        cause = f"its process ended without a word {self._deaths[number]} times"
        try:
            self._end(number, End("failed", cause))
        except BessemerError as error:
            self.error = self.error or error

    def waits(self, text: str) -> None:
        """Take what no trial can begin for."""
        self._screen.note(text)

    def finish(self) -> None:
        """Write down what was spent."""
        for number in list(self._begun):
            self._release(number)
        self._spend(at_once=True)

    def _end(self, number: int, end: End) -> None:
        study = self.study
        self._release(number)
        if end.state == "paused":
            study.pause(number, end.turn)
            self._screen.reported(study.trials[number])
            return
        if end.state == "untracked":
            raise TrackingError(end.cause, todo="see that MLflow answers, and go on with --resume")
        if end.state == "again" or (end.state == "stopped" and end.metrics is None):
            return  # it goes on in another process, or when the search is resumed
        if end.state == "done":
            self._check_result(number, end)
        assert end.state in ("done", "stopped", "failed")
        study.end(number, end.state, end.cause, end.metrics)
        self._screen.ended(study.trials[number])
        self._redraw()
        study.check_failures()

    def _check_result(self, number: int, end: End) -> None:
        """Take the metric of a program that has no turns, or logs after them."""
        metrics = end.metrics or {}
        self.study.check_logged(number, self.study.question.tuning.grace_turns, metrics)
        trial = self.study.trials[number]
        if not trial.losses:
            self.study.report(number, 1, metrics[self.study.question.metric], 1)

    def _release(self, number: int) -> None:
        self.study.interrupt(number)
        begun = self._begun.pop(number, None)
        if begun is not None:
            self._gpu_s += (time.monotonic() - begun) * self._plan.gpus

    def _spend(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._spent_at >= _SPENT_EVERY_S:
            self._spent_at = now
            held = sum(now - begun for begun in self._begun.values())
            self.study.spend(self._gpu_s + held * self._plan.gpus)


class Asking(Searcher):  # type: ignore[misc]
    """Asks the search for the next trial."""

    def __init__(self, search: Search) -> None:
        super().__init__()
        self._search = search

    def set_search_properties(self, *_properties: Any, **_spec: Any) -> bool:
        """Take nothing: the search knows its metric."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return what a new trial runs."""
        return self._search.assign(trial_id)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Hear of trials whose process died."""
        if error:
            self._search.died(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study has its journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the study has its journal."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Telling(FIFOScheduler):  # type: ignore[misc]
    """Tells the search what trials report, and Ray Tune what the search decides."""

    def __init__(self, search: Search) -> None:
        super().__init__()
        self._search = search

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Take a result of a trial that goes on."""
        ends = self._search.take(trial.trial_id, result["news"])
        return str(self.STOP if ends else self.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take the last result of a trial."""
        news = result.get("news")
        if isinstance(news, News) and news.end is not None:
            self._search.take(trial.trial_id, news)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def run_trials(search: Search, plan: Plan, brief: Brief) -> None:
    """Run the trials of a search until it ends.

    Args:
        search: says what to run.
        plan: what each trial holds.
        brief: what trials have in common.

    Raises:
        BessemerError: the search ended by an error.
    """
    folder = brief.study_dir / _RAY_FOLDER
    # Nothing is to be found there of an earlier driver.
    shutil.rmtree(folder, ignore_errors=True)
    # Trials that wait for their process: all that there is room for start at the same time.
    for name, value in {**_OPTIONS, "TUNE_MAX_PENDING_TRIALS_PG": str(plan.num_at_once)}.items():
        os.environ[name] = value
    for noisy in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    trainable = ray_tune.with_parameters(TrialActor, brief=brief)
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(trainable, ray_tune.PlacementGroupFactory([plan.resources])),
        tune_config=ray_tune.TuneConfig(
            search_alg=Asking(search), scheduler=Telling(search), num_samples=-1, reuse_actors=True
        ),
        run_config=ray_tune.RunConfig(
            name=_RAY_FOLDER,
            storage_path=str(brief.study_dir),
            verbose=0,
        ),
    )
    try:
        with (
            _log_of(brief.study_dir),
            stopping(search),
            head_watched(lambda: _leave(brief.study_dir.name)),
            waiting_told(search.waits),
        ):
            tuner.fit()
    except ray.exceptions.RayError as error:
        raise _lost(error, brief.study_dir.name) from error
    except Exception as error:
        if search.error is None and not ray.is_initialized():
            raise _lost(error, brief.study_dir.name) from error
        raise
    finally:
        search.finish()
    if search.error is not None:
        raise search.error


@contextlib.contextmanager
def stopping(search: Search) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into an end of the search after checkpoints; a second ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _frame: object) -> None:
        for known, handler in before.items():
            signal.signal(known, handler)
        search.stopping = signal.Signals(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _log_of(study_dir: Path) -> Iterator[None]:
    """Send what Ray says to a log of the study: the screen says it in its own way."""
    file = study_dir / LOGS_FOLDER / "ray.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(file, "a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield


def _leave(name: str) -> None:
    """End this process: what waits for a head that has gone waits in Ray, where nothing can interrupt it."""
    error = _lost(ConnectionError("its head does not answer"), name)
    print(f"error: {error}", file=sys.__stderr__, flush=True)
    os._exit(error.exit_code)


def _lost(error: BaseException, name: str) -> ClusterError:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ClusterError(
        f"the Ray cluster went away while the search ran: {text}",
        expected="a head that runs as long as the search",
        todo=f"start it again, and go on with --resume {name}; nothing that was decided is lost",
    )
