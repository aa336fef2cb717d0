"""What the main worker counts while it trains: the worker's part of the run's account.

Time is cut where loops over loaders and turns of the outer loop begin and end. A piece in which an
optimizer stepped is time of steps, any other is evaluation or the like; waiting for data and
checkpoints are taken out of either. So loops of every shape are counted alike, and nobody has to say
what they are for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from bessemer.utils.events import Tally

# What is told wakes the monitor and the driver.
_TELL_EVERY_S = 0.5
# Of fast steps so many are told each time; to tell of all would cost more than a step.
_MOST_DURATIONS = 50


def _steady() -> Callable[[], float]:
    """Return a clock of seconds since 1970 that is never set back."""
    beginning = time.time() - time.perf_counter()
    return lambda: beginning + time.perf_counter()


class Stopwatch:
    """Counts one attempt, and tells of it now and then, so that a killed attempt is not forgotten.

    Args:
        tell: given a tally at each turning point, and twice a second in between.
        attempt: 1 for the first attempt of this driver.
        reached: last step of the run that an earlier attempt told of (count).
        clock: seconds since 1970.
    """

    def __init__(
        self,
        tell: Callable[[Tally], None] = lambda _tally: None,
        attempt: int = 1,
        reached: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._tell = tell
        self._attempt = attempt
        self._reached = reached
        self._clock = clock or _steady()
        self._began_at = self._piece_at = self._told_at = self._clock()
        self._restored_at: float | None = None
        self._first_step_at: float | None = None
        self._new_step_at: float | None = None
        self._step = self._num_steps = self._num_again = self._num_checkpoints = 0
        self._steps_s = self._data_wait_s = self._checkpoint_s = 0.0
        self._longest_checkpoint_s = self._last_checkpoint_s = 0.0
        self._ended = False
        self._piece_away_s = 0.0
        self._piece_steps = 0
        self._num_samples = self._num_waiting = 0
        self._step_from, self._step_away_s = self._began_at, 0.0
        self._durations_s: list[float] = []
        self._tell_now(self._began_at)

    def restored(self, step: int) -> None:
        """A checkpoint was put back: the run goes on after so many steps (count)."""
        self._restored_at, self._step = self._clock(), step
        self._tell_now(self._restored_at)

    def stepped(self, step: int) -> None:
        """A step is done, the run's so many-th (count)."""
        now = self._clock()
        self._step = step
        self._num_steps += 1
        if self._first_step_at is None:
            self._first_step_at = now
            self._begin_piece(now)
        else:
            self._piece_steps += 1
            if len(self._durations_s) < _MOST_DURATIONS:
                self._durations_s.append(max(0.0, now - self._step_from - self._step_away_s))
        self._step_from, self._step_away_s = now, 0.0
        self._num_samples, self._num_waiting = self._num_samples + self._num_waiting, 0
        if step <= self._reached:
            self._num_again += 1
        elif self._new_step_at is None:
            self._new_step_at = now
            self._tell_now(now)
        self._tell_if_due(now)

    def cut(self) -> None:
        """A loop over a loader, or a turn of the outer loop, begins or ends."""
        now = self._clock()
        self._steps_s = self._steps_s_until(now)
        self._begin_piece(now)
        self._step_from, self._step_away_s, self._num_waiting = now, 0.0, 0
        self._tell_if_due(now)

    def waited(self, seconds: float, num_samples: int = 0) -> None:
        """Training waited for a batch (seconds) of so many samples of all workers (count)."""
        self._num_waiting += num_samples
        self._step_away_s += seconds
        if self._first_step_at is not None:
            self._data_wait_s += seconds
            self._piece_away_s += seconds
        self._tell_if_due(self._clock())

    @contextlib.contextmanager
    def checkpoint(self) -> Iterator[None]:
        """Count what is inside as a stall for a checkpoint."""
        begun = self._clock()
        yield
        now = self._clock()
        if self._first_step_at is not None:
            self._last_checkpoint_s = now - begun
            self._longest_checkpoint_s = max(self._longest_checkpoint_s, self._last_checkpoint_s)
            self._checkpoint_s += self._last_checkpoint_s
            self._piece_away_s += self._last_checkpoint_s
            self._step_away_s += self._last_checkpoint_s
            self._num_checkpoints += 1
        self._tell_now(now)

    def end(self) -> None:
        """The program has come to an end, whichever."""
        self._ended = True
        self._tell_now(self._clock())

    def _begin_piece(self, now: float) -> None:
        self._piece_at, self._piece_away_s, self._piece_steps = now, 0.0, 0

    def _steps_s_until(self, now: float) -> float:
        open_s = now - self._piece_at - self._piece_away_s if self._piece_steps else 0.0
        return self._steps_s + max(0.0, open_s)

    def _tell_if_due(self, now: float) -> None:
        if now - self._told_at >= _TELL_EVERY_S:
            self._tell_now(now)

    def _tell_now(self, now: float) -> None:
        self._told_at = now
        self._tell(
            Tally(
                attempt=self._attempt,
                at=now,
                began_at=self._began_at,
                restored_at=self._restored_at,
                first_step_at=self._first_step_at,
                new_step_at=self._new_step_at,
                step=self._step,
                num_steps=self._num_steps,
                num_again=self._num_again,
                steps_s=self._steps_s_until(now),
                data_wait_s=self._data_wait_s,
                num_checkpoints=self._num_checkpoints,
                checkpoint_s=self._checkpoint_s,
                longest_checkpoint_s=self._longest_checkpoint_s,
                last_checkpoint_s=self._last_checkpoint_s,
                ended=self._ended,
                num_samples=self._num_samples,
                step_durations_s=tuple(self._durations_s),
            )
        )
        self._durations_s.clear()
