"""The drill as a user runs it: a worker is killed, and every number is that of the undisturbed run."""

from __future__ import annotations

import json

import pytest

from integration.workplaces import ROOT, Workplace

pytestmark = pytest.mark.timeout(240)


def test_a_killed_worker_changes_no_number_of_the_gan(workplace: Workplace) -> None:
    program = str(ROOT / "tests" / "programs" / "gan")
    done = workplace.run(
        *("drill", "--project", program, "--only", "worker-kill", "--num-workers", "2"),
        *("--every-steps", "5", "--epochs", "8", "--json"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reference, killed = json.loads(done.stdout)
    assert reference["word"] == "reference"
    assert (killed["name"], killed["word"]) == ("worker-kill", "equal")
    assert killed["attempts"] == 2
    assert not list((workplace.folder / "runs" / "drills").glob("*"))
