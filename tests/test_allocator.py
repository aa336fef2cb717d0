"""Memory that a step frees is there for the next one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# Trains a model of 10 M parameters in a thread, as Ray runs programs in. Transparent huge pages, which some
# kernels give to everyone, would make each fault count for 512 of them, so they are off (PR_SET_THP_DISABLE).
PROGRAM = """
import ctypes, resource, sys, threading, torch
from torch import nn
from bessemer.utils.allocator import keep_freed_memory

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
kept = sys.argv[1] == "kept" and keep_freed_memory()

def run():
    model = nn.Sequential(
        nn.Linear(784, 2200), nn.ReLU(), nn.Linear(2200, 2200), nn.ReLU(), nn.Linear(2200, 1600)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    def steps(count):
        for _ in range(count):
            x = torch.rand(32, 784)
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    steps(10)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    steps(20)
    print(kept, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20)

thread = threading.Thread(target=run)
thread.start()
thread.join()
"""

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")


def measured(way: str, **variables: str) -> tuple[bool, int]:
    """Return whether memory is kept, and page faults a step (count)."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, way],
        env={**mine, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


@needs_glibc
def test_a_step_in_a_thread_costs_no_page_faults_for_what_the_step_before_freed() -> None:
    _, otherwise = measured("left alone")
    kept, faults = measured("kept")
    assert kept
    assert faults < otherwise / 5


@needs_glibc
def test_an_allocator_that_its_user_has_tuned_is_left_alone() -> None:
    kept, _ = measured("kept", MALLOC_TOP_PAD_="131072")
    assert not kept
