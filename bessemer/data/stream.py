"""One worker's Ray Data pipeline: the plan goes in, this worker's batches come out, in order.

The source of the pipeline is a list of blocks, each a range of positions; position p of a loader is
step p % steps_per_pass of pass p // steps_per_pass, so one execution runs through many passes. The
next execution is started before the last blocks of the one before are asked for. A block is fetched by
one Ray Data task from the researcher's data set, which lies once in the object store. Every row that
arrives carries its position, rank and world size; one that is out of place stops the run.

Each worker has a pipeline of its own. A common one, split to the workers, would need an actor more
and would deal rows by their arrival; here a row cannot reach the wrong worker.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from bessemer.data.datasets import Fetched, Fetcher
from bessemer.data.order import Plan
from bessemer.data.shipping import Packed, unpack
from bessemer.data.wire import decode, encode
from bessemer.errors import BessemerError, DataError

# One execution covers so many blocks; starting the next costs a moment, listing more costs memory.
_BLOCKS_PER_EXECUTION = 256
# The next execution is started when so many blocks are left of the one before.
_BLOCKS_AHEAD = 48
_POLL_S = 0.5
_JOIN_S = 10.0


@dataclass(frozen=True)
class StreamOptions:
    """How a worker's pipeline runs.

    Attributes:
        num_tasks: tasks at a time (count).
        prefetch_blocks: blocks held in the worker (count).
        cpus_per_task: logical CPUs that Ray reserves for a task; 0 where workers have them all.
        reserved_cpus: logical CPUs that belong to training and not to data (count).
        reserved_gpus: GPUs likewise (count).
    """

    num_tasks: int
    prefetch_blocks: int
    cpus_per_task: float
    reserved_cpus: float
    reserved_gpus: float


@dataclass(frozen=True)
class Job:
    """What the tasks of a stream do.

    Attributes:
        recipe: the data set, in the object store.
        plan: which samples form which batch, in the object store.
        rank: the worker.
        world_size: number of workers.
    """

    recipe: ray.ObjectRef[Packed]
    plan: ray.ObjectRef[Plan]
    rank: int
    world_size: int


class Stream:
    """Batches of one plan for one worker, from a given position on; a `BatchSource`.

    Args:
        job: what its tasks do.
        options: how the pipeline runs.
        start: first position that it makes.
        stop: position to end before, or None to go on for ever.
        block_steps: steps that one task prepares (count).
    """

    def __init__(
        self, job: Job, options: StreamOptions, start: int, stop: int | None, block_steps: int
    ) -> None:
        self._job = job
        self._options = options
        self._stop = stop
        self._block_steps = block_steps
        self._position = start
        self._table: pa.Table | None = None
        self._row = 0
        self._has_delivered = False
        self._planned = start
        self._executions = [self._next_execution()]

    @property
    def position(self) -> int:
        """The position that the next row has."""
        return self._position

    @property
    def has_delivered(self) -> bool:
        """Whether anything has arrived."""
        return self._has_delivered

    def is_ready(self, position: int) -> bool:
        """Forget what is before a position, and say whether its batch is here; does not wait.

        Raises:
            DataError: a sample failed, or a row came out of place.
        """
        return self._advance(position, wait=False)

    def get(self, position: int) -> Fetched:
        """Wait for the batch at a position; earlier ones are forgotten.

        Raises:
            DataError: a sample failed, or a row came out of place.
        """
        self._advance(position, wait=True)
        assert self._table is not None
        fetched = _read(self._table, self._row)
        self._row += 1
        self._position += 1
        return fetched

    def close(self) -> None:
        """Stop the pipeline and forget what it has ready."""
        for execution in self._executions:
            execution.close()
        self._table = None

    def _advance(self, position: int, wait: bool) -> bool:
        """Come to a position; return whether its row is here."""
        while True:
            if self._table is not None:
                left = self._table.num_rows - self._row
                passed = min(left, position - self._position)
                self._row += passed
                self._position += passed
                if passed < left:
                    return True
            table = self._next_table(wait)
            if table is None:
                return False
            check_rows(table, self._position, self._job.rank, self._job.world_size)
            self._table, self._row, self._has_delivered = table, 0, True

    def _next_table(self, wait: bool) -> pa.Table | None:
        """Return the next table of any execution; None if it is not here and is not waited for."""
        ahead = _BLOCKS_AHEAD * self._block_steps
        if len(self._executions) == 1 and self._planned - self._position <= ahead and not self._is_planned:
            self._executions.append(self._next_execution())
        while True:
            found = self._executions[0].take(wait)
            if found is not _END:
                return found
            self._executions.pop(0)

    @property
    def _is_planned(self) -> bool:
        return self._stop is not None and self._planned >= self._stop

    def _next_execution(self) -> _Execution:
        blocks = []
        for _ in range(_BLOCKS_PER_EXECUTION):
            stop = self._planned + self._block_steps
            stop = stop if self._stop is None else min(stop, self._stop)
            if stop > self._planned:
                blocks.append({"start": self._planned, "stop": stop})
                self._planned = stop
        return _Execution(lambda: _tables(blocks, self._job, self._options), self._options.prefetch_blocks)


# An execution has given out its last table.
_END: Any = object()


class _Execution:
    """Runs an iterator of tables in a thread, a few tables ahead."""

    def __init__(self, tables: Callable[[], Iterator[pa.Table]], num_ahead: int) -> None:
        self._closing = threading.Event()
        self._ready: queue.Queue[Any] = queue.Queue(maxsize=num_ahead)
        self._thread = threading.Thread(
            target=self._produce, args=(tables,), name="bessemer-stream", daemon=True
        )
        self._thread.start()

    def take(self, wait: bool) -> Any:
        """Return the next table, `_END` behind the last, or None if it is not here and not waited for."""
        try:
            found = self._ready.get(block=wait)
        except queue.Empty:
            return None
        if isinstance(found, BaseException):
            raise first_cause(found)
        return found

    def close(self) -> None:
        """End the thread and forget what is ready."""
        self._closing.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._ready.get_nowait()
        self._thread.join(timeout=_JOIN_S)

    def _produce(self, tables: Callable[[], Iterator[pa.Table]]) -> None:
        """Keep `ready` filled until `closing` is set; an error is handed over as the last item."""
        try:
            for table in tables():
                if not self._put(table):
                    return
            self._put(_END)
        except BaseException as error:
            self._put(error)

    def _put(self, item: Any) -> bool:
        while not self._closing.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(item, timeout=_POLL_S)
                return True
        return False


def check_rows(table: pa.Table, position: int, rank: int, world_size: int) -> None:
    """Refuse a table of batches that are not this worker's next ones.

    Raises:
        DataError: a row has another position, or is for another worker.
    """
    rows = zip(*(table[name].to_pylist() for name in ("position", "rank", "world_size")), strict=True)
    for number, row in enumerate(rows):
        expected = (position + number, rank, world_size)
        if row != expected:
            raise DataError(
                "Ray Data delivered position {} for worker {} of {}".format(*row),
                expected="position {} for worker {} of {}".format(*expected),
                todo="report this: training went no further, so nothing is wrong with the model",
            )


def _tables(blocks: list[dict[str, int]], job: Job, options: StreamOptions) -> Iterator[pa.Table]:
    """Run one Ray Data execution; yield its tables in order."""
    source = ray.data.from_items(blocks, override_num_blocks=len(blocks))
    context = source.context
    context.enable_progress_bars = False
    execution = context.execution_options
    execution.preserve_order = True
    execution.exclude_resources = ray.data.ExecutionResources(
        cpu=options.reserved_cpus, gpu=options.reserved_gpus
    )
    batches = source.map_batches(
        _fetch_block,
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=options.cpus_per_task,
        concurrency=options.num_tasks,
        fn_args=(job,),
    )
    yield from batches.iter_batches(
        batch_size=None, batch_format="pyarrow", prefetch_batches=options.prefetch_blocks
    )


def _read(table: pa.Table, number: int) -> Fetched:
    head = table["head"][number].as_buffer()
    buffers = [part.as_buffer() for part in table["buffers"][number]]
    counts = (table["num_samples"][number].as_py(), table["num_global"][number].as_py())
    return Fetched(decode(memoryview(head), [memoryview(b) for b in buffers]), *counts)


def first_cause(error: BaseException) -> BaseException:
    """Find our own error in what Ray wrapped around it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BessemerError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return DataError(f"Ray failed: {error}")


_NAMES = ("position", "rank", "world_size", "num_samples", "num_global", "head", "buffers")
_KINDS = (pa.int64(), pa.int32(), pa.int32(), pa.int64(), pa.int64())

# What this process fetched with last, by object ids: tasks of one loader follow each other here.
_fetchers: dict[str, Fetcher] = {}
_plans: dict[str, Plan] = {}
_MAX_KEPT = 4


def _fetch_block(blocks: pa.Table, job: Job) -> pa.Table:
    """Fetch this worker's part of every step in the blocks: the map stage of the pipeline."""
    fetcher = _kept(_fetchers, job.recipe, lambda packed: Fetcher(unpack(packed)))
    plan = _kept(_plans, job.plan, lambda plan: plan)
    rows: list[tuple[int, int, int, int, int]] = []
    heads: list[bytes] = []
    buffers: list[list[memoryview]] = []
    for block in blocks.to_pylist():
        positions = range(block["start"], block["stop"])
        all_fetched = fetcher.fetch_all(plan, positions, job.rank, job.world_size)
        for position, fetched in zip(positions, all_fetched, strict=True):
            rows.append((position, job.rank, job.world_size, fetched.num_samples, fetched.num_global))
            head, parts = encode(fetched.batch)
            heads.append(head)
            buffers.append(parts)
    numbers = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), _KINDS, strict=True)]
    return pa.table([*numbers, pa.array(heads, pa.large_binary()), _lists(buffers)], names=_NAMES)


def _lists(lists: list[list[memoryview]]) -> pa.Array:
    """Return lists of bytes as an array of Arrow, for which each byte is copied once."""
    parts = [part for parts in lists for part in parts]
    ends = np.cumsum([0, *(part.nbytes for part in parts)], dtype=np.int64)
    memory = pa.allocate_buffer(int(ends[-1]))
    whole = np.frombuffer(memory, np.uint8)
    for part, begin, end in zip(parts, ends, ends[1:], strict=False):
        whole[begin:end] = part
    values = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(parts), [None, pa.py_buffer(ends), memory]
    )
    return pa.LargeListArray.from_arrays(np.cumsum([0, *map(len, lists)], dtype=np.int64), values)


def _kept(kept: dict[str, Any], reference: ray.ObjectRef[Any], made: Callable[[Any], Any]) -> Any:
    name = reference.hex()
    if name not in kept:
        value = made(ray.get(reference))
        while len(kept) >= _MAX_KEPT:
            kept.pop(next(iter(kept)))
        kept[name] = value
    return kept[name]
