"""Where the next batch of a loader comes from: this process, until a stream is there, then the stream.

Both give the same batches, so the choice never shows in a number. A stream takes seconds to start; it
is opened for a position that training will not have reached by then, and until it delivers, batches
are fetched here. One that was overtaken catches up; one that does not, or with which training is no
faster than without, is given up, and tried again later.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bessemer.config.data_settings import Data
from bessemer.data.datasets import Fetched, Fetcher, Recipe
from bessemer.data.order import Plan
from bessemer.data.wire import encode
from bessemer.errors import DataError

# How long before its first batch a stream is opened: the first one of a run, and a later one.
_FIRST_LEAD_S = 4.0
_LATER_LEAD_S = 1.0
_MAX_LEAD_BLOCKS = 1024
# Passing over more than this many blocks costs more than another stream where it is needed.
_MAX_SKIPPED_BLOCKS = 8
# So many steps are compared, with a stream and without.
_NUM_COMPARED = 128
# With a stream a step must take less than this of its time without.
_WORTH = 0.97
# How long after a stream was given up the next try is made; twice as long each time.
_FIRST_PAUSE_S = 60.0
# A batch that is fetched here faster than this costs as much to receive from a stream.
_LEAST_S = 0.0005
# Cheap batches are fetched several at once, within this time and number.
_AT_ONCE_S = 0.004
_MOST_AT_ONCE = 16
# Weight of the newest time in a running mean.
_NEW = 0.2


class BatchSource(Protocol):
    """Something that makes the batches of a loader one after the other, as `data.stream` does."""

    @property
    def position(self) -> int:
        """The position that the next batch has."""

    @property
    def has_delivered(self) -> bool:
        """Whether anything has arrived."""

    def is_ready(self, position: int) -> bool:
        """Forget what is before a position, and say whether its batch is here; does not wait."""

    def get(self, position: int) -> Fetched:
        """Wait for the batch at a position; earlier ones are forgotten."""

    def close(self) -> None:
        """End it and free what it holds."""


class OpenSource(Protocol):
    """Starts streams."""

    @property
    def least_share(self) -> float:
        """Share of a step that fetching here must take for a stream to be tried, in [0, 1]."""

    def __call__(
        self, recipe: Recipe, plan: Plan, start: int, stop: int | None, block_steps: int
    ) -> BatchSource:
        """Start a stream of the batches from `start` on, up to `stop` if there is an end."""


class Feed:
    """The batches of one plan for one worker.

    Args:
        fetcher: fetches here.
        plan: which samples form which batch.
        rank: this worker.
        world_size: number of workers.
        settings: of the data.
        open_source: starts a stream, or None to fetch everything here.
        stop: position that is never asked for, or None if there is no end.
        clock: seconds from any beginning.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        plan: Plan,
        rank: int,
        world_size: int,
        settings: Data,
        open_source: OpenSource | None,
        stop: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.plan = plan
        self._fetcher = fetcher
        self._place = (rank, world_size)
        self._settings = settings
        self._open_source = open_source
        self._stop = stop
        self._clock = clock
        self._source: BatchSource | None = None
        self._last: tuple[int, float] | None = None
        self._step_s = 0.0
        self._here_s = 0.0
        self._num_here = 0
        self._here: deque[tuple[int, Fetched]] = deque()
        self._opens_at = -math.inf
        self._pause_s = _FIRST_PAUSE_S
        self._batch_bytes = 0
        self._num_opened = 0
        self._lead = 0
        self._block_steps = settings.block_steps
        self._num_taken = 0
        self._alone: deque[float] = deque(maxlen=_NUM_COMPARED)
        self._streaming: deque[float] = deque(maxlen=_NUM_COMPARED)

    @property
    def streams(self) -> bool:
        """Whether batches come from a stream now."""
        return self._source is not None and self._num_taken > 0

    def get(self, position: int) -> Fetched:
        """Return the batch at a position; fastest when positions follow each other.

        Raises:
            DataError: a sample failed, or a row came out of place.
        """
        self._note_pace(position)
        if self._source is not None and self._is_out_of_reach(self._source, position):
            self._give_up(until_later=not self._num_taken)
        if self._source is None:
            self._open(position)
        source = self._source
        if source is None or position < source.position:
            return self._fetch(position)
        if source.is_ready(position) or self._num_taken:
            return self._take(source, position)
        return self._fetch(position)

    def close(self) -> None:
        """End the stream, if one runs."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _note_pace(self, position: int) -> None:
        now = self._clock()
        # What is between two passes, such as an evaluation, is no step.
        follows = self._last is not None and position == self._last[0] + 1
        if self._last is not None and follows and position % self.plan.steps_per_pass:
            step_s = now - self._last[1]
            self._step_s = _mean(self._step_s, step_s)
            if self._source is None:
                self._alone.append(step_s)
            elif self._num_taken:
                self._streaming.append(step_s)
        self._last = position, now

    def _is_out_of_reach(self, source: BatchSource, position: int) -> bool:
        ahead = source.position - position
        if ahead > 0:  # training is not there yet, unless it went back
            return self._num_taken > 0 or ahead > self._lead
        return source.has_delivered and -ahead > _MAX_SKIPPED_BLOCKS * self._block_steps

    def _give_up(self, until_later: bool) -> None:
        self.close()
        if until_later:
            self._opens_at = self._clock() + self._pause_s
            self._pause_s *= 2

    def _open(self, position: int) -> None:
        # Not at once: a loader that is rarely used must not slow down the start of the others.
        few = self._num_here < max(1, self._settings.block_steps // 2)
        if self._open_source is None or few or self._clock() < self._opens_at:
            return
        if self._here_s < max(_LEAST_S, self._open_source.least_share * self._step_s):
            return
        lead = self._lead_now()
        if self._stop is not None and position + lead >= self._stop:
            return
        fitting = self._settings.block_bytes // max(1, self._batch_bytes)
        self._block_steps = max(1, min(self._settings.block_steps, fitting))
        self._source = self._open_source(
            self._fetcher.recipe, self.plan, position + lead, self._stop, self._block_steps
        )
        self._lead = lead
        self._num_opened += 1
        self._num_taken = 0
        self._streaming.clear()

    def _lead_now(self) -> int:
        """Return how many steps training takes until a stream that is opened now has its first block."""
        lead_s = _LATER_LEAD_S if self._num_opened else _FIRST_LEAD_S
        steps = math.ceil(lead_s / self._step_s) if self._step_s else 0
        half, most = self._settings.block_steps // 2, _MAX_LEAD_BLOCKS * self._settings.block_steps
        return min(max(half, steps, 1), most)

    def _fetch(self, position: int) -> Fetched:
        if not self._here or self._here[0][0] != position:
            self._fetch_some(position)
        self._num_here += 1
        return self._here.popleft()[1]

    def _fetch_some(self, position: int) -> None:
        begun = self._clock()
        count = self._num_at_once(position)
        try:
            fetched = self._fetch_all(range(position, position + count))
        except DataError:
            if count == 1:
                raise
            # It may be a batch that training never comes to.
            fetched = self._fetch_all(range(position, position + 1))
        self._here = deque(zip(itertools.count(position), fetched, strict=False))
        self._here_s = _mean(self._here_s, (self._clock() - begun) / len(fetched))
        if self._open_source is not None and not self._batch_bytes:
            self._batch_bytes = _bytes_of(fetched[0].batch)

    def _fetch_all(self, positions: range) -> list[Fetched]:
        return self._fetcher.fetch_all(self.plan, positions, *self._place)

    def _num_at_once(self, position: int) -> int:
        """Return how many batches to fetch; never of two passes, between which data may change."""
        if self._open_source is None or not self._here_s:
            return 1
        left = self.plan.steps_per_pass - position % self.plan.steps_per_pass
        if self._source is not None and self._source.position > position:
            left = min(left, self._source.position - position)
        return max(1, min(int(_AT_ONCE_S / self._here_s), _MOST_AT_ONCE, left))

    def _take(self, source: BatchSource, position: int) -> Fetched:
        fetched = source.get(position)
        self._num_taken += 1
        if self._alone and len(self._streaming) == _NUM_COMPARED:
            if _typical(self._streaming) > _WORTH * _typical(self._alone):
                self._give_up(until_later=True)
            else:
                self._pause_s = _FIRST_PAUSE_S
            self._streaming.clear()
        return fetched


def _typical(times_s: Sequence[float]) -> float:
    """Return the mean without the longest: waits for a block count, one pause of the program does not."""
    return (sum(times_s) - max(times_s)) / max(1, len(times_s) - 1)


def _mean(before: float, new: float) -> float:
    return new if not before else (1 - _NEW) * before + _NEW * new


def _bytes_of(batch: Any) -> int:
    head, buffers = encode(batch)
    return len(head) + sum(map(len, buffers))
