"""A Ray head for tests, and folders in which verbs are run as a user runs them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
OBJECT_STORE_BYTES = 400 * 2**20


@dataclass(frozen=True)
class Head:
    """A Ray head: where its GCS and its dashboard listen, and the process of its raylet."""

    address: str
    dashboard: str
    raylet_pid: int

    def worker_pids(self) -> list[int]:
        """Processes of this head that train now."""
        children = psutil.Process(self.raylet_pid).children(recursive=True)
        return sorted(child.pid for child in children if _title(child).startswith("ray::RayTrainWorker"))


@dataclass(frozen=True)
class Workplace:
    """A folder with `src/`, in which verbs are run as a user runs them."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "bessemer", *arguments]

    def run(self, *arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a verb; its output can be read line by line."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def raylet_of(process: subprocess.Popen[bytes], dashboard_port: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children(recursive=True):
            with socket.socket() as probe:
                listening = probe.connect_ex(("127.0.0.1", dashboard_port)) == 0
            if listening and child.name() == "raylet":
                return int(child.pid)
        time.sleep(0.2)
    raise TimeoutError("the Ray head of the tests did not start within 60 s")


def environment_with(more: dict[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BESSEMER_", "RAY_", "MLFLOW_"))
    }
    return {**kept, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", "COLUMNS": "160", **more}
