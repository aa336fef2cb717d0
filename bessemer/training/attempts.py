"""What follows the end of an attempt: another one, when, or the end of the run. Pure bookkeeping.

The workers say which errors they met, Ray says which of them died. A `Ledger` puts this together
once an attempt: it finds the first cause, charges a failure or a preemption to its own budget, and
ends the run when a budget is used up or the same step fails again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bessemer.config.settings import Scaling
from bessemer.errors import BessemerError, TrainingError
from bessemer.training.positions import Position

# died: its process is gone. program: it met an error. collateral: it met one because another was gone.
Kind = Literal["died", "program", "collateral"]
Why = Literal["start", "failure", "preemption", "resize"]

# What was found first is at fault: a death explains the errors of those who waited for the dead one.
_ORDER: tuple[Kind, ...] = ("died", "program", "collateral")
_NUM_SHOWN_IDS = 8


@dataclass(frozen=True)
class Limits:
    """How often and how fast a run begins again.

    Attributes:
        max_failures: failures after which it ends (count).
        max_failures_at_step: failures in a row at one step after which it ends (count).
        max_preemptions: preemptions after which it ends; -1 for any number (count).
        backoff_s: wait before the attempt after a second failure without progress (seconds).
        max_backoff_s: longest such wait (seconds).
    """

    max_failures: int = 3
    max_failures_at_step: int = 3
    max_preemptions: int = -1
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0

    @classmethod
    def of(cls, scaling: Scaling) -> Limits:
        """Take them from the settings."""
        return cls(
            scaling.max_failures,
            scaling.max_failures_at_step,
            scaling.max_preemptions,
            scaling.backoff_s,
            scaling.max_backoff_s,
        )


@dataclass(frozen=True)
class Report:
    """How one worker's part of an attempt ended.

    Attributes:
        rank: of the worker.
        kind: what happened to it.
        error: the cause, as it is told to the user.
        step: optimizer steps that were complete; None if it had not begun (count).
        details: where it was, in words; empty if unknown.
        preempted: whether its node was taken away.
        is_unseen: whether nobody knows how far it was: only its own node has that.
    """

    rank: int
    kind: Kind
    error: BessemerError
    step: int | None = None
    details: str = ""
    preempted: bool = False
    is_unseen: bool = False

    @property
    def told(self) -> BessemerError:
        """The cause with the worker's place, of the same class."""
        found = self.error.found + (f"\n{self.details}" if self.details else "")
        return type(self.error)(found, self.error.expected, self.error.todo)


@dataclass(frozen=True)
class Beginning:
    """How an attempt begins.

    Attributes:
        number: 1 for the first.
        why: what ended the one before.
        wait_s: how long to wait before it trains (seconds).
    """

    number: int
    why: Why = "start"
    wait_s: float = 0.0


@dataclass(frozen=True)
class Ending:
    """How an attempt was ended before the program came to its end.

    Attributes:
        number: of the attempt.
        why: as the next attempt is told.
        cause: the first cause, or None if Ray told of none.
    """

    number: int
    why: Why
    cause: Report | None


def backoff_s(num_failures: int, first_s: float, longest_s: float) -> float:
    """Return how long to wait before an attempt.

    Args:
        num_failures: failures in a row without a new checkpoint; the first of them costs no time (count).
        first_s: wait after the second (seconds); doubled for each that follows.
        longest_s: never more than this (seconds).

    >>> [backoff_s(n, 1.0, 6.0) for n in range(6)]
    [0.0, 0.0, 1.0, 2.0, 4.0, 6.0]
    """
    if num_failures < 2 or first_s <= 0:
        return 0.0
    return float(min(longest_s, first_s * 2.0 ** min(num_failures - 2, 60)))


def details_of(position: Position) -> str:
    """Say in words where a worker was, with the first ids of its batch."""
    text = f"worker {position.rank}, after step {position.step}"
    if position.loader is None:
        return text
    text += f", in {position.place}"
    if position.ids is None:
        return f"{text}, whose samples only its sampler knows"
    if not position.num_ids:
        return f"{text}, of which it has no sample"
    shown = ", ".join(str(sample) for sample in position.ids[:_NUM_SHOWN_IDS].tolist())
    more = "" if position.num_ids <= _NUM_SHOWN_IDS else f", ... ({position.num_ids} in all)"
    return f"{text}, samples {shown}{more}"


class Ledger:
    """Counts attempts and decides about the next.

    Args:
        limits: how often and how fast a run begins again.
        logs: folder of the run's logs, as the user is told.
    """

    def __init__(self, limits: Limits, logs: str = "the run's logs") -> None:
        self._limits = limits
        self._logs = logs
        self._number = 0
        self._reports: dict[int, Report] = {}
        self._notice = False
        self._ended_by: Why = "start"
        self._num_failures = 0
        self._num_preemptions = 0
        self._failures_since_progress = 0
        self._checkpoint: int | None = None
        self._met: dict[tuple[int | None, str], int] = {}
        self._row: tuple[object, int] = (None, 0)
        self._ending: Ending | None = None

    def take_ending(self) -> Ending | None:
        """Return how an attempt was ended, once, if one was since this was asked last."""
        ending, self._ending = self._ending, None
        return ending

    @property
    def num_attempts(self) -> int:
        """Attempts that began (count)."""
        return self._number

    def note(self, report: Report) -> None:
        """Take what a worker says; its first word counts, and none once the attempt was judged."""
        if self._ended_by == "start":
            self._reports.setdefault(report.rank, report)

    def notice(self) -> None:
        """A node of this attempt is about to be taken away: what ends the attempt is no failure."""
        self._notice = True

    def ended(self, reports: Iterable[Report] = ()) -> BessemerError | None:
        """Judge the end of an attempt.

        Args:
            reports: what Ray says of its workers.

        Returns:
            Why the run ends, or None if it begins again.
        """
        reports = list(reports)
        for report in reports:
            # A worker knows its own error best; that it died, it cannot know.
            if report.rank not in self._reports or report.kind == "died":
                self._reports[report.rank] = report
        if self._ended_by == "preemption" or not self._reports:
            return None  # Ray tells of a preemption again and again until its deadline.
        cause = first_cause(self._reports.values())
        preempted = self._notice or any(report.preempted for report in self._reports.values())
        self._reports = {}
        if preempted:
            return self._preempted(cause)
        return self._failed(cause)

    def begin(self, checkpoint: int | None = None) -> Beginning | BessemerError:
        """Count an attempt.

        Args:
            checkpoint: step of the newest checkpoint, if there is one (count).

        Returns:
            How it begins, or why the run ends instead.
        """
        error = self.ended()
        if error is not None:
            return error
        why = self._ended_by
        if self._number and why == "start":
            # Ray ended the workers itself and told of no error.
            why = "preemption" if self._notice else "resize"
            if why == "preemption" and (error := self._preempted(None)) is not None:
                return error
            self._ending = Ending(self._number, why, None)
        if checkpoint is not None and (self._checkpoint is None or checkpoint > self._checkpoint):
            self._failures_since_progress = min(self._failures_since_progress, 1)
            self._checkpoint = checkpoint
        wait_s = 0.0
        if why == "failure":
            wait_s = backoff_s(
                self._failures_since_progress, self._limits.backoff_s, self._limits.max_backoff_s
            )
        self._number += 1
        self._ended_by, self._notice, self._reports = "start", False, {}
        return Beginning(self._number, why, wait_s)

    def _preempted(self, cause: Report | None) -> BessemerError | None:
        self._ended_by = "preemption"
        self._ending = Ending(self._number, "preemption", cause)
        self._num_preemptions += 1
        allowed = self._limits.max_preemptions
        if allowed < 0 or self._num_preemptions <= allowed:
            return None
        return TrainingError(
            f"the run was preempted {self._num_preemptions} times"
            + (f"; the last time: {cause.told.found}" if cause else ""),
            expected=f"at most {allowed} preemptions",
            todo="go on with --resume; scaling.max_preemptions allows more, -1 any number",
        )

    def _failed(self, cause: Report) -> BessemerError | None:
        self._ended_by = "failure"
        self._ending = Ending(self._number, "failure", cause)
        self._num_failures += 1
        self._failures_since_progress += 1
        # Of one whose step nobody saw, it is known at least from where its attempt went on.
        place = ("since", self._checkpoint) if cause.is_unseen else cause.step
        last, in_a_row = self._row
        in_a_row = in_a_row + 1 if in_a_row and last == place else 1
        if cause.kind == "program":
            in_a_row = 0
        if cause.kind != "died":
            # Told apart by their text, which deaths do not have.
            first = self._met.setdefault((cause.step, cause.error.found), self._number)
            if first != self._number:
                return cause.told
        self._row = (place, in_a_row)
        if in_a_row >= self._limits.max_failures_at_step:
            return self._gave_up(
                cause,
                f"{in_a_row} attempts in a row failed {self._place_of(cause)}",
                f"look at these samples and at {self._logs}; scaling.max_failures_at_step allows more",
            )
        if self._num_failures > self._limits.max_failures:
            if cause.kind == "program":
                return cause.told
            return self._gave_up(
                cause,
                f"training failed after {self._limits.max_failures} restarts",
                f"see {self._logs} and Ray's logs; scaling.max_failures allows more",
            )
        return None

    def _place_of(self, cause: Report) -> str:
        if cause.is_unseen:
            return "before a checkpoint" if self._checkpoint is None else f"from step {self._checkpoint} on"
        return "before their first step" if cause.step is None else f"after step {cause.step}"

    def _gave_up(self, cause: Report, found: str, todo: str) -> TrainingError:
        told = cause.told
        return TrainingError(
            f"{found}: {told.found}",
            expected=told.expected or "workers that live until the program ends",
            todo=todo if cause.kind == "died" else told.todo or todo,
        )


def first_cause(reports: Iterable[Report]) -> Report:
    """Return what is most likely at fault: a death, else an error of the program, else what followed."""
    ordered: Sequence[Report] = sorted(reports, key=lambda r: (_ORDER.index(r.kind), r.rank))
    died = [report for report in ordered if report.kind == "died"]
    if len(died) > 1:
        others = ", ".join(str(report.rank) for report in died[1:])
        return replace(died[0], details=f"{died[0].details}; with it went worker {others}")
    return ordered[0]
