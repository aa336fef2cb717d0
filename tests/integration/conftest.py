"""One Ray head for all integration tests, a workplace with the research code, and a way to run verbs.

The head has two logical CPUs and a dashboard on free ports of 127.0.0.1, and ends with the tests.
Everything a test starts is ended by its own process id, and every wait is bounded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from integration.workplaces import (
    BIN,
    OBJECT_STORE_BYTES,
    ROOT,
    Head,
    Workplace,
    environment_with,
    free_port,
    raylet_of,
)


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    port, dashboard_port = free_port(), free_port()
    environment = environment_with({"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})
    # Ray's sockets live under here, and a socket's path has at most 107 characters.
    temporary = Path(f"/tmp/bessemer-test-{os.getpid()}")
    command = [str(BIN / "ray"), "start", "--head", "--block", "--node-ip-address", "127.0.0.1"]
    command += ["--port", str(port), "--dashboard-host", "127.0.0.1"]
    command += ["--dashboard-port", str(dashboard_port), "--num-cpus", "2", "--disable-usage-stats"]
    command += ["--object-store-memory", str(OBJECT_STORE_BYTES), "--temp-dir", str(temporary)]
    log = tmp_path_factory.mktemp("head") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield Head(
                f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard_port}", raylet_of(process, dashboard_port)
            )
        finally:
            tree = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            for child in tree:
                if child.is_running():
                    child.kill()
            shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="session")
def workplace(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A fresh folder with the repository's research code and nothing else."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return Workplace(folder, environment_with({"RAY_ADDRESS": head.address}))
