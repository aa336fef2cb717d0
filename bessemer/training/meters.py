"""Counts and clocks of a turn of the outer loop: what the epoch's row shows."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from bessemer.utils.events import TurnEnded


class TurnMeter:
    """Gathers what happens between two turns of the outer loop, on the main worker."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a turn."""
        self._begun = time.perf_counter()
        self._waited_s = 0.0
        self._trained_s = 0.0
        self._num_samples = 0
        self._sums: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))

    def state_dict(self) -> dict[str, Any]:
        """Return what a row needs of the part of the turn that is over; clocks begin anew."""
        return {"num_samples": self._num_samples, "sums": dict(self._sums)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of a turn."""
        self.reset()
        self._num_samples = state["num_samples"]
        self._sums.update(state["sums"])

    def waited(self, seconds: float) -> None:
        """Add time that training waited for a batch."""
        self._waited_s += seconds

    def trained(self, num_samples: int, seconds: float) -> None:
        """Add a training pass: samples of all workers, and its time."""
        self._num_samples += num_samples
        self._trained_s += seconds

    def logged(self, name: str, value: float, every_step: bool) -> None:
        """Add a metric; one of every step is averaged over the turn, another replaces itself."""
        total, count = self._sums[name] if every_step else (0.0, 0)
        self._sums[name] = (total + value, count + 1)

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the turn so far."""
        return {name: total / count for name, (total, count) in self._sums.items()}

    def row(self, label: str, turn: int, num_turns: int | None, step: int) -> TurnEnded:
        """Close the turn."""
        duration_s = max(time.perf_counter() - self._begun, 1e-9)
        return TurnEnded(
            label=label,
            turn=turn,
            num_turns=num_turns,
            step=step,
            duration_s=duration_s,
            samples_per_s=self._num_samples / self._trained_s if self._trained_s else 0.0,
            data_wait_fraction=min(1.0, self._waited_s / duration_s),
            metrics=self.metrics(),
        )
