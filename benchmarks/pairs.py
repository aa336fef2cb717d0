"""Interleaved pairs: the same work in two or more ways in turn, so that a noisy machine disturbs all alike.

Every benchmark prints a ratio of medians and writes each figure as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 300.0
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Goal:
    """What a ratio is to be.

    Attributes:
        ours: name of the figure that is judged.
        theirs: name of the figure that it is compared with.
        bound: the highest ratio (or lowest, with `at_least`) that reaches the goal.
        at_least: whether a larger ratio is better.
    """

    ours: str
    theirs: str
    bound: float
    at_least: bool = False

    def reached(self, ratio: float) -> bool:
        """Whether a ratio reaches the goal."""
        return ratio >= self.bound if self.at_least else ratio <= self.bound


def interleaved(
    ways: Mapping[str, Callable[[], Mapping[str, float]]], num_pairs: int
) -> dict[str, list[float]]:
    """Call each way in turn, `num_pairs` times after one round that warms caches and does not count.

    Args:
        ways: by name, what returns figures by name.
        num_pairs: rounds (count).

    Returns:
        The figures, as `<way>.<figure>`, one value a round.
    """
    figures: dict[str, list[float]] = {}
    for number in range(-1, num_pairs):
        # Every other round begins at the other end: a machine that gets slower is fair to both.
        order = list(ways)[:: 1 if number % 2 else -1]
        measured = {f"{way}.{name}": value for way in order for name, value in ways[way]().items()}
        print("  ".join(f"{name} {value:.4g}" for name, value in sorted(measured.items())), flush=True)
        if number >= 0:
            for name, value in measured.items():
                figures.setdefault(name, []).append(value)
    return figures


def judge(title: str, figures: Mapping[str, list[float]], goals: Mapping[str, Goal]) -> dict[str, object]:
    """Print each goal's ratio of medians; return all as plain values for a JSON file."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    judged = {}
    for name, goal in goals.items():
        ratio = medians[goal.ours] / medians[goal.theirs]
        word = "at least" if goal.at_least else "at most"
        verdict = "reached" if goal.reached(ratio) else "MISSED"
        print(f"{title}, {name}: {ratio:.3f} (goal: {word} {goal.bound}) {verdict}")
        judged[name] = {"ratio": ratio, "bound": goal.bound, "reached": goal.reached(ratio)}
    return {"goals": judged, "medians": medians, "rounds": dict(figures)}


def write(path: Path, results: Mapping[str, object]) -> None:
    """Write results as JSON, with what they were measured on."""
    machine = {"cpus": os.cpu_count(), "load": os.getloadavg(), "python": sys.version.split()[0]}
    path.write_text(json.dumps({"machine": machine, **results}, indent=2) + "\n", encoding="utf-8")


def run_once(command: list[str], folder: Path, **environment: str) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        SystemExit: it failed, with its output.
    """
    surroundings = {**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", **environment}
    surroundings["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    surroundings.setdefault("RAY_ADDRESS", "local")
    done = subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout
