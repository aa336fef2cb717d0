"""Two tapes in, what differs out. Pure: nothing is run here.

On one worker equal means every bit. On several it means within a tolerance, since sums are added in
another order. Nothing compared is never equal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from bessemer.proof.tapes import Loss, Step, Tape, UnequalWorkersError, joined

TOLERANCE = 1e-4
"""Largest relative difference of losses and parameters in float32 on several workers."""
_NEARER_BY_FAR = 5.0
SHAKEN_FACTOR = 10.0
"""How much further several workers may be carried than one whose numbers are changed in their last bits."""

Word = Literal["equal", "different", "nondeterministic", "original-fails", "not-comparable"]
Value = float | str


@dataclass(frozen=True)
class Difference:
    """The first place at which two tapes differ.

    Attributes:
        step: of the optimizer; that of a loss is the step that follows it. Where no optimizer steps,
            the number of the loss. Counted from 1.
        name: of the value.
        original: its value on the first tape.
        converted: its value on the second.
    """

    step: int
    name: str
    original: Value
    converted: Value

    def __str__(self) -> str:
        return f"step {self.step}, {self.name}: {_shown(self.original)} and {_shown(self.converted)}"


@dataclass(frozen=True)
class Comparison:
    """What comparing two tapes came to.

    Attributes:
        num_steps: steps that were compared and agree; losses where no optimizer steps (count).
        max_difference: largest relative difference of a loss or of the sum of |p|, as far as both go.
        first: where they first differ, or None.
        compared: what was compared, for people.
    """

    num_steps: int
    max_difference: float
    first: Difference | None
    compared: str


@dataclass(frozen=True)
class Verdict:
    """What verification came to; its fields are those of the JSON.

    Attributes:
        verdict: equal, or what else.
        reason: why, in words.
        steps_compared: steps whose losses and parameters agree (count).
        workers: most workers that the project was compared on (count).
        max_difference: largest relative difference found.
        first_difference: where the two sides first differ, or None.
        compared: what was compared, a line for each comparison.
        modernised: old forms of the original that were run as what they were, a line each.
    """

    verdict: Word
    reason: str
    steps_compared: int = 0
    workers: int = 0
    max_difference: float | None = None
    first_difference: Difference | None = None
    compared: tuple[str, ...] = field(default=())
    modernised: tuple[str, ...] = field(default=())


def compare(first: Tape, second: Tape, tolerance: float | Sequence[float] = 0.0) -> Comparison:
    """Compare two tapes event by event.

    Args:
        first: the original's.
        second: the project's.
        tolerance: largest relative difference that counts as equal, one for all or one for each event;
            0 asks for every bit.
    """
    is_exact = tolerance == 0.0
    allowed = itertools.repeat(tolerance) if isinstance(tolerance, float) else tolerance
    steps_begun, num_agreed, largest = 1, 0, 0.0
    found: Difference | None = None
    counts_losses = not any(isinstance(event, Step) for event in first.events)
    for ours, theirs, bound in zip(first.events, second.events, allowed, strict=False):
        difference = _difference(ours, theirs, steps_begun, bound)
        if _have_numbers(ours, theirs):
            largest = max(largest, relative(_number(ours), _number(theirs)))
        if difference is not None and found is None:
            found = difference
        if isinstance(ours, Step) or counts_losses:
            steps_begun += 1
            num_agreed += found is None
        if type(ours) is not type(theirs):
            break
    if found is None:
        found = _of_lengths(first, second, steps_begun)
    return Comparison(num_agreed, largest, found, _words(first, is_exact))


def _diverged(tape: Tape) -> str:
    """Say from which step on a run has no numbers, so that equal says little there; empty if it has."""
    step = 1
    for event in tape.events:
        if not math.isfinite(_number(event)):
            return f"; from step {step} on they are no finite numbers, on both sides"
        step += isinstance(event, Step)
    return ""


def relative(first: float, second: float) -> float:
    """Return how far two numbers are apart, relative to the larger; infinite where one is no number."""
    if first == second or (math.isnan(first) and math.isnan(second)):
        return 0.0
    if not (math.isfinite(first) and math.isfinite(second)):
        return math.inf
    return abs(first - second) / max(abs(first), abs(second))


def _difference(ours: Loss | Step, theirs: Loss | Step, step: int, tolerance: float) -> Difference | None:
    match ours, theirs:
        case Loss(), Loss():
            if not _same(ours.value, theirs.value, tolerance):
                return Difference(step, "loss", ours.value, theirs.value)
            if not tolerance and ours.leaves != theirs.leaves:
                name = "digest of the parameters that the loss depends on"
                return Difference(step, name, ours.leaves, theirs.leaves)
        case Step(), Step():
            if ours.optimizer != theirs.optimizer:
                return Difference(step, "optimizer", ours.optimizer, theirs.optimizer)
            after = f"parameters after {ours.optimizer}"
            if not _same(ours.total, theirs.total, tolerance):
                return Difference(step, f"sum of |p| of the {after}", ours.total, theirs.total)
            if not tolerance and ours.digest != theirs.digest:
                return Difference(step, f"digest of the {after}", ours.digest, theirs.digest)
        case _:
            return Difference(step, "what happens", _kind(ours), _kind(theirs))
    return None


def _same(first: float, second: float, tolerance: float) -> bool:
    if tolerance:
        return relative(first, second) <= tolerance
    return first.hex() == second.hex()


def _of_lengths(first: Tape, second: Tape, step: int) -> Difference | None:
    """Return the difference of tapes of which one goes on where the other ends."""
    ours, theirs = first.events, second.events
    if len(ours) == len(theirs):
        return None
    at = min(len(ours), len(theirs))
    more = [_kind(tape[at]) if len(tape) > at else "the end" for tape in (ours, theirs)]
    return Difference(step, "what happens", *more)


def _have_numbers(ours: Loss | Step, theirs: Loss | Step) -> bool:
    return type(ours) is type(theirs)


def _number(event: Loss | Step) -> float:
    return event.value if isinstance(event, Loss) else event.total


def _kind(event: Loss | Step) -> str:
    return f"loss {event.value!r}" if isinstance(event, Loss) else f"a step of {event.optimizer}"


def _words(tape: Tape, is_exact: bool) -> str:
    has_steps = any(isinstance(event, Step) for event in tape.events)
    if not is_exact:
        after = "the sum of |p| after each step" if has_steps else "no parameters"
        return f"losses of the global batch and {after}"
    if has_steps:
        return "every bit of each loss and of the parameters after each step"
    return "every bit of each loss and of the parameters that it depends on; no optimizer stepped"


def _shown(value: Value) -> str:
    return value if isinstance(value, str) else repr(value)


def judge_original(first: Sequence[Tape], second: Sequence[Tape]) -> Verdict | None:
    """Judge two runs of the original; None where they are one, and the same."""
    for tapes in (first, second):
        if len(tapes) != 1:
            return _not_one(tapes, "the original program")
    found = compare(first[0], second[0])
    if found.first is not None:
        return Verdict(
            "nondeterministic",
            f"two runs of the original program differ at {found.first}",
            found.num_steps,
            max_difference=found.max_difference,
            first_difference=found.first,
        )
    return None


def judge_one(original: Tape, tapes: Sequence[Tape]) -> Verdict:
    """Judge the project on one worker against the original: every bit."""
    if len(tapes) != 1:
        return _not_one(tapes, "the project")
    found = compare(original, tapes[0])
    line = f"1 worker: {found.compared}"
    if found.first is not None:
        reason = f"original and project differ at {found.first}"
        return Verdict("different", reason, found.num_steps, 1, found.max_difference, found.first, (line,))
    if not found.num_steps:
        return Verdict("not-comparable", "no step was compared")
    reason = "on one worker every bit is that of the original"
    return Verdict("equal", reason, found.num_steps, 1, found.max_difference, None, (line,))


def judge_several(
    one: Sequence[Tape],
    several: Sequence[Tape],
    num_workers: int,
    reduction: Literal["mean", "sum"],
    shaken: Sequence[Tape] = (),
) -> Verdict:
    """Judge the project on several workers against itself on one, both in canonical order.

    Args:
        one: tapes of the run on one worker.
        several: those of the run on several.
        num_workers: how many (count).
        reduction: of the loss over its batch, as the settings say.
        shaken: those of a run on one worker whose numbers are changed in their last bits. Where that
            carries it further than the tolerance, several workers may go as far, times `SHAKEN_FACTOR`.
    """
    tolerances: float | Sequence[float] = TOLERANCE
    within = f"within {TOLERANCE:g}"
    if len(shaken) == 1 and len(one) == 1:
        tolerances = reach(one[0], shaken[0])
        within += f", or {SHAKEN_FACTOR:g} times as far as a change of the last bits leads"
    if len(one) != 1:
        return _not_one(one, "the project on one worker in canonical order")
    if len(several) != num_workers:
        return _not_one(several, f"the project on {num_workers} workers", num_workers)
    try:
        found = compare(one[0], joined(several, reduction), tolerances)
    except UnequalWorkersError as error:
        return Verdict("different", f"on {num_workers} workers: {error}", 0, num_workers)
    notes = one[0].notes | frozenset().union(*(tape.notes for tape in several))
    line = f"{num_workers} workers: {found.compared}, {within}{_switched_off(notes)}"
    common = (found.num_steps, num_workers, found.max_difference, found.first, (line,))
    if found.first is None and found.num_steps:
        reason = f"on {num_workers} workers the largest relative difference is {found.max_difference:.2g}"
        reason += _diverged(one[0])
        return Verdict("equal", reason, *common)
    if found.first is None:
        return Verdict("not-comparable", "no step was compared")
    other = _other_reduction(one[0], several, reduction)
    if other:
        return Verdict("different", other, *common)
    if "draws" in notes:
        reason = (
            f"on {num_workers} workers: the program draws random numbers while it trains, and each "
            f"worker draws its own; they differ at {found.first}"
        )
        return Verdict("not-comparable", reason, *common)
    reason = f"1 and {num_workers} workers are not {within}, at {found.first}"
    return Verdict("different", reason, *common)


def rounding_may_explain(
    found: Verdict, one: Sequence[Tape], several: Sequence[Tape], reduction: Literal["mean", "sum"]
) -> bool:
    """Whether to find out how far rounding leads: numbers differ, and nothing else explains it."""
    first = found.first_difference
    if first is None or isinstance(first.original, str):
        return False
    if any("draws" in tape.notes for tape in (*one, *several)):
        return False
    return not _other_reduction(one[0], several, reduction)


def reach(one: Tape, shaken: Tape) -> list[float]:
    """Return for each event how far apart two runs may be that differ in rounding alone.

    Training amplifies rounding, some programs a thousandfold in ten steps. An error in what is computed
    shows at the first steps, before rounding has come far.
    """
    largest, allowed = 0.0, []
    for ours, theirs in zip(one.events, shaken.events, strict=False):
        if type(ours) is type(theirs):
            largest = max(largest, relative(_number(ours), _number(theirs)))
        allowed.append(max(TOLERANCE, SHAKEN_FACTOR * largest))
    return allowed + [TOLERANCE] * (len(one.events) - len(allowed))


def _other_reduction(one: Tape, several: Sequence[Tape], reduction: Literal["mean", "sum"]) -> str:
    """Say so if the first loss is right only if losses are reduced in the other way.

    Where the program draws random numbers right means nearer by far.
    """
    other: Literal["mean", "sum"] = "sum" if reduction == "mean" else "mean"
    begun = [Tape(tape.events[:1]) for tape in (one, *several)]
    as_said, as_other = (
        compare(begun[0], joined(begun[1:], way), TOLERANCE).max_difference for way in (reduction, other)
    )
    draws = any("draws" in tape.notes for tape in (one, *several))
    if as_other > (as_said / _NEARER_BY_FAR if draws else TOLERANCE) or as_said <= TOLERANCE:
        return ""
    return (
        f"the loss is a {other} over its batch, and the settings say {reduction}: losses differ by the "
        f'number of workers; set scaling.loss_reduction = "{other}"'
    )


def _switched_off(notes: frozenset[str]) -> str:
    off = [name for name in ("dropout", "batch statistics") if name in notes]
    return f"; {' and '.join(off)} switched off on both sides" if off else ""


def _not_one(tapes: Sequence[Tape], who: str, expected: int = 1) -> Verdict:
    if not tapes:
        return Verdict("not-comparable", f"{who} called backward() on no loss")
    trained = f"{len(tapes)} processes of {who} trained"
    return Verdict("not-comparable", f"{trained}; {expected} was expected")
