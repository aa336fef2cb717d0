"""What a run does while it goes on, for Prometheus: the only place that uses `ray.util.metrics`.

Ray serves these at the metrics endpoint of each node, with `ray_` before each name. docs/operations.md lists
them. Names and labels are as Prometheus wants them: base units, and `_total` at the end of what only grows.
They are developer API: `tests/test_gauges.py` says when they change.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

from ray.util.metrics import Gauge, Histogram

from bessemer.training.account import Account, Books
from bessemer.utils.events import AttemptEnded, AttemptStarted, CheckpointSaved, Event, Tally, TurnEnded

_RUN = ("project", "run")
# What only grows is set and not counted: Ray adds twice what it sends twice, as it does on a busy machine.
GAUGES = {
    "steps_total": "Optimizer steps so far, those computed again included.",
    "steps_again_total": "Optimizer steps that were computed again after a restart.",
    "samples_total": "Samples of all workers that steps were computed on, those computed again included.",
    "last_step": "The newest optimizer step of the run.",
    "epoch": "Turns of the outer loop that are complete.",
    "workers": "Workers that train now.",
    "attempts_total": "Times that workers began.",
    "resizes_total": "Times that the number of workers was changed.",
    "startup_seconds": "From the call to the first step.",
    "step_mean_seconds": "Mean time of a step.",
    "steps_seconds_total": "Time of steps.",
    "data_wait_ratio": "Share of the time of training that is spent waiting for batches, from 0 to 1.",
    "other_seconds_total": "Evaluation and what else lies between the steps.",
    "recovery_seconds_total": "From failures to the first step after them.",
    "checkpoints_total": "Checkpoints that were taken.",
    "checkpoint_stalled_seconds_total": "Training stood still for checkpoints.",
    "checkpoint_stall_max_seconds": "The longest stall for a checkpoint.",
    "checkpoint_bytes": "Size of the newest checkpoint that is whole on storage.",
    "checkpoint_step": "Optimizer step of the newest checkpoint that is whole on storage.",
    "checkpoint_timestamp_seconds": "When it was complete, since 1970.",
    "checkpoint_age_seconds": "Time since then; since the start of the command where there is none yet.",
}
FAILURES = "failures_total"
HISTOGRAMS = {
    "step_duration_seconds": "How long a step took, without waiting for data and checkpoints.",
    "checkpoint_seconds": "How long a checkpoint was written, while training went on.",
    "checkpoint_stall_seconds": "How long training stood still for a checkpoint.",
}
WAIT = "loader_wait_seconds_total"
_BOUNDARIES_S = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
# What grows with the clock alone is brought up to date so often.
_AGE_EVERY_S = 1.0
# Ray forgets a gauge that was not set for two of its intervals of ten seconds; a step may take longer.
_AGAIN_EVERY_S = 5.0
# What a failure can be; the values of the label `kind`.
KINDS = ("died", "program", "collateral", "preemption")


class Gauges:
    """Shows one run, as its driver knows it; Ray must be connected.

    Args:
        project: value of the label `project`.
        run: value of the label `run`.
    """

    def __init__(self, project: str, run: str) -> None:
        self._labels = {"project": project, "run": run}
        self._gauges = {name: _gauge(name, text, _RUN) for name, text in GAUGES.items()}
        self._failures = _gauge(FAILURES, "Failures of attempts, by what failed.", (*_RUN, "kind"))
        self._histograms = {
            name: Histogram(f"bessemer_{name}", description=text, boundaries=_BOUNDARIES_S, tag_keys=_RUN)
            for name, text in HISTOGRAMS.items()
        }
        self._last_stall = (0, 0)
        self._num_failures = Counter(dict.fromkeys(KINDS, 0))
        self._num_attempts = self._num_resizes = 0
        self._saved: CheckpointSaved | None = None
        self._values: dict[str, float] = {}
        self._shown_at = self._again_at = 0.0

    def show(self, books: Books, news: Sequence[Event]) -> None:
        """Bring everything up to date.

        Args:
            books: what the driver has gathered.
            news: what came in since the last call, and is in the books.
        """
        values: dict[str, float] = {}
        for event in news:
            self._take(event, values)
        now = time.time()
        if any(isinstance(event, Tally) for event in news):
            values |= _of_account(books.account(now))
            values["samples_total"] = sum(tally.num_samples for tally in books.tallies)
        if not values and now - self._shown_at < _AGE_EVERY_S:
            return
        self._shown_at = now
        since = self._saved.at if self._saved is not None else books.called_at
        values["checkpoint_age_seconds"] = max(0.0, now - since)
        self._values |= values
        if now - self._again_at >= _AGAIN_EVERY_S:
            self._again_at, values = now, self._values
            self._show_failures()
        for name, value in values.items():
            self._gauges[name].set(value, tags=self._labels)

    def _take(self, event: Event, values: dict[str, float]) -> None:
        match event:
            case Tally():
                for duration_s in event.step_durations_s:
                    self._histograms["step_duration_seconds"].observe(duration_s, tags=self._labels)
                self._show_stall(event)
            case AttemptStarted():
                self._num_attempts = max(self._num_attempts, event.number)
                self._num_resizes += event.why == "resize"
                values["attempts_total"], values["resizes_total"] = self._num_attempts, self._num_resizes
                values["workers"] = event.num_workers
                self._show_failures()
            case AttemptEnded():
                values["workers"] = 0
                self._num_failures[event.kind] += event.kind in KINDS
                self._show_failures()
            case TurnEnded(unit="epoch"):
                values["epoch"] = event.turn
            case CheckpointSaved():
                self._saved = event
                self._histograms["checkpoint_seconds"].observe(event.duration_s, tags=self._labels)
                values["checkpoint_bytes"], values["checkpoint_step"] = event.size_bytes, event.step
                values["checkpoint_timestamp_seconds"] = event.at

    def _show_failures(self) -> None:
        # A rate needs a zero before the first one.
        for kind in KINDS:
            self._failures.set(self._num_failures[kind], tags={**self._labels, "kind": kind})

    def _show_stall(self, tally: Tally) -> None:
        # A worker tells of every checkpoint, and of other things in between.
        stall = (tally.attempt, tally.num_checkpoints)
        if tally.num_checkpoints and stall > self._last_stall:
            self._last_stall = stall
            self._histograms["checkpoint_stall_seconds"].observe(tally.last_checkpoint_s, tags=self._labels)


class RankGauges:
    """Shows what one worker has counted in its attempt; set in the worker's own process, while that lives.

    Args:
        project: value of the label `project`.
        run: value of the label `run`.
        rank: value of the label `rank`.
    """

    def __init__(self, project: str, run: str, rank: int) -> None:
        self._labels = {"project": project, "run": run, "rank": str(rank)}
        text = "Waiting for batches in this attempt, those of evaluation included."
        self._wait = _gauge(WAIT, text, (*_RUN, "rank"))
        self._waited_s = 0.0
        threading.Thread(target=self._show_again, name="bessemer-gauges", daemon=True).start()

    def show(self, tally: Tally) -> None:
        """Bring everything up to date."""
        self._waited_s = tally.data_wait_s
        self._wait.set(self._waited_s, tags=self._labels)

    def _show_again(self) -> None:
        while True:
            time.sleep(_AGAIN_EVERY_S)
            self._wait.set(self._waited_s, tags=self._labels)


def _gauge(name: str, text: str, labels: tuple[str, ...]) -> Gauge:
    return Gauge(f"bessemer_{name}", description=text, tag_keys=labels)


def _of_account(account: Account) -> dict[str, float]:
    values: dict[str, float | None] = {
        "steps_total": account.num_steps,
        "steps_again_total": account.num_steps_again,
        "last_step": account.last_step,
        "startup_seconds": account.startup_s,
        "step_mean_seconds": account.step_s,
        "steps_seconds_total": account.steps_s,
        "data_wait_ratio": account.data_wait_fraction,
        "other_seconds_total": account.other_s,
        "recovery_seconds_total": account.recovery_s,
        "checkpoints_total": account.num_checkpoints,
        "checkpoint_stalled_seconds_total": account.checkpoint_s,
        "checkpoint_stall_max_seconds": account.longest_checkpoint_s,
    }
    return {name: value for name, value in values.items() if value is not None}
