"""Connects a driver to Ray: the cluster that is named, the head of this machine, or one of its own.

The only place that calls `ray.init`. A local head that Bessemer starts has token authentication off
and listens on 127.0.0.1 alone; for any other cluster `RAY_AUTH_MODE` of the environment counts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray

from bessemer.config.settings import Cluster
from bessemer.errors import ClusterError
from bessemer.training.placement import Node
from bessemer.utils.jobs import is_job

_LOOPBACK = "127.0.0.1"
# Of a node, before Ray starts on it. Ray ends processes that have had no task for a second, but as many as
# there are free CPUs (worker_pool.cc, TryKillingIdleWorkers): all, where a training has the CPUs. A block of
# samples would then wait for another process that imports all anew; once a minute that does not count.
IDLE_PROCESSES = {"RAY_idle_worker_killing_time_threshold_ms": "60000"}
# A head that is busy answers late; one that was restarted in between is another one.
_LOOK_EVERY_S, _GONE_AFTER_S = 2.0, 20.0


@dataclass(frozen=True)
class Connection:
    """A cluster that this process is connected to.

    Attributes:
        address: of its head.
        started_here: whether it lives and ends with this process.
        nodes: what its live nodes have.
    """

    address: str
    started_here: bool
    nodes: tuple[Node, ...]


def connect(cluster: Cluster, code: Sequence[Path] = ()) -> Connection:
    """Connect to Ray, starting a local cluster if none is named and none runs.

    Args:
        cluster: which.
        code: packages of the program. A job that converted its project has them on its own node alone, so
            they are sent to the others.

    Raises:
        ClusterError: the cluster that was named does not answer.
    """
    # Ray 2.60 turns tokens on for a new cluster, and off for a client, when this is not set.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    if ray.is_initialized():
        return _connection(started_here=False)
    address = cluster.address or os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise ClusterError(
            f"the Ray address {address} is that of the Ray client",
            expected="host:port of the head's GCS, such as 127.0.0.1:6379",
            todo="use that address, or `ray job submit`",
        )
    if address.startswith(("http://", "https://")):
        raise ClusterError(
            f"the Ray address {address} is that of a dashboard",
            expected="host:port of the head's GCS, such as 127.0.0.1:6379",
            todo="use `ray job submit --address` for a dashboard",
        )
    if address and address not in ("auto", "local"):
        _check_answers(address, cluster.connect_timeout_s)
    started_here = False
    try:
        if address == "local":
            raise ConnectionError
        _init(address or "auto", code if is_job() else ())
    except ConnectionError as error:
        if address not in ("", "local"):
            raise ClusterError(
                f"no Ray cluster answers at {address}",
                expected="a running head",
                todo="`make head` starts one here; unset RAY_ADDRESS to use a cluster of its own",
            ) from error
        started_here = True
        for name, value in IDLE_PROCESSES.items():
            os.environ.setdefault(name, value)
        _init(None)
    return _connection(started_here)


def _init(address: str | None, code: Sequence[Path] = ()) -> None:
    try:
        ray.init(
            address=address,
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({"runtime_env": {"py_modules": [str(package) for package in code]}} if code else {}),
            **({"_node_ip_address": _LOOPBACK} if address is None else {}),
        )
    except RuntimeError as error:
        # Ray compares its own and Python's version with the cluster's when it connects.
        raise ClusterError(
            f"the Ray cluster refuses this process: {str(error).splitlines()[0]}",
            expected=f"Ray {ray.__version__} and Python {sys.version.split()[0]} on the cluster",
            todo="start the cluster with the versions in requirements.lock",
        ) from error


@contextlib.contextmanager
def head_watched(gone: Callable[[], None]) -> Iterator[None]:
    """Notice when the head has gone, which Ray itself does after a minute, by ending the process.

    Args:
        gone: called, in a thread, when the head has not answered for a while.
    """
    address = ray.get_runtime_context().gcs_address
    done = threading.Event()

    def watch() -> None:
        answered_at = time.monotonic()
        while not done.wait(_LOOK_EVERY_S):
            try:
                _check_answers(address, _LOOK_EVERY_S)
                answered_at = time.monotonic()
            except ClusterError:
                if time.monotonic() - answered_at > _GONE_AFTER_S:
                    gone()
                    return

    threading.Thread(target=watch, name="bessemer-head", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def disconnect() -> None:
    """Leave the cluster, and end one that was started here; what Ray says by then goes nowhere."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        ray.shutdown()


def _connection(started_here: bool) -> Connection:
    nodes = tuple(
        Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()
        if node["Alive"]
    )
    return Connection(ray.get_runtime_context().gcs_address, started_here, nodes)


def _check_answers(address: str, timeout_s: float) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host or _LOOPBACK, int(port)), timeout=timeout_s):
            return
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"nothing answers at the Ray address {address}: {error}",
            expected="host:port of a running head",
            todo="`make head` starts one here; unset RAY_ADDRESS to use a cluster of its own",
        ) from error
