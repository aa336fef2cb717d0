"""Runs a job of one worker in this process, for whoever trains many short runs one after the other.

Starting Ray Train's processes takes longer than a short trial trains. What the program changes of its
process (modules of the project, folder, flags of torch) is put back afterwards, so that the next run
begins as in a fresh one.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from bessemer.errors import BessemerError, TrainingError
from bessemer.training.attempts import Report
from bessemer.training.opening import Streams
from bessemer.training.worker import Job, run_job
from bessemer.utils.collectives import Group
from bessemer.utils.events import FailureNoticed


def run_here(job: Job) -> None:
    """Run a job's only worker in this process until it ends, as often as its ledger of attempts allows.

    Raises:
        BessemerError: the run ends with a failure.
    """
    monitor, group = job.monitor, Group()
    assert monitor is not None
    device = torch.device("cuda:0" if job.placement.use_gpu else "cpu")
    while True:
        try:
            with settled(job.search_path):
                if os.path.isdir(job.folder):
                    os.chdir(job.folder)
                run_job(job, group, device, Streams(job, group))
            return
        except Exception as error:
            named = (
                error
                if isinstance(error, BessemerError)
                else TrainingError(f"training failed: {type(error).__name__}: {error}")
            )
            monitor.send(FailureNoticed(time.time()))
            # What the worker itself has told goes before this.
            end = monitor.ended([Report(0, "program", named)])
            if end is not None:
                raise end from error


@contextlib.contextmanager
def settled(search_path: Sequence[str]) -> Iterator[None]:
    """Put back what a program may change of its process.

    Args:
        search_path: folders of the project; modules from there are forgotten, with their globals.
    """
    folder, paths, arguments = os.getcwd(), list(sys.path), list(sys.argv)
    environment = dict(os.environ)
    python, numpy = random.getstate(), np.random.get_state()
    flags = _flags()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            _forget(search_path)
            os.chdir(folder)
            sys.path[:], sys.argv[:] = paths, arguments
            _put_back(environment)
            random.setstate(python)
            np.random.set_state(numpy)
            _set_flags(flags)


def _forget(search_path: Sequence[str]) -> None:
    # A folder of a project may hold Bessemer itself, where it is developed.
    own = {entry.partition(".")[0] for folder in search_path for entry in os.listdir(folder)} - {"bessemer"}
    roots = tuple(f"{os.path.abspath(folder)}{os.sep}" for folder in search_path)
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(roots):
            del sys.modules[name]


def _put_back(environment: dict[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


_Flags = tuple[torch.dtype, bool, int, bool, bool, bool, bool, bool, bool]


def _flags() -> _Flags:
    backends = torch.backends
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        backends.cudnn.benchmark,
        backends.cudnn.deterministic,
        backends.cudnn.allow_tf32,
        backends.cuda.matmul.allow_tf32,
    )


def _set_flags(flags: _Flags) -> None:
    dtype, grad, threads, deterministic, warn_only, benchmark, exact, cudnn_tf32, matmul_tf32 = flags
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    backends = torch.backends
    backends.cudnn.benchmark, backends.cudnn.deterministic = benchmark, exact
    backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = cudnn_tf32, matmul_tf32
