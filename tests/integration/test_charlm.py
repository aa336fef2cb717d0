"""A program of several files without a loader, as a user runs it: verified, tested, trained on one worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from integration.workplaces import ROOT, Workplace

pytestmark = pytest.mark.timeout(400)

SMALL = ("--max-iters", "20", "--eval-interval", "10", "--eval-iters", "2", "--width", "16", "--depth", "1")


def own_tests(workplace: Workplace) -> subprocess.CompletedProcess[str]:
    """Run the emitted project's own tests."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests"],
        cwd=workplace.folder / "projects" / "charlm",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_charlm_is_verified_equal_and_its_tests_hold_it_to_that(workplace: Workplace) -> None:
    done = workplace.run("verify", "charlm", "--steps", "12", "--json", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["verdict"], found["steps_compared"], found["workers"]) == ("equal", 12, 1)
    assert found["max_difference"] == 0

    ran = own_tests(workplace)
    assert ran.returncode == 0, ran.stdout
    assert "skipped" not in ran.stdout
    trainer = workplace.folder / "projects" / "charlm" / "charlm" / "training" / "trainer.py"
    code = trainer.read_text()
    try:
        trainer.write_text(f"{code}\nMORE = 1\n")
        ran = own_tests(workplace)
    finally:
        trainer.write_text(code)
    assert ran.returncode == 1
    assert "the code has changed since: make verify" in ran.stdout


def test_charlm_trains_on_one_worker_and_logs_its_metrics(workplace: Workplace) -> None:
    done = workplace.run("train", "--project", "charlm", "--tracking.run-name", "small", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training on 1 x cpu" in done.stdout
    run_dir = workplace.folder / "runs" / "charlm" / "small"
    metrics = json.loads((run_dir / "result.json").read_text())["metrics"]
    assert {"train/loss", "val/loss", "train/lr"} <= set(metrics)
    assert (run_dir / "charlm-out" / "ckpt.pt").is_file()
    # What no worker could share is said where one looks for it.
    settings = (workplace.folder / "projects" / "charlm" / "settings.toml").read_text()
    assert "training iterates no loader" in settings
