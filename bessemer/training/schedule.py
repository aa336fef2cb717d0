"""When a checkpoint is due or a stop is wished, so that every worker decides the same at the same step.

Steps are counted alike everywhere. A clock and a signal are not: what a worker wishes for travels as
two numbers with the gradients that are summed anyway, and counts once all have it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch

from bessemer.config.settings import Checkpoint
from bessemer.utils.collectives import Group


class Schedule:
    """Decides about checkpoints between steps.

    Args:
        checkpoint: the settings.
        group: the workers.
        stop_wished: whether somebody asked this worker to end at the next step.
        clock: seconds from any beginning.
        notices: how many notices came that this worker will not live long (count).

    Attributes:
        num_wishes: of each worker (count).
        stop: whether all workers are to end; at the next checkpoint.
    """

    num_wishes: ClassVar[int] = 2

    def __init__(
        self,
        checkpoint: Checkpoint,
        group: Group,
        stop_wished: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        notices: Callable[[], int] = lambda: 0,
    ) -> None:
        self._settings = checkpoint
        self._group = group
        self._stop_wished = stop_wished
        self._clock = clock
        self._notices = notices
        self._notices_seen = 0
        self._notices_met = 0
        self._taken_at = clock()
        self._taken_step = 0
        self._early = False
        self.stop = False

    def wishes(self) -> list[float]:
        """Return what this worker wishes for, 0 or 1 each: a checkpoint before the steps ask, a stop."""
        every_s = self._settings.every_s
        late = self._group.rank == 0 and every_s > 0 and self._clock() - self._taken_at >= every_s
        self._notices_seen = self._notices()
        noticed = self._notices_seen > self._notices_met
        return [float(late or noticed), float(self._stop_wished())]

    def heard(self, wishes: Sequence[float]) -> None:
        """Take the sum of every worker's wishes."""
        self._early |= wishes[0] > 0
        self.stop |= wishes[1] > 0

    def meet(self) -> None:
        """Exchange wishes right now; every worker is here."""
        self.heard(self._group.sum_(torch.tensor(self.wishes())).tolist())

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is to be taken after so many steps (count)."""
        every = self._settings.every_steps
        return self.stop or self._early or (every > 0 and step - self._taken_step >= every)

    def taken(self, step: int) -> None:
        """A checkpoint was taken, or loaded, at a step."""
        self._taken_at = self._clock()
        self._taken_step = step
        self._early = False
        self._notices_met = self._notices_seen
