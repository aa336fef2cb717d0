"""The line between the workers of a run and its driver: a small actor that keeps news until read.

Ray Train's own channel is polled every two seconds and holds one report, so it cannot carry
progress. This one is fire and forget for the workers, and outlives them, so it also keeps the ledger
of attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bessemer.errors import BessemerError
from bessemer.training.attempts import Beginning, Kind, Ledger, Limits, Report, Why
from bessemer.utils.events import AttemptEnded, Event, Tally
from bessemer.utils.records import Record

_Answer = TypeVar("_Answer")

_MAX_EVENTS = 10_000
# Longest wait of one call for something that may take any time.
_LISTEN_S = 5.0
# Barriers whose answer may still be asked for.
_MAX_BARRIERS = 100


@dataclass(frozen=True)
class Attempt:
    """What a worker group is told when it starts.

    Attributes:
        number: 1 for the first attempt of the run.
        give_up: why it should not train at all, or None.
        wait_s: how long to wait before it trains (seconds).
        why: what ended the attempt before.
        reached: last step of the run that an earlier attempt told of (count).
    """

    number: int
    give_up: BessemerError | None
    wait_s: float = 0.0
    why: Why = "start"
    reached: int = 0


@dataclass(frozen=True)
class News:
    """What came in for the driver since it read last.

    Attributes:
        events: to show and to count.
        records: to write to MLflow.
        error: an error that no restart can mend, or None.
        num_attempts: worker groups that began, in all (count).
        number: how many news there were before (count).
    """

    events: list[Event] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    error: BessemerError | None = None
    num_attempts: int = 0
    number: int = 0


class Mailbox:
    """State of the actor; an ordinary class, so that tests need no Ray.

    Ray runs one method at a time, and another while one waits. On a busy machine an answer may be lost,
    and Ray then calls again: whatever is called twice has the effect of one call.
    """

    def __init__(self, limits: Limits | None = None, logs: str = "the run's logs") -> None:
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._ledger = Ledger(limits or Limits(), logs)
        self._reached = 0
        self._final_error: BessemerError | None = None
        self._stop_wished = False
        self._stopped_at: int | None = None
        self._records: list[Record] = []
        self._written: dict[str, BessemerError | None] = {}
        self._lost: BessemerError | None = None
        self._answers: dict[str, Any] = {}
        self._batches: dict[str, int] = {}
        self._verdicts: dict[int, bool] = {}
        self._sent = News(number=-1)
        self._has_news = asyncio.Event()
        self._told = asyncio.Event()

    def begin_attempt(self, checkpoint: int | None = None, caller: str = "") -> Attempt:
        """Count an attempt, unless it is to give up; the main worker calls it once when it starts.

        Args:
            checkpoint: step of the newest checkpoint, if there is one (count).
            caller: tells calls apart from one that is repeated.
        """
        return self._once(caller, lambda: self._begin(checkpoint))

    def _once(self, caller: str, answer: Callable[[], _Answer]) -> _Answer:
        if not caller:
            return answer()
        if caller not in self._answers:
            self._answers[caller] = answer()
        found: _Answer = self._answers[caller]
        return found

    def _begin(self, checkpoint: int | None) -> Attempt:
        if self._final_error is None:
            begun = self._ledger.begin(checkpoint)
            self._tell_ending()
            if isinstance(begun, Beginning):
                return Attempt(begun.number, None, begun.wait_s, begun.why, self._reached)
            self.fail(begun)
        return Attempt(self._ledger.num_attempts, self._final_error)

    def send(self, event: Event) -> None:
        """Keep an event for the driver."""
        self._events.append(event)
        self._has_news.set()
        if isinstance(event, Tally):
            self._reached = max(self._reached, event.step)

    def record(self, records: Sequence[Record], sender: str = "", number: int = 0) -> None:
        """Keep records for the driver; none is ever dropped, or kept twice.

        Args:
            records: to write to MLflow.
            sender: of these records.
            number: of this call by the sender, from 0 (count).
        """
        if sender and number <= self._batches.get(sender, -1):
            return
        self._batches[sender] = number
        self._records += records
        self._has_news.set()

    def tell_written(self, barrier: str, error: BessemerError | None) -> None:
        """Take the driver's word that what was recorded before a barrier is written, or cannot be."""
        self._written[barrier] = error
        self._told.set()
        for old in list(self._written)[:-_MAX_BARRIERS]:
            del self._written[old]

    async def written(self, barrier: str, wait_s: float) -> tuple[bool, BessemerError | None]:
        """Return whether what was recorded before a barrier is written, after waiting for it, or why not."""
        await self._until(lambda: barrier in self._written or self._lost is not None, wait_s)
        is_told = barrier in self._written
        error = self._written.get(barrier, self._lost)
        return is_told and error is None, error

    async def _until(self, condition: Callable[[], bool], wait_s: float) -> None:
        """Wait until the driver has told something, or so many seconds."""
        deadline = time.monotonic() + wait_s
        while not condition() and (left := deadline - time.monotonic()) > 0:
            self._told.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._told.wait(), left)

    def tell_verdict(self, turn: int, ends: bool) -> None:
        """Take the driver's verdict on a turn: whether the run ends after it."""
        self._verdicts[turn] = ends
        self._told.set()

    async def verdict(self, turn: int, wait_s: float) -> bool | None:
        """Return the verdict on a turn, after waiting for it, or None if there is none yet."""
        await self._until(lambda: turn in self._verdicts or self._lost is not None, wait_s)
        return self._verdicts.get(turn, True if self._lost is not None else None)

    def lose_driver(self, error: BessemerError) -> None:
        """Nothing more will be written: tell everybody who waits, and later ones."""
        self._lost = error
        self._told.set()
        self.fail(error)

    def fail(self, error: BessemerError) -> None:
        """Record an error that no restart can mend."""
        self._final_error = self._final_error or error

    def failed_at(
        self, step: int, error: BessemerError, rank: int = 0, details: str = "", collateral: bool = False
    ) -> None:
        """Record an error of the project's code; the same one in two attempts at one step is final.

        Args:
            step: optimizer steps that were complete (count).
            error: what the worker met.
            rank: of the worker.
            details: where it was, in words.
            collateral: whether it only says that another worker is gone.
        """
        kind: Kind = "collateral" if collateral else "program"
        self._ledger.note(Report(rank, kind, error, step, details))

    def ended(self, reports: Sequence[Report], caller: str = "") -> BessemerError | None:
        """Take what Ray says of the workers; return why the run ends, or None if it begins again."""
        return self._once(caller, lambda: self._judge(reports))

    def _judge(self, reports: Sequence[Report]) -> BessemerError | None:
        error = self._ledger.ended(reports)
        self._tell_ending()
        if error is not None:
            self.fail(error)
        return self._final_error

    def _tell_ending(self) -> None:
        ending = self._ledger.take_ending()
        if ending is not None:
            cause = ending.cause
            kind = cause.kind if cause is not None and ending.why == "failure" else ending.why
            self.send(
                AttemptEnded(
                    ending.number,
                    ending.why,
                    kind,
                    cause.error.found if cause is not None else "",
                    cause.step if cause is not None else None,
                    cause.rank if cause is not None else None,
                )
            )

    def noticed(self, event: Event) -> None:
        """Record that a node of this attempt is about to be taken away, and tell the driver."""
        self._ledger.notice()
        self.send(event)

    def wish_stop(self) -> None:
        """Ask the workers to end at their next step."""
        self._stop_wished = True
        self._told.set()

    async def stop_wished(self, wait_s: float) -> bool:
        """Return whether the workers are asked to end, after waiting for it."""
        await self._until(lambda: self._stop_wished, wait_s)
        return self._stop_wished

    def stopped(self, step: int) -> None:
        """Record that the workers ended after a checkpoint at a step because they were asked to."""
        self._stopped_at = step

    def stopped_at(self) -> int | None:
        """Return the step at which the workers ended because they were asked to, or None."""
        return self._stopped_at

    def wake(self) -> None:
        """Have whoever waits for news go on: the job is done."""
        self._has_news.set()

    def read(self) -> News:
        """Return what came in since the last call."""
        number = self._sent.number + 1
        news = News(list(self._events), self._records, self._final_error, self._ledger.num_attempts, number)
        self._events.clear()
        self._records = []
        self._has_news.clear()
        return news

    async def next_news(self, wait_s: float, received: int = -1) -> News:
        """Wait until something comes in, and return it, or nothing after so many seconds.

        Args:
            wait_s: longest wait (seconds).
            received: number of the last news that arrived; later ones are sent again.
        """
        if self._sent.number <= received:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._has_news.wait(), wait_s)
        # A call that Ray repeats may run beside the first one: only one of them takes the news.
        if self._sent.number <= received:
            self._sent = self.read()
        return self._sent


class Monitor:
    """A handle of the mailbox actor, for the driver and for workers; it can be pickled."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    @classmethod
    def start(cls, limits: Limits | None = None, logs: str = "the run's logs") -> Monitor:
        """Start the actor on the driver's node, reserving nothing: another node may die without it.

        Args:
            limits: how often and how fast the workers begin again.
            logs: folder of the run's logs, as errors name it.
        """
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here, max_task_retries=-1)
        return cls(actor.remote(limits, logs))

    def _call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the mailbox and wait for what it returns."""
        return ray.get(getattr(self._actor, method).remote(*arguments))

    def _tell(self, method: str, *arguments: Any) -> None:
        """Call a method of the mailbox and do not wait."""
        getattr(self._actor, method).remote(*arguments)

    def begin_attempt(self, checkpoint: int | None = None) -> Attempt:
        """Count an attempt and wait for what is known about it; see `Mailbox.begin_attempt`."""
        attempt: Attempt = self._call("begin_attempt", checkpoint, secrets.token_hex(8))
        return attempt

    def send(self, event: Event) -> None:
        """Tell the driver something; returns at once."""
        self._tell("send", event)

    def fail(self, error: BessemerError) -> None:
        """Tell the driver that no restart can help; waits until it is recorded."""
        self._call("fail", error)

    def failed_at(
        self, step: int, error: BessemerError, rank: int = 0, details: str = "", collateral: bool = False
    ) -> None:
        """Tell the driver that the project's code failed; waits until it is recorded."""
        self._call("failed_at", step, error, rank, details, collateral)

    def ended(self, reports: Sequence[Report]) -> BessemerError | None:
        """Say what Ray says of the workers; return why the run ends, or None if it begins again."""
        error: BessemerError | None = self._call("ended", list(reports), secrets.token_hex(8))
        return error

    def noticed(self, event: Event) -> None:
        """Tell the driver that a node is about to be taken away; returns at once."""
        self._tell("noticed", event)

    def wish_stop(self) -> None:
        """Ask the workers to end at their next step; returns at once."""
        self._tell("wish_stop")

    def stop_wished(self) -> bool:
        """Return whether the workers are asked to end, after waiting a while for it."""
        wished: bool = self._call("stop_wished", _LISTEN_S)
        return wished

    def stopped(self, step: int) -> None:
        """Tell the driver that the workers ended as they were asked to; waits until it is recorded."""
        self._call("stopped", step)

    def stopped_at(self) -> int | None:
        """Return the step at which the workers ended because they were asked to, or None."""
        step: int | None = self._call("stopped_at")
        return step

    def record(self, records: Sequence[Record], sender: str, number: int) -> None:
        """Have the driver write something; waits until the records are kept for it."""
        self._call("record", list(records), sender, number)

    def written(self, barrier: str, wait_s: float) -> tuple[bool, BessemerError | None]:
        """Return whether what was recorded before a barrier is written, after waiting for it, or why not."""
        told: tuple[bool, BessemerError | None] = self._call("written", barrier, wait_s)
        return told

    def tell_written(self, barrier: str, error: BessemerError | None) -> None:
        """Tell who waits that what was recorded before a barrier is written, or cannot be."""
        self._tell("tell_written", barrier, error)

    def verdict(self, turn: int) -> bool:
        """Wait for the verdict on a turn; return whether the run ends after it."""
        while True:
            ends: bool | None = self._call("verdict", turn, _LISTEN_S)
            if ends is not None:
                return ends

    def tell_verdict(self, turn: int, ends: bool) -> None:
        """Tell the workers, who wait for it, whether the run ends after a turn."""
        self._tell("tell_verdict", turn, ends)

    def lose_driver(self, error: BessemerError) -> None:
        """Tell the workers that the driver writes nothing more; returns at once."""
        self._tell("lose_driver", error)

    def wake(self) -> None:
        """Have the driver's listener go on; returns at once."""
        self._tell("wake")

    def next_news(self, wait_s: float, received: int) -> News:
        """Wait until something comes in, and return it, or nothing; see `Mailbox.next_news`."""
        news: News = self._call("next_news", wait_s, received)
        return news

    def stop(self) -> None:
        """End the actor."""
        ray.kill(self._actor)


class LocalMonitor(Monitor):
    """The same line inside one process, for a worker that trains where its driver is."""

    def __init__(self, limits: Limits | None = None, logs: str = "the run's logs") -> None:
        self._mailbox = Mailbox(limits, logs)
        self._lock = threading.Lock()
        self._has_ended = False
        self._loop = asyncio.new_event_loop()
        # One thread calls the mailbox, as Ray does: one method at a time, another while one waits.
        self._thread = threading.Thread(target=self._loop.run_forever, name="bessemer-monitor", daemon=True)
        self._thread.start()

    def _call(self, method: str, *arguments: Any) -> Any:
        return self._begun(method, arguments).result()

    def _tell(self, method: str, *arguments: Any) -> None:
        self._begun(method, arguments)

    def _begun(self, method: str, arguments: tuple[Any, ...]) -> Future[Any]:
        with self._lock:
            if self._has_ended:
                raise RuntimeError("the monitor of this run has ended")
            return asyncio.run_coroutine_threadsafe(self._answer(method, arguments), self._loop)

    async def _answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        answer = getattr(self._mailbox, method)(*arguments)
        return await answer if inspect.isawaitable(answer) else answer

    def stop(self) -> None:
        """End the thread; who still waits for an answer is told that none comes."""
        with self._lock:
            if self._has_ended:
                return
            self._has_ended = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=_LISTEN_S)
        if not self._thread.is_alive():
            self._loop.run_until_complete(self._cancelled())
            self._loop.close()

    async def _cancelled(self) -> None:
        # What was asked last becomes a task first.
        await asyncio.sleep(0)
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
