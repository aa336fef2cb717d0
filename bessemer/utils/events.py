"""What a run tells its driver while it trains: small frozen values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class LayerRow:
    """One line of a model's summary.

    Attributes:
        name: attribute of the layer in its model.
        kind: class of the layer.
        num_parameters: trainable and frozen values in it (count).
    """

    name: str
    kind: str
    num_parameters: int


@dataclass(frozen=True)
class ModelPlaced:
    """A model was placed on the workers; what it consists of, one level deep.

    Attributes:
        kind: class of the model.
        rows: its direct children.
        num_parameters: all values, shared ones once (count).
        num_trainable: those that an optimizer may change (count).
        size_bytes: memory of parameters and buffers.
    """

    kind: str
    rows: tuple[LayerRow, ...]
    num_parameters: int
    num_trainable: int
    size_bytes: int


@dataclass(frozen=True)
class AttemptStarted:
    """The workers have begun to run the project's code.

    Attributes:
        number: 1 for the first attempt of the run.
        device: what the workers compute on, such as "2 x cpu".
        resumed_step: optimizer step of the checkpoint it goes on from, or None for a fresh start.
        why: what ended the attempt before: "failure", "preemption" or "resize"; "start" for the first.
        waited_s: pause before it, because attempts failed in a row (seconds).
        num_workers: workers that train together (count).
    """

    number: int
    device: str
    resumed_step: int | None
    why: str = "start"
    waited_s: float = 0.0
    num_workers: int = 1


@dataclass(frozen=True)
class AttemptEnded:
    """An attempt was ended before the program came to its end; told once what ended it was judged.

    Attributes:
        number: 1 for the first attempt of the driver.
        why: "failure", "preemption" or "resize".
        kind: of a failure: "died", "program" or "collateral", as `training.attempts` says; else as `why`.
        cause: what was found, in words; "" for a resize.
        step: optimizer steps that were complete (count), or None if nobody knows.
        rank: of the worker that was at fault, or None.
    """

    number: int
    why: str
    kind: str
    cause: str = ""
    step: int | None = None
    rank: int | None = None


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is whole on storage.

    Attributes:
        step: optimizer steps that were taken (count).
        size_bytes: of its state.
        duration_s: from when it was begun to be written; training went on meanwhile (seconds).
        at: when it was complete (seconds since 1970).
    """

    step: int
    size_bytes: int
    duration_s: float
    at: float


@dataclass(frozen=True)
class Progress:
    """How far the current pass over a loader is.

    Attributes:
        turn: turns of the outer loop that are complete (count).
        num_turns: turns in all, or None if the loop does not say.
        batch: batches of the pass that are done (count).
        num_batches: batches in the pass (count), or None if nobody knows.
    """

    turn: int
    num_turns: int | None
    batch: int
    num_batches: int | None


@dataclass(frozen=True)
class TurnEnded:
    """A turn of the outer loop, most often an epoch, is complete.

    Attributes:
        label: the loop variable's value.
        turn: turns that are complete (count).
        num_turns: turns in all, or None.
        step: optimizer steps so far (count).
        metrics: mean of what was logged at each step, last value of everything else.
        duration_s: time of the turn (seconds).
        samples_per_s: training samples of all workers by the time of the training passes.
        data_wait_fraction: share of the turn that the main worker waited for data, in [0, 1].
        unit: what a turn is.
    """

    label: str
    turn: int
    num_turns: int | None
    step: int
    duration_s: float
    samples_per_s: float
    data_wait_fraction: float
    metrics: dict[str, float] = field(default_factory=dict)
    unit: Literal["epoch", "step"] = "epoch"


@dataclass(frozen=True)
class Note:
    """A sentence that the user should see."""

    text: str


@dataclass(frozen=True)
class Tally:
    """What the main worker has counted in its attempt so far; each one replaces the one before.

    Moments are in seconds since 1970, and None where they have not come. Times are of this attempt
    and count from its first step on, so that warming up is no part of them.

    Attributes:
        attempt: 1 for the first attempt of this driver.
        at: when it was told.
        began_at: when the worker began to run the job.
        restored_at: when the checkpoint was put back.
        first_step_at: when the first optimizer step was done.
        new_step_at: when the first step was done that no earlier attempt had told of.
        step: optimizer steps of the run (count).
        num_steps: steps that this attempt computed (count).
        num_again: those of them that an earlier attempt had computed (count).
        steps_s: time of the loops that take steps, without waiting for data and checkpoints (seconds).
        data_wait_s: waiting for batches, those of evaluation included (seconds).
        num_checkpoints: checkpoints that were taken (count).
        checkpoint_s: training stood still for them (seconds).
        longest_checkpoint_s: the longest of these stalls (seconds).
        last_checkpoint_s: the latest of them (seconds).
        ended: whether the attempt came to an end of its own; false for the last word of a killed one.
        num_samples: samples of all workers that the steps were computed on (count).
        step_durations_s: of steps since the tally before, without waiting for data and checkpoints; the
            first few only where steps are many (seconds).
    """

    attempt: int
    at: float
    began_at: float
    restored_at: float | None = None
    first_step_at: float | None = None
    new_step_at: float | None = None
    step: int = 0
    num_steps: int = 0
    num_again: int = 0
    steps_s: float = 0.0
    data_wait_s: float = 0.0
    num_checkpoints: int = 0
    checkpoint_s: float = 0.0
    longest_checkpoint_s: float = 0.0
    last_checkpoint_s: float = 0.0
    ended: bool = False
    num_samples: int = 0
    step_durations_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class FailureNoticed:
    """Ray Train noticed that workers failed.

    Attributes:
        at: when (seconds since 1970).
    """

    at: float


@dataclass(frozen=True)
class TurnToJudge:
    """A turn of the outer loop is complete in a run that somebody judges.

    Attributes:
        turn: turns that are complete, of all outer loops of the program (count).
        step: optimizer steps so far (count).
        metrics: last value of each metric.
        waits: whether the workers wait for a verdict.
        num_turns: turns in all, or None.
    """

    turn: int
    step: int
    metrics: dict[str, float]
    waits: bool
    num_turns: int | None = None


@dataclass(frozen=True)
class ProgramEnded:
    """The program has come to its end.

    Attributes:
        step: optimizer steps (count).
        metrics: last value of each metric, with those that were logged after its last turn.
    """

    step: int
    metrics: dict[str, float] = field(default_factory=dict)


Event = (
    ModelPlaced
    | AttemptStarted
    | AttemptEnded
    | CheckpointSaved
    | Progress
    | TurnEnded
    | Note
    | Tally
    | FailureNoticed
    | TurnToJudge
    | ProgramEnded
)
