"""What a conversion does, as values: shown before anything is written, and kept in the project.

`Move`: a definition goes to a room. `Rewrite`: code is changed. `Question`: code is kept and only its author
can say whether it means the same on several workers. `Unconverted`: code is kept, or left out, because
Bessemer has nothing to put in its place.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Move:
    """A definition or constant of the research code, and the module it goes to."""

    where: str
    name: str
    room: str
    reason: str


@dataclass(frozen=True)
class Rewrite:
    """A change of the code; `kind` is the module under `rewrites/` that made it, or the step before."""

    where: str
    kind: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class Question:
    """Something that a person should look at, and what can be done about it."""

    where: str
    reason: str
    todo: str


@dataclass(frozen=True)
class Unconverted:
    """Code that has no counterpart in Bessemer."""

    where: str
    code: str
    reason: str


@dataclass(frozen=True)
class Left:
    """A file that the entry point does not use; `trains` if it is a program of its own."""

    path: str
    trains: bool


@dataclass(frozen=True)
class Plan:
    """Everything a conversion does to one program. `entry` is `file:line function`."""

    entry: str
    num_workers: int
    num_workers_reason: str
    loss_reduction: str
    best_metric: str
    best_mode: str
    moves: tuple[Move, ...]
    rewrites: tuple[Rewrite, ...]
    questions: tuple[Question, ...]
    unconverted: tuple[Unconverted, ...]

    def to_json(self) -> str:
        """Return the plan as JSON; the keys are the names of the fields."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
