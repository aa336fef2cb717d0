"""A Ray head of its own on this machine, and the processes that train on it.

It listens on free ports of 127.0.0.1, and all that it started is ended by process id. Nodes can be
added, to be killed. Where a cluster is named already, `Head.existing` finds what of it trains here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bessemer.errors import ClusterError
from bessemer.training.cluster import IDLE_PROCESSES

OBJECT_STORE_BYTES = 300 * 2**20
_START_TIMEOUT_S = 60.0
_HEAD_IP = "127.0.0.1"
# Another address than the head's: a driver joins a node of its own address, whichever that is.
_NODE_IP = "127.0.0.2"
_WORKER_TITLE = "ray::RayTrainWorker"


@dataclass(frozen=True)
class Head:
    """A Ray head.

    Attributes:
        address: where its GCS listens.
        dashboard: where its dashboard listens, or "" if it has none.
        raylet_pid: process of its raylet, or None if the cluster is somebody else's.
        not_ours: workers that trained before, on somebody else's cluster.
    """

    address: str
    dashboard: str = ""
    raylet_pid: int | None = None
    not_ours: frozenset[int] = field(default_factory=frozenset)

    @classmethod
    def existing(cls, address: str) -> Head:
        """Return somebody else's cluster; what trains on this machine already is left alone."""
        return cls(address, not_ours=frozenset(_training(psutil.process_iter())))

    @property
    def is_ours(self) -> bool:
        """Whether it was started here, and may be disturbed itself."""
        return self.raylet_pid is not None

    def worker_pids(self) -> list[int]:
        """Processes that train now, on this machine."""
        if self.raylet_pid is None:
            return [pid for pid in _training(psutil.process_iter()) if pid not in self.not_ours]
        return workers_under(self.raylet_pid)


def workers_under(raylet_pid: int) -> list[int]:
    """Processes of a raylet that train now."""
    try:
        return _training(psutil.Process(raylet_pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def started_head(
    num_cpus: int,
    environment: Mapping[str, str],
    *,
    with_dashboard: bool = False,
    object_store_bytes: int = OBJECT_STORE_BYTES,
) -> Iterator[Head]:
    """Start a head and end it with all that it started.

    Args:
        num_cpus: logical CPUs that it offers (count).
        environment: variables of its processes.
        with_dashboard: whether jobs can be submitted to it.
        object_store_bytes: memory of its object store.

    Raises:
        ClusterError: it does not start within a minute.
    """
    port = free_port()
    dashboard_port = free_port() if with_dashboard else 0
    # Ray's sockets live under here, and a socket's path has at most 107 characters.
    temporary = Path(tempfile.mkdtemp(prefix="bessemer-"))
    command = ["--head", "--port", str(port), "--temp-dir", str(temporary)]
    if with_dashboard:
        command += ["--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard_port)]
    else:
        command += ["--include-dashboard", "false"]
    command += _resources(num_cpus, object_store_bytes)
    dashboard = f"http://127.0.0.1:{dashboard_port}" if with_dashboard else ""
    try:
        with _ray_start(command, environment, temporary / "start.log") as raylet_pid:
            if with_dashboard:
                _wait_for_port(dashboard_port)
            yield Head(f"127.0.0.1:{port}", dashboard, raylet_pid)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def started_node(head: Head, num_cpus: int, environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Start another node of a head on this machine; yields the process of its raylet."""
    command = ["--address", head.address, *_resources(num_cpus, OBJECT_STORE_BYTES)]
    with _ray_start(command, environment, log, _NODE_IP) as raylet_pid:
        yield raylet_pid


def _resources(num_cpus: int, object_store_bytes: int) -> list[str]:
    return ["--num-cpus", str(num_cpus), "--object-store-memory", str(object_store_bytes)]


@contextlib.contextmanager
def _ray_start(
    arguments: list[str], environment: Mapping[str, str], log: Path, ip: str = _HEAD_IP
) -> Iterator[int]:
    command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
    command += ["--node-ip-address", ip, *arguments]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env={**IDLE_PROCESSES, **environment}, stdout=output, stderr=output
        )
    try:
        yield _raylet_of(process, log)
    finally:
        end_tree(process.pid)
        process.wait()


def end_tree(pid: int) -> None:
    """Kill a process and all that it started."""
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _raylet_of(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if "Ray runtime started" in log.read_text(encoding="utf-8", errors="replace"):
            for child in psutil.Process(process.pid).children(recursive=True):
                if child.name() == "raylet":
                    return int(child.pid)
        time.sleep(0.1)
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise ClusterError(
        f"a Ray node of one's own did not start: {last[0] if last else 'it says nothing'}",
        expected=f"`ray start` to be done within {_START_TIMEOUT_S:.0f} s",
        todo="see whether `make head` works here, or name a cluster with RAY_ADDRESS",
    )


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise ClusterError(f"nothing listens on port {port} after {_START_TIMEOUT_S:.0f} s")


def _training(processes: Iterator[psutil.Process] | list[psutil.Process]) -> list[int]:
    return sorted(process.pid for process in processes if _title(process).startswith(_WORKER_TITLE))


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def environment_for(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's variables with those of a head of one's own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    own = {"PATH": path, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    return {**os.environ, **own, **more}
