"""How a restart finds its place: the program runs again, and what was complete is passed over.

A program is a nest of *frames*: itself, and the turn that each of its outer loops is in. In a frame
the outer loops and the loops over loaders follow each other; the *ledger* notes each that is complete,
and the moment after it: random generators, carried values, positions of loaders, what was created. A
checkpoint has all of that. While a restart replays, a construct that was complete yields nothing if
steps were taken in it, runs for real if not, and the moment after it is put back either way, so what
the replayed lines draw and decide is what they drew and decided before.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from bessemer.errors import CheckpointError

Kind = Literal["loop", "pass"]


@dataclass(frozen=True)
class Moment:
    """What a program had at a place, besides what it tracks.

    Attributes:
        created: objects of each kind that it had made (count).
        generators: states of its random generators.
        values: carried values by number.
        loaders: state of each loader by number.
    """

    created: dict[str, int] = field(default_factory=dict)
    generators: dict[str, Any] = field(default_factory=dict)
    values: dict[int, Any] = field(default_factory=dict)
    loaders: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """An outer loop or a loop over a loader that is complete.

    Attributes:
        kind: which of both.
        number: of the outer loop, or of the loader.
        stepped: whether an optimizer stepped in it.
        turns: turns of an outer loop (count).
        after: the moment after it.
    """

    kind: Kind
    number: int
    stepped: bool
    turns: int
    after: Moment


@dataclass
class Frame:
    """The program, or the turn that an outer loop is in.

    Attributes:
        loop: number of the outer loop, or -1 for the program.
        turns: turns that are complete (count).
        begin: the moment when this turn began.
        done: what is complete in this turn.
    """

    loop: int = -1
    turns: int = 0
    begin: Moment = field(default_factory=Moment)
    done: list[Done] = field(default_factory=list)


def to_plain(frames: list[Frame]) -> list[dict[str, Any]]:
    """Return frames as plain values for a checkpoint; later changes do not reach them."""
    return [
        {
            "loop": frame.loop,
            "turns": frame.turns,
            "begin": vars(frame.begin),
            "done": [{**vars(done), "after": vars(done.after)} for done in frame.done],
        }
        for frame in frames
    ]


def from_plain(plain: list[dict[str, Any]]) -> list[Frame]:
    """Rebuild frames from a checkpoint."""
    return [
        Frame(
            frame["loop"],
            frame["turns"],
            Moment(**frame["begin"]),
            [Done(**{**done, "after": Moment(**done["after"])}) for done in frame["done"]],
        )
        for frame in plain
    ]


class Replay:
    """The frames that the program is in, and those that a restart has to come to again.

    Args:
        saved: frames of the checkpoint, outermost first, or None for a fresh start.
        active: number of the loader whose loop the checkpoint was taken in, or None if it was taken
            between the turns of the innermost loop.

    Attributes:
        frames: the program, then the turn of each outer loop that it is in.
    """

    def __init__(self, saved: list[Frame] | None, active: int | None) -> None:
        self.frames = [Frame()]
        self._saved = saved
        self._active = active

    @property
    def going_on(self) -> bool:
        """Whether the place of the checkpoint has not been reached."""
        return self._saved is not None

    def meets(self, kind: Kind, number: int) -> Done | Frame | None:
        """Say what the checkpoint knows of a construct that the program comes to.

        Returns:
            A `Done` for one that was complete, the saved `Frame` of the turn that a loop was in, or
            None for the place of the checkpoint itself.

        Raises:
            CheckpointError: the program does not come to what it had come to.
        """
        assert self._saved is not None
        depth, here = len(self.frames) - 1, self.frames[-1]
        saved = self._saved[depth]
        if len(here.done) < len(saved.done):
            done = saved.done[len(here.done)]
            if (done.kind, done.number) != (kind, number):
                raise _another_way(kind, number, done.kind, done.number)
            return done
        if kind == "loop" and len(self._saved) > depth + 1:
            inner = self._saved[depth + 1]
            if inner.loop == number:
                return inner
        if kind == "pass" and len(self._saved) == depth + 1 and self._active == number:
            return None
        raise _another_way(kind, number, *self._expected(depth))

    def is_innermost(self, frame: Frame) -> bool:
        """Whether a checkpoint was taken right in this turn, and between turns."""
        return self._saved is not None and self._saved[-1] is frame and self._active is None

    @property
    def program_was_complete(self) -> bool:
        """Whether all that the checkpoint has is behind, since it was taken at the program's end."""
        if self._saved is None or len(self._saved) > 1 or self._active is not None:
            return False
        return len(self.frames) == 1 and len(self.frames[0].done) == len(self._saved[0].done)

    def arrived(self) -> None:
        """The place of the checkpoint is reached: its frames are the program's again."""
        assert self._saved is not None
        self.frames = self._saved
        self._saved = None

    def _expected(self, depth: int) -> tuple[Kind, int]:
        assert self._saved is not None
        if len(self._saved) > depth + 1:
            return "loop", self._saved[depth + 1].loop
        return "pass", -1 if self._active is None else self._active


def copied(value: Any) -> Any:
    """Copy carried values, so that what the program does to a list later does not reach the copy."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad and value.is_leaf)
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return copy.deepcopy(value)


def _another_way(kind: Kind, number: int, expected_kind: Kind, expected: int) -> CheckpointError:
    names = {"loop": "outer loop", "pass": "loop over loader"}  # nosec B105  # a phrase
    return CheckpointError(
        f"the program came to {names[kind]} {number} where it had come to "
        f"{names[expected_kind]} {expected} before",
        expected="the same program as the one that took the checkpoint, which decides by values that "
        "are carried",
        todo="carry what the decision depends on with run.carry(...), or start a new run",
    )
