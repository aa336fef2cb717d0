"""What a run tells its driver while it trains: small frozen values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    """

    number: int
    device: str
    resumed_step: int | None
    why: str = "start"
    waited_s: float = 0.0


@dataclass(frozen=True)
class FirstStep:
    """The first optimizer step of an attempt is done.

    Attributes:
        at: when (seconds since 1970).
    """

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
    """

    label: str
    turn: int
    num_turns: int | None
    step: int
    duration_s: float
    samples_per_s: float
    data_wait_fraction: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Note:
    """A sentence that the user should see."""

    text: str


Event = ModelPlaced | AttemptStarted | FirstStep | Progress | TurnEnded | Note
