"""Studies without Ray: a question, a journal in a folder, and a way to run trials one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from bessemer.config.tuning_settings import Tuning
from bessemer.search.journal import Journal
from bessemer.search.question import Question
from bessemer.search.space import Choices, Range, Space, Values
from bessemer.search.study import Assignment, Study

SPACE: Space = {
    "lr": Range(0.01, 1.0, log=True),
    "optimizer": Choices(("sgd", "adam")),
    "width": Range(2, 64),
}
NUM_TURNS = 9


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def question(
    space: Space = SPACE, mode: Literal["min", "max"] = "min", first: Values | None = None, **tuning: Any
) -> Question:
    """A question about `loss`, with some settings of the search."""
    return Question("p:train", "loss", mode, space, Tuning(**tuning), {"code": "1"}, first)


@contextmanager
def opened(folder: Path, asked: Question, clock: Callable[[], float] | None = None) -> Iterator[Study]:
    """A study in a folder, begun or gone on with."""
    with closing(Journal(folder)) as journal:
        yield Study(journal, asked, lambda: {"run_id": "parent"}, clock or Clock())


def loss_at(values: Values, turn: int) -> float:
    """What a trial reports: it falls over its turns, to a level that its values decide."""
    level = abs(float(values["lr"]) - 0.1) + (0.1 if values["optimizer"] == "sgd" else 0.0)
    return level + float(values["width"]) / 1000 + 1.0 / turn


def run_one(study: Study, assignment: Assignment, begin: int = 0, until: int | None = None) -> int:
    """Run a trial as a driver does; return the turn at which it was when it was left.

    Args:
        study: that it is of.
        assignment: what to run.
        begin: turns that it has a checkpoint of.
        until: turn at which it is killed.
    """
    number = assignment.number
    if assignment.until is not None and begin >= assignment.until:
        study.pause(number, assignment.until)
        return begin
    for turn in range(begin + 1, NUM_TURNS + 1):
        if study.report(number, turn, loss_at(assignment.values, turn), NUM_TURNS):
            study.end(number, "stopped")
            return turn
        if turn == until:
            study.interrupt(number)
            return turn
        if turn == assignment.until and turn < NUM_TURNS:
            study.pause(number, turn)
            return turn
    study.end(number, "done")
    return NUM_TURNS


def run_all(study: Study, num: int | None = None) -> list[tuple[int, Values, int]]:
    """Run what is left, or so many stretches; return number, values and last turn of each."""
    done: list[tuple[int, Values, int]] = []
    while num is None or len(done) < num:
        assignment = study.next()
        if assignment is None:
            assert study.is_over
            break
        begin = max(study.trials[assignment.number].losses, default=0)
        done.append((assignment.number, assignment.values, run_one(study, assignment, begin)))
    return done


def decisions(study: Study) -> list[Any]:
    """All that a study decided, without times."""
    return [
        (t.number, t.values, t.losses, t.ends, t.state, t.turns, t.paused, t.copies)
        for _, t in sorted(study.trials.items())
    ]
