"""One Ray head for all integration tests, a workplace with the research code, and a way to run verbs.

The head has two logical CPUs and a dashboard on free ports of 127.0.0.1, and ends with the tests.
Everything a test starts is ended by its own process id, and every wait is bounded.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from bessemer.drill.heads import Head, started_head
from integration.workplaces import BIN, OBJECT_STORE_BYTES, ROOT, Workplace, environment_with

_STARTED: list[Head] = []
# Ray sees that a driver was killed, and frees what it held, within seconds.
_FREE_WITHIN_S = 30.0


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    environment = environment_with({"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})
    with started_head(2, environment, with_dashboard=True, object_store_bytes=OBJECT_STORE_BYTES) as started:
        _STARTED.append(started)
        yield started
        _STARTED.clear()


@pytest.fixture(scope="session")
def workplace(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A fresh folder with the repository's research code and nothing else."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return Workplace(folder, environment_with({"RAY_ADDRESS": head.address}))


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_held_afterwards() -> Iterator[None]:
    """Fail a module that leaves CPUs of the head reserved: runs and searches would wait for them for ever."""
    yield
    for head in _STARTED:
        deadline = time.monotonic() + _FREE_WITHIN_S
        while held := _cpus_held(head):
            assert time.monotonic() < deadline, f"{held:g} CPUs of the shared head are still held"
            time.sleep(0.5)


def _cpus_held(head: Head) -> float:
    with urlopen(f"{head.dashboard}/api/cluster_status", timeout=10) as answer:
        status = json.load(answer)["data"]["clusterStatus"]
    # Of a head that has done nothing yet, nothing is told.
    held: float = status["loadMetricsReport"]["usage"].get("CPU", [0.0])[0]
    return held
