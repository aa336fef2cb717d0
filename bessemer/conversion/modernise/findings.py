"""What modernising the files of a program brought up, as the plan of its conversion shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bessemer.conversion.modernise.base import Modern
from bessemer.conversion.plan import Question, Rewrite, Unconverted

Place = Callable[[int], str]
"""Says where a line of a file is."""


@dataclass(frozen=True)
class Findings:
    """What was changed, what is asked, and what fails and was not changed."""

    rewrites: tuple[Rewrite, ...] = ()
    questions: tuple[Question, ...] = ()
    unconverted: tuple[Unconverted, ...] = ()


NOTHING = Findings()


def findings(files: Iterable[tuple[Modern, Place]]) -> Findings:
    """Gather what modernising brought up.

    Args:
        files: each with what says where its lines are.
    """
    rewrites: list[Rewrite] = []
    questions: list[Question] = []
    unconverted: list[Unconverted] = []
    for modern, where in files:
        rewrites += [Rewrite(where(x.line), "modernise", x.code, x.after, x.reason) for x in modern.changes]
        questions += [Question(where(x.line), x.reason, x.todo) for x in modern.questions]
        unconverted += [Unconverted(where(x.line), x.code, x.reason) for x in modern.left]
    return Findings(tuple(rewrites), tuple(questions), tuple(unconverted))
