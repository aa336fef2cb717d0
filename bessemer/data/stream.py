"""One worker's Ray Data pipeline: the plan goes in, this worker's batches come out, in order.

The source of the pipeline is a list of blocks, each a range of positions; position p of a loader is
step p % steps_per_pass of pass p // steps_per_pass, so one execution runs through many passes and
starts again only when its blocks are used up. A block is fetched by one Ray Data task from the
researcher's data set, which lies once in the object store. Every row that arrives carries its
position, rank and world size; one that is out of place stops the run.

Each worker has a pipeline of its own. A common one, split to the workers, would need an actor more
and would deal rows by their arrival; here a row cannot reach the wrong worker.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cloudpickle
import pyarrow as pa
import ray
import ray.data

from bessemer.data.datasets import Fetched, Recipe, fetch
from bessemer.data.wire import decode, encode
from bessemer.errors import BessemerError, DataError

# One execution covers so many blocks; starting the next costs a moment, listing more costs memory.
_BLOCKS_PER_EXECUTION = 256
_POLL_S = 0.5
# Skipping more than this many blocks costs more than starting a new execution where it is needed.
_MAX_SKIPPED_BLOCKS = 8


@dataclass(frozen=True)
class StreamOptions:
    """How a worker's pipeline runs.

    Attributes:
        block_steps: steps that one task prepares (count).
        num_tasks: tasks at a time (count).
        prefetch_blocks: blocks held decoded in the worker (count).
        cpus_per_task: logical CPUs that Ray reserves for a task; 0 where workers have them all.
        reserved_cpus: logical CPUs that belong to training and not to data (count).
        reserved_gpus: GPUs likewise (count).
    """

    block_steps: int
    num_tasks: int
    prefetch_blocks: int
    cpus_per_task: float
    reserved_cpus: float
    reserved_gpus: float


@dataclass(frozen=True)
class _Shipped:
    """A recipe as it lies in the object store: unpickled only where its code can be imported."""

    search_path: tuple[str, ...]
    payload: bytes


def ship(recipe: Recipe) -> ray.ObjectRef[_Shipped]:
    """Put a recipe into the object store, for every task of every worker to read.

    Raises:
        DataError: the data set or its collate function cannot be pickled.
    """
    try:
        payload = cloudpickle.dumps(recipe)
    except Exception as error:
        raise DataError(
            f"{type(recipe.dataset).__qualname__} cannot be sent to Ray Data: {error}",
            expected="a data set that can be pickled (no open files, locks or connections)",
            todo='open such things lazily in __getitem__, or set data.source = "inline"',
        ) from error
    search_path = tuple(folder for folder in sys.path if folder)
    return ray.put(_Shipped(search_path, payload))


class Stream:
    """Batches of one loader for one worker, from a given position on.

    Args:
        shipped: the recipe in the object store.
        steps_per_pass: global batches in one pass (count).
        rank: this worker.
        world_size: number of workers.
        options: how the pipeline runs.
        start: first position that it makes.
        stop: position to end before, or None to go on for ever.
    """

    def __init__(
        self,
        shipped: ray.ObjectRef[_Shipped],
        steps_per_pass: int,
        rank: int,
        world_size: int,
        options: StreamOptions,
        start: int,
        stop: int | None = None,
    ) -> None:
        self._shipped = shipped
        self._steps_per_pass = steps_per_pass
        self._rank = rank
        self._world_size = world_size
        self._options = options
        self._stop = stop
        self._position = start
        self._open(start)

    @property
    def position(self) -> int:
        """The position that the next row has."""
        return self._position

    def get(self, position: int) -> Fetched:
        """Wait for the batch at a position; earlier ones are thrown away.

        Raises:
            DataError: a sample failed, or a row came out of place.
        """
        ahead = position - self._position
        if ahead < 0 or ahead > _MAX_SKIPPED_BLOCKS * self._options.block_steps:
            self.close()
            self._open(position)
        while True:
            found, row = self._next_row()
            if found != self._position:
                raise DataError(
                    f"Ray Data delivered position {found} to worker {self._rank}",
                    expected=f"position {self._position}",
                    todo="report this: training went no further, so nothing is wrong with the model",
                )
            self._position += 1
            if found == position:
                fetched: Fetched = row()
                return fetched

    def close(self) -> None:
        """Stop the pipeline and forget what it has ready."""
        self._closing.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._ready.get_nowait()
        self._thread.join(timeout=10)

    def _open(self, start: int) -> None:
        self._position = start
        self._closing = threading.Event()
        self._ready: queue.Queue[Any] = queue.Queue(maxsize=self._options.prefetch_blocks)
        self._rows: Iterator[Any] = iter(())
        self._thread = threading.Thread(
            target=_produce,
            args=(self._blocks(start), self._ready, self._closing),
            name="bessemer-stream",
            daemon=True,
        )
        self._thread.start()

    def _next_row(self) -> Any:
        while True:
            for row in self._rows:
                return row
            table = self._ready.get()
            if isinstance(table, BaseException):
                raise _first_cause(table)
            self._rows = self._checked_rows(table)

    def _checked_rows(self, table: pa.Table) -> Iterator[Any]:
        columns = {name: table[name].to_pylist() for name in ("position", "rank", "world_size")}
        for number, position in enumerate(columns["position"]):
            where = (columns["rank"][number], columns["world_size"][number])
            if where != (self._rank, self._world_size):
                raise DataError(
                    f"a batch for worker {where[0]} of {where[1]} reached worker {self._rank} "
                    f"of {self._world_size}",
                    expected="only this worker's batches",
                )
            yield position, _reader(table, number)

    def _blocks(self, start: int) -> Iterator[pa.Table]:
        """Yield tables of fetched batches, execution after execution."""
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        context.execution_options.exclude_resources = ray.data.ExecutionResources(
            cpu=self._options.reserved_cpus, gpu=self._options.reserved_gpus
        )
        position = start
        while self._stop is None or position < self._stop:
            blocks = []
            for _ in range(_BLOCKS_PER_EXECUTION):
                end = position + self._options.block_steps
                end = end if self._stop is None else min(end, self._stop)
                if end > position:
                    blocks.append({"start": position, "stop": end})
                position = end
            source = ray.data.from_items(blocks, override_num_blocks=len(blocks))
            batches = source.map_batches(
                _fetch_block,
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=self._options.cpus_per_task,
                concurrency=self._options.num_tasks,
                fn_args=(self._shipped, self._steps_per_pass, self._rank, self._world_size),
            )
            yield from batches.iter_batches(
                batch_size=None,
                batch_format="pyarrow",
                prefetch_batches=self._options.prefetch_blocks,
            )


def _produce(tables: Iterator[pa.Table], ready: queue.Queue[Any], closing: threading.Event) -> None:
    """Keep `ready` filled until `closing` is set; an error is handed over as the last item."""
    try:
        for table in tables:
            if not _put(table, ready, closing):
                return
    except BaseException as error:
        _put(error, ready, closing)


def _put(item: Any, ready: queue.Queue[Any], closing: threading.Event) -> bool:
    while not closing.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(item, timeout=_POLL_S)
            return True
    return False


def _reader(table: pa.Table, number: int) -> Any:
    def read() -> Fetched:
        head = table["head"][number].as_buffer()
        buffers = [part.as_buffer() for part in table["buffers"][number]]
        counts = (table["num_samples"][number].as_py(), table["num_global"][number].as_py())
        return Fetched(decode(memoryview(head), [memoryview(b) for b in buffers]), *counts)

    return read


def _first_cause(error: BaseException) -> BaseException:
    """Find our own error in what Ray wrapped around it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BessemerError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return DataError(f"Ray Data failed: {error}")


_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("rank", pa.int32()),
        ("world_size", pa.int32()),
        ("num_samples", pa.int64()),
        ("num_global", pa.int64()),
        ("head", pa.large_binary()),
        ("buffers", pa.large_list(pa.large_binary())),
    ]
)

# The last recipes this process has used, by object id: tasks of one loader follow each other here.
_recipes: dict[str, Recipe] = {}
_MAX_RECIPES = 4


def _fetch_block(
    blocks: pa.Table,
    shipped: ray.ObjectRef[_Shipped],
    steps_per_pass: int,
    rank: int,
    world_size: int,
) -> pa.Table:
    """Fetch this worker's part of every step in the blocks: the map stage of the pipeline."""
    recipe = _recipe(shipped)
    rows: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
    for block in blocks.to_pylist():
        for position in range(block["start"], block["stop"]):
            number, step = divmod(position, steps_per_pass)
            fetched = fetch(recipe, number, step, rank, world_size)
            head, buffers = encode(fetched.batch)
            values = (position, rank, world_size, fetched.num_samples, fetched.num_global)
            for name, value in zip(_SCHEMA.names, (*values, head, buffers), strict=True):
                rows[name].append(value)
    return pa.table(rows, schema=_SCHEMA)


def _recipe(reference: ray.ObjectRef[_Shipped]) -> Recipe:
    name = reference.hex()
    if name not in _recipes:
        shipped = ray.get(reference)
        sys.path.extend(folder for folder in shipped.search_path if folder not in sys.path)
        recipe = cloudpickle.loads(shipped.payload)
        if recipe.worker_init_fn is not None:
            recipe.worker_init_fn(0)
        while len(_recipes) >= _MAX_RECIPES:
            _recipes.pop(next(iter(_recipes)))
        _recipes[name] = recipe
    return _recipes[name]
