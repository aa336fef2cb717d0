"""One Ray head for all integration tests, a workplace with the research code, and a way to run verbs.

The head has two logical CPUs and a dashboard on free ports of 127.0.0.1, and ends with the tests.
Everything a test starts is ended by its own process id, and every wait is bounded.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from bessemer.drill.heads import Head, started_head
from integration.workplaces import BIN, OBJECT_STORE_BYTES, ROOT, Workplace, environment_with


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    environment = environment_with({"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"})
    with started_head(2, environment, with_dashboard=True, object_store_bytes=OBJECT_STORE_BYTES) as started:
        yield started


@pytest.fixture(scope="session")
def workplace(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A fresh folder with the repository's research code and nothing else."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return Workplace(folder, environment_with({"RAY_ADDRESS": head.address}))
