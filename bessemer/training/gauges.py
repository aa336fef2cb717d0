"""The account of a run while it goes on, for Prometheus: the only place that uses `ray.util.metrics`.

Ray serves these at the metrics endpoint of the driver's node, with `ray_` before each name and a tag
that names the run. They are developer API: `tests/test_gauges.py` says when they change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ray.util.metrics import Gauge, Histogram

from bessemer.training.account import Account, Books
from bessemer.utils.events import Event, Tally

_TAG = "run"
_GAUGES = {
    "startup_s": "From the call to the first step (seconds).",
    "step_s": "Mean time of a step (seconds).",
    "steps_s": "Time of steps so far (seconds).",
    "data_wait_s": "Waiting for batches so far (seconds).",
    "data_wait_fraction": "Share of the time of training that is spent waiting for batches.",
    "checkpoint_s": "Training stood still for checkpoints so far (seconds).",
    "longest_checkpoint_s": "The longest stall for a checkpoint (seconds).",
    "other_s": "Evaluation and what else lies between the steps, so far (seconds).",
    "recovery_s": "From failures to the first step after them, so far (seconds).",
    # Set and not counted: Ray adds twice what it sends twice, as it does on a busy machine.
    "num_steps": "Optimizer steps so far, those computed again included (count).",
    "num_steps_again": "Optimizer steps that were computed again (count).",
    "num_checkpoints": "Checkpoints that were taken (count).",
    "num_restarts": "Times that the workers were started again (count).",
}
_STALL_BOUNDARIES_S = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]


class Gauges:
    """Shows one run's account; Ray must be connected.

    Args:
        run: value of the tag that names the run.
    """

    def __init__(self, run: str) -> None:
        self._tags = {_TAG: run}
        self._gauges = {
            name: Gauge(f"bessemer_{name}", description=text, tag_keys=(_TAG,))
            for name, text in _GAUGES.items()
        }
        self._stalls = Histogram(
            "bessemer_checkpoint_stall_s",
            description="How long training stood still for a checkpoint (seconds).",
            boundaries=_STALL_BOUNDARIES_S,
            tag_keys=(_TAG,),
        )
        self._last_checkpoint = (0, 0)

    def show(self, books: Books, news: Sequence[Event]) -> None:
        """Bring everything up to date.

        Args:
            books: what the driver has gathered.
            news: what came in since the last call, and is in the books.
        """
        tallies = [event for event in news if isinstance(event, Tally)]
        if not tallies:
            return
        for tally in tallies:
            self._show_stall(tally)
        values = _plain(books.account(time.time()))
        for name, gauge in self._gauges.items():
            if name in values:
                gauge.set(values[name], tags=self._tags)

    def _show_stall(self, tally: Tally) -> None:
        # A worker tells of every checkpoint, and of other things in between.
        checkpoint = (tally.attempt, tally.num_checkpoints)
        if tally.num_checkpoints and checkpoint > self._last_checkpoint:
            self._last_checkpoint = checkpoint
            self._stalls.observe(tally.last_checkpoint_s, tags=self._tags)


def _plain(account: Account) -> dict[str, Any]:
    return {name.removeprefix("account/"): value for name, value in account.metrics().items()}
