"""The memory of a search: what was chosen, reported and decided, and what is to be done next.

Everything is in the journal before it is acted on, so a study that is opened again knows all it knew.
Knows nothing of Ray: whoever drives it says what trials report, and asks what to run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bessemer.errors import NeverLoggedError, TrainingError, nearest
from bessemer.search.choosing import Known, State
from bessemer.search.journal import Asked, Compared, Ended, Journal, Line, Opened, Paused, Reported, Spent
from bessemer.search.population import compared
from bessemer.search.question import Question
from bessemer.search.space import Values
from bessemer.training.judging import Deciding

_S_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Assignment:
    """A stretch of a trial that is to be run now.

    Attributes:
        number: of the trial, from 0.
        values: what it trains with.
        until: turn after which it ends with a checkpoint, to go on later; None: its end (count).
        source: number of the trial whose state it takes over before, or None.
        source_turn: turn that this state is of (count).
    """

    number: int
    values: Values
    until: int | None = None
    source: int | None = None
    source_turn: int = 0


@dataclass
class Trial:
    """What a study knows of one trial.

    Attributes:
        number: from 0.
        values: what it trains with now.
        asked_at: when it was chosen (seconds since 1970).
        losses: what it reported, by turn.
        ends: what was decided, by turn.
        state: "running" until it is over.
        cause: why it failed.
        turns: turns that it completed (count).
        num_turns: turns that it would have trained, if known (count).
        metrics: last value of each metric, once it is over.
        ended_at: when it was over, or None (seconds since 1970).
        paused: turn at which it waits for others; 0: it does not (count).
        source: trial whose state it takes over when it goes on, or None.
        copies: (turn, source) of what it took over.
    """

    number: int
    values: Values
    asked_at: float
    losses: dict[int, float] = field(default_factory=dict)
    ends: dict[int, bool] = field(default_factory=dict)
    state: State = "running"
    cause: str = ""
    turns: int = 0
    num_turns: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    ended_at: float | None = None
    paused: int = 0
    source: int | None = None
    copies: list[tuple[int, int]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """What it reported last; infinity before that."""
        return self.losses[max(self.losses)] if self.losses else math.inf

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to run."""
        return self.state != "running"


class Study:
    """See the module.

    Args:
        journal: of the study.
        question: what it answers.
        parent: its run in MLflow as plain data, made if the study is new.
        clock: seconds since 1970.

    Attributes:
        parent: its run in MLflow, as plain data.
        trials: by number.
        active: numbers of trials that are being run by this driver.

    Raises:
        SettingsError: the study was begun with another question.
    """

    def __init__(
        self,
        journal: Journal,
        question: Question,
        parent: Callable[[], dict[str, Any]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self.question = question
        self.scheduler = question.scheduler()
        self._chooser = question.chooser()
        self.trials: dict[int, Trial] = {}
        self.active: set[int] = set()
        self.parent: dict[str, Any] = {}
        self._spent: dict[float, Spent] = {}
        self._since = clock()
        self._gpu_s = 0.0
        self._nothing_left = False
        self._rounds: set[int] = set()
        lines = journal.lines()
        if lines:
            question.check_same(lines[0], journal.file.parent.name)
            for line in lines:
                self._take(line)
            # What was decided and not carried out before a kill.
            for trial in list(self.trials.values()):
                if not trial.is_over and any(trial.ends.values()):
                    self.end(trial.number, "stopped")
        else:
            self._write(Opened(question.plain(), parent()))

    @property
    def name(self) -> str:
        """Name of the search."""
        return self._journal.file.parent.name

    # What is to be run

    def next(self) -> Assignment | None:
        """Return what to run now, or None for nothing now; `is_over` tells whether later."""
        if self.out_of_budget():
            return None
        self._compare()
        waiting = [
            trial for trial in self.trials.values() if not trial.is_over and trial.number not in self.active
        ]
        ready = [trial for trial in waiting if not trial.paused or trial.paused in self._rounds]
        if ready:
            trial = min(ready, key=lambda trial: (trial.turns, trial.number))
        elif len(self.trials) < self.question.num_trials and not self._nothing_left:
            number = len(self.trials)
            values = self._chosen(number)
            if values is None:
                self._nothing_left = True
                return None
            self._write(Asked(number, values, self._clock()))
            trial = self.trials[number]
        else:
            return None
        self.active.add(trial.number)
        until = None
        if self.question.tuning.scheduler == "pbt":
            until = max(self._rounds, default=0) + self.question.tuning.interval_turns
        source = trial.source if trial.paused else None
        return Assignment(
            trial.number, dict(trial.values), until, source, trial.paused if source is not None else 0
        )

    @property
    def is_over(self) -> bool:
        """Whether every trial is over and none is left to begin, or the budget is used up."""
        if self.active:
            return False
        if self.out_of_budget():
            return True
        all_asked = self._nothing_left or len(self.trials) >= self.question.num_trials
        return all_asked and all(trial.is_over for trial in self.trials.values())

    def deciding(self) -> Deciding:
        """Return the turns at which trials wait for a decision."""
        return self.scheduler.deciding

    # What trials say

    def report(
        self, number: int, turn: int, value: float, num_turns: int | None = None, decides: bool = True
    ) -> bool:
        """Take a metric; return whether the trial ends after this turn. Told again, it says the same.

        Args:
            number: of the trial.
            turn: turns that it has completed (count).
            value: of the metric that judges.
            num_turns: turns in all, if known (count).
            decides: whether the trial goes on after this turn unless it is ended.
        """
        trial = self.trials[number]
        trial.num_turns = num_turns or trial.num_turns
        if turn in trial.ends:
            return trial.ends[turn]
        loss = self.question.loss(value)
        ends = False
        last = trial.num_turns is not None and turn >= trial.num_turns
        if decides and not last and self.scheduler.deciding.at(turn):
            others = [other.losses for other in self.trials.values() if other.number != number]
            ends = self.scheduler.ends(turn, {**trial.losses, turn: loss}, others)
        self._write(Reported(number, turn, loss, ends))
        return ends

    def pause(self, number: int, turn: int) -> None:
        """A member of a population has come to a round, and its state is kept."""
        self.active.discard(number)
        if self.trials[number].paused != turn:
            self._write(Paused(number, turn))

    def end(
        self,
        number: int,
        state: Literal["done", "stopped", "failed"],
        cause: str = "",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """A trial is over."""
        self.active.discard(number)
        trial = self.trials[number]
        if not trial.is_over:
            self._write(
                Ended(
                    *(number, state, cause, trial.turns, trial.num_turns, dict(metrics or trial.metrics)),
                    self._clock(),
                )
            )

    def interrupt(self, number: int) -> None:
        """A trial is not run any more by this driver, and not over."""
        self.active.discard(number)

    def check_logged(self, number: int, turn: int, metrics: Mapping[str, float]) -> None:
        """Refuse a metric that trials do not log; said once they have been given their first turns.

        Raises:
            NeverLoggedError: names what is logged.
        """
        metric, grace = self.question.metric, self.question.tuning.grace_turns
        if metric in metrics or turn < grace or self.trials[number].losses:
            return
        known = ", ".join(sorted(metrics)) or "nothing"
        raise NeverLoggedError(
            f"trial {number} has not logged {metric} by the end of turn {turn}, but {known}",
            expected=nearest(metric, metrics) or "tuning.metric to be one of these",
            todo="correct tuning.metric; if it is logged later only, set tuning.grace_turns to that turn",
        )

    def check_failures(self) -> None:
        """Give up when every trial fails.

        Raises:
            TrainingError: so many failed in a row, before one was complete.
        """
        over = sorted(
            (trial for trial in self.trials.values() if trial.is_over),
            key=lambda trial: trial.ended_at or 0.0,
        )
        failed = [trial for trial in over if trial.state == "failed"]
        limit = self.question.tuning.max_failures
        trains = any(trial.losses for trial in self.trials.values() if trial.state != "failed")
        if trains or len(failed) < len(over) or not failed:
            return
        if len(failed) >= min(limit, self.question.num_trials):
            raise TrainingError(
                f"all of the first {len(failed)} trials failed; the last one: {failed[-1].cause}",
                expected="trials that train",
                todo="train once with these settings and see why; tuning.max_failures allows more",
            )

    def check_found(self) -> None:
        """Refuse to call a search complete in which no trial came to a number.

        Raises:
            NeverLoggedError: trials reported their metric, and it was never a number.
            TrainingError: none has reported anything.
        """
        if not self.is_over or not self.trials or self.winner() is not None:
            return
        metric, trials = self.question.metric, self.trials.values()
        if any(trial.losses for trial in trials):
            raise NeverLoggedError(
                f"{metric} was no finite number in any of {len(trials)} trials",
                expected="a number in at least one",
                todo="train once and see where it becomes NaN; smaller learning rates may help",
            )
        causes = [trial.cause for trial in trials if trial.cause]
        raise TrainingError(
            f"none of {len(trials)} trials reported {metric}"
            + (f"; the last one: {causes[-1]}" if causes else ""),
            expected="trials that train",
            todo="train once with these settings and see why",
        )

    # Budgets

    def spend(self, gpu_s: float) -> None:
        """Note GPU time of this driver so far (GPU seconds); on the disk, and with it the time."""
        self._gpu_s = gpu_s
        self._write(Spent(self._clock() - self._since, gpu_s, self._since))

    @property
    def wall_s(self) -> float:
        """Time that all drivers have spent (seconds)."""
        earlier = sum(spent.wall_s for since, spent in self._spent.items() if since != self._since)
        return earlier + self._clock() - self._since

    @property
    def gpu_s(self) -> float:
        """GPU time that all drivers have spent (GPU seconds)."""
        return self._gpu_s + sum(x.gpu_s for since, x in self._spent.items() if since != self._since)

    def out_of_budget(self) -> str:
        """Say which budget is used up; "" if none is."""
        tuning = self.question.tuning
        if tuning.max_hours and self.wall_s >= tuning.max_hours * _S_PER_HOUR:
            return f"tuning.max_hours = {tuning.max_hours:g} is used up"
        if tuning.max_gpu_hours and self.gpu_s >= tuning.max_gpu_hours * _S_PER_HOUR:
            return f"tuning.max_gpu_hours = {tuning.max_gpu_hours:g} is used up"
        return ""

    # What came of it

    def winner(self) -> Trial | None:
        """Return the best trial: of those that trained to their end, or else of those that reported."""
        for states in (("done",), ("stopped", "running")):
            # A screen asks from a thread of its own.
            trials = list(self.trials.values())
            found = [trial for trial in trials if trial.state in states and math.isfinite(trial.loss)]
            if found:
                return min(found, key=lambda trial: (trial.loss, trial.number))
        return None

    def known(self) -> list[Known]:
        """Return the trials as samplers and figures want them."""
        return [self._known(trial) for _, trial in sorted(self.trials.items())]

    # Inside

    def _chosen(self, number: int) -> Values | None:
        if number == 0 and self.question.first is not None:
            return dict(self.question.first)
        return self._chooser.choose(number, self.known())

    def _known(self, trial: Trial) -> Known:
        return Known(trial.values, trial.state, trial.losses)

    def _compare(self) -> None:
        """Decide a round of a population once all members have come to it."""
        tuning = self.question.tuning
        if tuning.scheduler != "pbt" or len(self.trials) < tuning.population:
            return
        members = [trial for trial in self.trials.values() if not trial.is_over]
        turns = {trial.paused for trial in members}
        if len(turns) != 1 or not (turn := turns.pop()) or turn in self._rounds or self.active:
            return
        losses = {trial.number: trial.losses.get(turn, math.inf) for trial in members}
        values = {trial.number: trial.values for trial in members}
        copies = compared(
            *(self.question.space, losses, values, tuning.quantile, tuning.resample, tuning.seed, turn)
        )
        self._write(Compared(turn, [(n, copy.source, copy.values) for n, copy in sorted(copies.items())]))

    def _write(self, line: Line) -> None:
        self._journal.write(line)
        self._take(line)

    def _take(self, line: Line) -> None:
        match line:
            case Opened():
                self.parent = line.parent
            case Asked():
                self.trials[line.number] = Trial(line.number, dict(line.values), line.at)
            case Reported():
                trial = self.trials[line.number]
                trial.losses[line.turn], trial.ends[line.turn] = line.loss, line.ends
                trial.turns = max(trial.turns, line.turn)
                if trial.paused and line.turn > trial.paused:
                    trial.paused, trial.source = 0, None
            case Paused():
                trial = self.trials[line.number]
                trial.paused, trial.source = line.turn, None
            case Compared():
                self._rounds.add(line.turn)
                for number, source, values in line.copies:
                    trial = self.trials[number]
                    trial.source, trial.values = source, dict(values)
                    trial.copies.append((line.turn, source))
            case Ended():
                trial = self.trials[line.number]
                trial.state, trial.cause, trial.ended_at = line.state, line.cause, line.at
                trial.turns, trial.num_turns, trial.metrics = line.turns, line.num_turns, line.metrics
            case Spent():
                self._spent[line.since] = line


def epochs_trained(trials: Sequence[Trial]) -> int:
    """Return the turns that all trials completed (count)."""
    return sum(trial.turns for trial in trials)


def epochs_in_full(trials: Sequence[Trial]) -> int | None:
    """Return the turns of all trials if none had ended early (count); None if nobody knows."""
    lengths = [trial.num_turns for trial in trials if trial.num_turns is not None]
    if not lengths:
        return None
    return sum(trial.num_turns if trial.num_turns is not None else max(lengths) for trial in trials)
