"""The line between the workers of a run and its driver: a small actor that keeps events until read.

Ray Train's own channel is polled every two seconds and holds one report, so it cannot carry
progress. This one is fire and forget for the workers, and outlives them, so it also counts the
attempts and knows whether the last one failed in the same way as the one before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bessemer.errors import BessemerError
from bessemer.utils.events import Event, Tally

_MAX_EVENTS = 10_000


@dataclass(frozen=True)
class Attempt:
    """What a worker group is told when it starts.

    Attributes:
        number: 1 for the first attempt of the run.
        give_up: why it should not train at all, or None.
        reached: last step of the run that an earlier attempt told of (count).
    """

    number: int
    give_up: BessemerError | None
    reached: int = 0


class Mailbox:
    """State of the actor; an ordinary class, so that tests need no Ray."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._num_attempts = 0
        self._reached = 0
        self._final_error: BessemerError | None = None
        self._failures: dict[tuple[int, str], int] = {}
        self._stop_wished = False
        self._stopped_at: int | None = None

    def begin_attempt(self) -> Attempt:
        """Count an attempt, unless it is to give up; the main worker calls it once when it starts."""
        if self._final_error is None:
            self._num_attempts += 1
        return Attempt(self._num_attempts, self._final_error, self._reached)

    def send(self, event: Event) -> None:
        """Keep an event for the driver."""
        self._events.append(event)
        if isinstance(event, Tally):
            self._reached = max(self._reached, event.step)

    def fail(self, error: BessemerError) -> None:
        """Record an error that no restart can mend."""
        self._final_error = self._final_error or error

    def failed_at(self, step: int, error: BessemerError) -> None:
        """Record an error of the project's code; the same one in two attempts at one step is final."""
        first_attempt = self._failures.setdefault((step, error.found), self._num_attempts)
        if first_attempt != self._num_attempts:
            self.fail(error)

    def wish_stop(self) -> None:
        """Ask the workers to end at their next step."""
        self._stop_wished = True

    def stop_wished(self) -> bool:
        """Whether the workers are asked to end."""
        return self._stop_wished

    def stopped(self, step: int) -> None:
        """Record that the workers ended after a checkpoint at a step because they were asked to."""
        self._stopped_at = step

    def stopped_at(self) -> int | None:
        """Return the step at which the workers ended because they were asked to, or None."""
        return self._stopped_at

    def read(self) -> tuple[list[Event], BessemerError | None, int]:
        """Return the events since the last call, the final error, and the number of attempts."""
        events = list(self._events)
        self._events.clear()
        return events, self._final_error, self._num_attempts


class Monitor:
    """A handle of the mailbox actor, for the driver and for workers; it can be pickled."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    @classmethod
    def start(cls) -> Monitor:
        """Start the actor on the driver's node, reserving nothing: another node may die without it."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return cls(ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote())

    def begin_attempt(self) -> Attempt:
        """Count an attempt and wait for what is known about it."""
        attempt: Attempt = ray.get(self._actor.begin_attempt.remote())
        return attempt

    def send(self, event: Event) -> None:
        """Tell the driver something; returns at once."""
        self._actor.send.remote(event)

    def fail(self, error: BessemerError) -> None:
        """Tell the driver that no restart can help; waits until it is recorded."""
        ray.get(self._actor.fail.remote(error))

    def failed_at(self, step: int, error: BessemerError) -> None:
        """Tell the driver that the project's code failed; waits until it is recorded."""
        ray.get(self._actor.failed_at.remote(step, error))

    def wish_stop(self) -> None:
        """Ask the workers to end at their next step; returns at once."""
        self._actor.wish_stop.remote()

    def stop_wished(self) -> bool:
        """Whether the workers are asked to end."""
        wished: bool = ray.get(self._actor.stop_wished.remote())
        return wished

    def stopped(self, step: int) -> None:
        """Tell the driver that the workers ended as they were asked to; waits until it is recorded."""
        ray.get(self._actor.stopped.remote(step))

    def stopped_at(self) -> int | None:
        """Return the step at which the workers ended because they were asked to, or None."""
        step: int | None = ray.get(self._actor.stopped_at.remote())
        return step

    def read(self) -> tuple[list[Event], BessemerError | None, int]:
        """Return what came in since the last call; see `Mailbox.read`."""
        result: tuple[list[Event], BessemerError | None, int] = ray.get(self._actor.read.remote())
        return result

    def stop(self) -> None:
        """End the actor."""
        ray.kill(self._actor)
