"""A feed gives the same batches wherever they are made, and has training wait as little as possible."""

from __future__ import annotations

from typing import Any

import pytest
from torch.utils.data import Dataset

from bessemer.config.data_settings import Data
from bessemer.data.datasets import Fetched, Fetcher, Recipe
from bessemer.data.feed import Feed
from bessemer.data.order import CanonicalPlan, Plan
from bessemer.errors import DataError

STEPS_PER_PASS = 1000
PLAN = CanonicalPlan(4 * STEPS_PER_PASS, 4, shuffle=True, drop_last=False, key=3)
BLOCK = 8


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Dataset[int]):
    """Takes some time for each sample."""

    def __init__(self, clock: Clock, sample_s: float) -> None:
        self.clock, self.sample_s = clock, sample_s

    def __len__(self) -> int:
        return 4 * STEPS_PER_PASS

    def __getitem__(self, index: int) -> int:
        self.clock.now += self.sample_s
        return index


class Pipeline:
    """A stream on the same clock: starts after a while, then makes a block every so often."""

    def __init__(self, clock: Clock, start: int, begins_s: float, block_s: float, block_steps: int) -> None:
        self.clock, self.start, self.position, self.block_steps = clock, start, start, block_steps
        self.begins_at, self.block_s = clock.now + begins_s, block_s
        self.taken: list[int] = []
        self.closed = False

    def _arrives_at(self, position: int) -> float:
        return self.begins_at + self.block_s * ((position - self.start) // self.block_steps + 1)

    @property
    def has_delivered(self) -> bool:
        return self.clock.now >= self._arrives_at(self.start)

    def is_ready(self, position: int) -> bool:
        while self.position < position and self.clock.now >= self._arrives_at(self.position):
            self.position += 1
        return self.position == position and self.clock.now >= self._arrives_at(position)

    def get(self, position: int) -> Fetched:
        assert not self.closed
        self.clock.now = max(self.clock.now, self._arrives_at(position))
        self.position = position + 1
        self.taken.append(position)
        return Fetched(PLAN.batch(*divmod(position, STEPS_PER_PASS)).tolist(), 4, 4)

    def close(self) -> None:
        self.closed = True


class Setting:
    """A feed, its clock, and the streams that it opened."""

    def __init__(
        self,
        *,
        begins_s: float = 3.0,
        block_s: float = 0.1,
        sample_s: float = 0.001,
        stop: int | None = None,
        **data: Any,
    ) -> None:
        self.clock = Clock()
        self.least_share = 0.0
        self.opened: list[Pipeline] = []
        self.begins_s, self.block_s = begins_s, block_s

        recipe = Recipe(Slow(self.clock, sample_s), 3, list)
        settings = Data(block_steps=BLOCK, **data)
        self.feed = Feed(Fetcher(recipe), PLAN, 0, 1, settings, self, stop, self.clock)

    def __call__(
        self, recipe: Recipe, plan: Plan, start: int, stop: int | None, block_steps: int
    ) -> Pipeline:
        self.opened.append(Pipeline(self.clock, start, self.begins_s, self.block_s, block_steps))
        return self.opened[-1]

    def train(self, positions: range, step_s: float) -> float:
        """Take batches and compute on each; return how long the batches took."""
        waited_s = 0.0
        for position in positions:
            begun = self.clock.now
            batch = self.feed.get(position).batch
            waited_s += self.clock.now - begun
            assert batch == PLAN.batch(*divmod(position, STEPS_PER_PASS)).tolist()
            self.clock.now += step_s
        return waited_s


def test_nothing_is_waited_for_while_the_stream_starts() -> None:
    setting = Setting(begins_s=3.0, sample_s=0.001)
    setting.train(range(300), step_s=0.05)
    (stream,) = setting.opened
    # Opened after half a block, for where training is when it has begun: a step takes 54 ms.
    assert BLOCK // 2 + 4 / 0.056 < stream.start < BLOCK // 2 + 4 / 0.052 + 2
    assert stream.taken == list(range(stream.start, 300))
    assert setting.clock.now == pytest.approx(300 * 0.05 + stream.start * 0.004 + 0.008, abs=0.01)


def test_a_stream_that_starts_late_is_caught_up_with_and_not_waited_for() -> None:
    setting = Setting(begins_s=6.0, block_s=0.01)
    waited_s = setting.train(range(400), step_s=0.05)
    (stream,) = setting.opened
    assert stream.taken[0] > stream.start
    assert stream.taken == list(range(stream.taken[0], 400))
    assert waited_s == pytest.approx(stream.taken[0] * 0.004 + 0.008, abs=0.01)


def test_a_stream_that_never_starts_stops_nobody() -> None:
    setting = Setting(begins_s=1e9)
    assert setting.train(range(500), step_s=0.05) == pytest.approx(500 * 0.004, abs=0.02)
    assert len(setting.opened) == 1


def test_a_stream_with_which_training_is_no_faster_is_given_up_and_tried_again_later() -> None:
    setting = Setting(block_s=1.0, sample_s=0.001)  # here a block takes 32 ms
    setting.train(range(1000), step_s=0.05)
    (first,) = setting.opened
    assert first.closed
    assert len(first.taken) == 129  # the time of the first is not one of the stream
    setting.block_s = 0.1
    setting.clock.now += 60
    setting.train(range(1000, 1400), step_s=0.05)
    assert len(setting.opened) == 2
    assert setting.opened[1].taken[-1] == 1399


def test_a_stream_that_slows_down_the_steps_themselves_is_given_up() -> None:
    setting = Setting(sample_s=0.001)
    setting.train(range(300), step_s=0.02)
    assert not setting.opened[0].closed
    setting.train(range(300, 900), step_s=0.05)  # its processes take the processors
    assert setting.opened[0].closed


def test_no_stream_is_tried_where_fetching_here_takes_too_small_a_share() -> None:
    setting = Setting(sample_s=0.001)
    setting.least_share = 0.3
    setting.train(range(500), step_s=0.02)  # 4 ms of 24
    assert setting.opened == []
    setting.train(range(500, 900), step_s=0.004)  # 4 ms of 8
    assert len(setting.opened) == 1


def test_a_stream_is_waited_for_as_long_as_it_is_the_faster_way() -> None:
    setting = Setting(block_s=0.3, sample_s=0.02)  # here a block takes 640 ms
    setting.train(range(600), step_s=0.001)
    (stream,) = setting.opened
    assert stream.taken[-1] == 599
    assert not stream.closed


def test_after_a_jump_far_ahead_another_stream_is_opened_there() -> None:
    setting = Setting()
    setting.train(range(200), step_s=0.05)
    setting.begins_s = 0.5
    setting.train(range(1000, 1200), step_s=0.05)
    first, second = setting.opened
    assert first.closed
    assert 1000 < second.start < 1040
    assert second.taken == list(range(second.start, 1200))


def test_after_a_jump_back_another_stream_is_opened_there() -> None:
    setting = Setting()
    setting.train(range(200), step_s=0.05)
    setting.begins_s = 0.5
    setting.train(range(100, 300), step_s=0.05)
    first, second = setting.opened
    assert first.closed
    assert second.taken == list(range(second.start, 300))


def test_loops_that_are_always_left_before_their_stream_begins_stop_opening_them() -> None:
    setting = Setting()
    for number in range(40):
        setting.train(range(number * STEPS_PER_PASS, number * STEPS_PER_PASS + 30), step_s=0.05)
    assert len(setting.opened) <= 3
    assert all(not stream.taken for stream in setting.opened)


def test_a_pass_that_ends_before_a_stream_could_begin_has_none() -> None:
    setting = Setting(stop=60)
    setting.train(range(60), step_s=0.05)
    assert setting.opened == []


def test_a_block_takes_no_more_memory_than_it_may() -> None:
    small = Setting(block_bytes=1)
    small.train(range(100), step_s=0.05)
    assert small.opened[0].block_steps == 1
    large = Setting(block_bytes=2**30)
    large.train(range(100), step_s=0.05)
    assert large.opened[0].block_steps == BLOCK


def test_closing_a_feed_ends_its_stream() -> None:
    setting = Setting()
    setting.train(range(100), step_s=0.05)
    setting.feed.close()
    assert setting.opened[0].closed
    setting.feed.close()


def test_cheap_batches_are_fetched_several_at_once_and_never_those_of_two_passes() -> None:
    setting = Setting(begins_s=1e9, sample_s=0.0001)  # ten batches in 4 ms
    asked: list[range] = []
    fetch_all = setting.feed._fetcher.fetch_all

    def noted(plan: Plan, positions: range, rank: int, world_size: int) -> list[Fetched]:
        asked.append(positions)
        return fetch_all(plan, positions, rank, world_size)

    setting.feed._fetcher.fetch_all = noted  # type: ignore[method-assign]
    setting.train(range(980, 1020), step_s=0.01)
    assert [position for positions in asked for position in positions][:40] == list(range(980, 1020))
    assert len(asked[0]) == 1
    assert 5 < max(map(len, asked)) <= 10
    assert all(len({position // STEPS_PER_PASS for position in positions}) == 1 for positions in asked)


def test_a_batch_that_training_never_comes_to_may_fail() -> None:
    setting = Setting(begins_s=1e9, sample_s=0.0001)
    bad = PLAN.batch(0, 6)[0]
    dataset = setting.feed._fetcher.recipe.dataset
    given: Any = type(dataset).__getitem__

    def failing(self: Dataset[int], index: int) -> Any:
        if index == bad:
            raise ValueError("broken")
        return given(self, index)

    type(dataset).__getitem__ = failing  # type: ignore[method-assign]
    try:
        setting.train(range(6), step_s=0.01)
        with pytest.raises(DataError, match="broken"):
            setting.feed.get(6)
    finally:
        type(dataset).__getitem__ = given  # type: ignore[method-assign]
