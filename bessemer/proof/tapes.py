"""Tapes as values: reads what `tape` wrote, and joins the tapes of several workers into one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Loss:
    """A scalar that `backward()` was called on.

    Attributes:
        value: of the scalar.
        leaves: digest of the parameters that it depends on, or "" once an optimizer has stepped.
        share: this worker's fraction of the global batch; 1 where every worker computes the same.
    """

    value: float
    leaves: str = ""
    share: float = 1.0


@dataclass(frozen=True)
class Step:
    """A step of an optimizer.

    Attributes:
        optimizer: its class.
        digest: of every bit of its parameters after the step.
        total: sum of |p| over them.
    """

    optimizer: str
    digest: str
    total: float


@dataclass(frozen=True)
class Tape:
    """What one process computed.

    Attributes:
        events: losses and steps in their order.
        notes: what bears on the comparison: "dropout", "batch statistics", "draws".
        is_cut: whether it was ended after the steps that were asked for.
        rank: of the worker, or None outside of Bessemer.
    """

    events: tuple[Loss | Step, ...]
    notes: frozenset[str] = frozenset()
    is_cut: bool = False
    rank: int | None = None

    @property
    def num_steps(self) -> int:
        """Steps of optimizers; losses where no optimizer stepped (count)."""
        steps = sum(isinstance(event, Step) for event in self.events)
        return steps or len(self.events)


class UnequalWorkersError(Exception):
    """Workers did not compute the same sequence of losses and steps; the text says what differs."""


def read_tapes(folder: Path) -> list[Tape]:
    """Return the tapes of the processes that trained, those of workers in the order of their ranks."""
    tapes = [_read(file) for file in sorted(folder.glob("*.jsonl"))]
    return sorted((tape for tape in tapes if tape.events), key=lambda tape: tape.rank or 0)


def _read(file: Path) -> Tape:
    events: list[Loss | Step] = []
    notes: set[str] = set()
    is_cut, rank = False, None
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            break  # the process was killed while it wrote this line
        if "loss" in event:
            value = float.fromhex(event["loss"])
            events.append(Loss(value, event.get("leaves", ""), event.get("share", 1.0)))
        elif "step" in event:
            events.append(Step(event["step"], event["digest"], float.fromhex(event["total"])))
        elif "note" in event:
            notes.add(event["note"])
        is_cut = is_cut or "cut" in event
        rank = event.get("rank", rank)
    return Tape(tuple(events), frozenset(notes), is_cut, rank)


def joined(tapes: Sequence[Tape], reduction: Literal["mean", "sum"]) -> Tape:
    """Return the tape of the global batch from those of its workers.

    A loss is the mean of the workers' losses weighted by their shares, or their sum; where all
    compute the same, that. Digests of parameters must be equal on all.

    Raises:
        UnequalWorkersError: they are not, or the workers do not have the same events.
    """
    first = tapes[0]
    for tape in tapes[1:]:
        if len(tape.events) != len(first.events):
            raise UnequalWorkersError(
                f"worker {first.rank} has {len(first.events)} losses and steps, "
                f"worker {tape.rank} has {len(tape.events)}"
            )
    events: list[Loss | Step] = []
    step = 1
    for found in zip(*(tape.events for tape in tapes), strict=True):
        if all(isinstance(event, Step) for event in found):
            # By their text: parameters that are no numbers any more are equal as well.
            if len({(event.digest, event.total.hex()) for event in found if isinstance(event, Step)}) > 1:
                raise UnequalWorkersError(f"parameters differ between workers after step {step}")
            step += 1
            events.append(found[0])
            continue
        losses = [event for event in found if isinstance(event, Loss)]
        if len(losses) < len(found):
            raise UnequalWorkersError(f"at step {step} some workers have a loss where others have a step")
        events.append(replace(losses[0], value=_of_batch(losses, reduction)))
    notes = frozenset().union(*(tape.notes for tape in tapes))
    return Tape(tuple(events), notes, all(tape.is_cut for tape in tapes))


def _of_batch(losses: Sequence[Loss], reduction: Literal["mean", "sum"]) -> float:
    if all(loss.share == 1.0 for loss in losses):
        return sum(loss.value for loss in losses) / len(losses)
    # A worker without a sample computes on a stand-in, which counts nothing.
    counted = [loss for loss in losses if loss.share > 0]
    return sum(loss.value * (loss.share if reduction == "mean" else 1.0) for loss in counted)
