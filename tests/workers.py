"""Runs a function on several processes that are joined by torch.distributed (gloo).

The processes are kept and joined anew for each call, because starting one costs a second. A call
that does not end, such as one where a worker waits for another for ever, ends the processes.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bessemer.config.settings import Settings
from bessemer.utils.collectives import Group
from runs import Ran, run_program

TIMEOUT_S = 40
# A worker that waits for another one gives up before that, and says where.
MEETING_TIMEOUT_S = 15


class WorkerError(AssertionError):
    """A worker ended with an error; the text is its traceback."""


def on_workers(function: Callable[..., Any], size: int, *arguments: Any) -> list[Any]:
    """Call `function(group, *arguments)` on `size` processes; returns what each gives, by rank.

    Args:
        function: of the top level of a module.
        size: number of workers.
        arguments: anything that can be pickled.

    Raises:
        WorkerError: on any of them, or they did not end in time.
    """
    return _processes().run(function, size, arguments)


def run_on_workers(
    program: Callable[..., Any],
    size: int,
    folder: Path,
    settings: Settings | None = None,
    arguments: tuple[Any, ...] = (),
) -> list[Ran]:
    """Call `program(run, *arguments)` with a `Run` on each of `size` workers; returns what came of each."""
    return on_workers(_program, size, program, folder, settings, arguments)


class Processes:
    """Processes that run what they are given."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[tuple[Any, Connection]] = []

    def run(self, function: Callable[..., Any], size: int, arguments: tuple[Any, ...]) -> list[Any]:
        """Call a function on each of `size` processes."""
        self._start(size)
        with tempfile.TemporaryDirectory() as folder:
            task = pickle.dumps((function, arguments))
            chosen = self._processes[:size]
            for rank, (_, connection) in enumerate(chosen):
                connection.send((f"file://{folder}/meet", rank, size, task))
            try:
                answers = self._answers([connection for _, connection in chosen])
            except BaseException:
                self.close()
                raise
        failed = [f"worker {rank}:\n{text}" for rank, (text, _) in enumerate(answers) if text]
        if failed:
            raise WorkerError("\n".join(failed))
        return [result for _, result in answers]

    def close(self) -> None:
        """End the processes."""
        for process, connection in self._processes:
            with contextlib.suppress(OSError):
                connection.close()
            process.terminate()
        for process, _ in self._processes:
            process.join(timeout=10)
            process.close()
        self._processes = []

    def _start(self, size: int) -> None:
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"
        try:
            while len(self._processes) < size:
                ours, theirs = self._context.Pipe()
                process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
                process.start()
                theirs.close()
                self._processes.append((process, ours))
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = before

    def _answers(self, connections: list[Connection]) -> list[tuple[str, Any]]:
        deadline = time.monotonic() + TIMEOUT_S
        answers: list[tuple[str, Any]] = []
        for rank, connection in enumerate(connections):
            if not connection.poll(max(0.0, deadline - time.monotonic())):
                raise WorkerError(f"worker {rank} did not end within {TIMEOUT_S} s; the others: {answers}")
            answers.append(connection.recv())
        return answers


@functools.cache
def _processes() -> Processes:
    started = Processes()
    atexit.register(started.close)
    return started


def _program(
    group: Group,
    program: Callable[..., Any],
    folder: Path,
    settings: Settings | None,
    arguments: tuple[Any, ...],
) -> Ran:
    return run_program(lambda run: program(run, *arguments), folder, settings, group=group)


def _serve(connection: Connection) -> None:
    # A test is a module of the folder `tests`, as pytest imports it.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    torch.set_num_threads(1)
    while True:
        try:
            meeting, rank, size, task = connection.recv()
        except (EOFError, OSError):
            return
        try:
            with _joined(meeting, rank, size) as group:
                function, arguments = pickle.loads(task)
                answer = ("", function(group, *arguments))
        except BaseException:
            answer = (traceback.format_exc(), None)
        connection.send(answer)


@contextlib.contextmanager
def _joined(meeting: str, rank: int, size: int) -> Iterator[Group]:
    if size == 1:
        yield Group()
        return
    timeout = timedelta(seconds=MEETING_TIMEOUT_S)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size, timeout=timeout)
    try:
        yield Group(rank, size)
    finally:
        dist.destroy_process_group()
