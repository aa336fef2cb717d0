"""Loaders that take their batches from a stream: when it is opened, where it begins, when it ends."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from torch.utils.data import (
    WeightedRandomSampler,
)

from bessemer.data.loaders import Loader
from bessemer.utils.collectives import Group
from loading import BLOCKS, Noisy, Numbers, Streams, lists, loader

pytestmark = pytest.mark.usefixtures("streams_at_once")


# Streams; when one is opened, and when it is left, is up to the feed


@pytest.mark.parametrize(("rank", "size"), [(0, 1), (0, 2), (1, 2)])
def test_a_stream_gives_the_same_batches(rank: int, size: int) -> None:
    arguments: dict[str, Any] = {"batch_size": 4, "shuffle": True, "group": Group(rank, size)}
    plain = loader(Noisy(30), collate_fn=list, **arguments)
    streams = Streams(rank, size)
    streamed = loader(Noisy(30), collate_fn=list, settings=BLOCKS, streams=streams, **arguments)
    assert [list(streamed) for _ in range(12)] == [list(plain) for _ in range(12)]
    assert len(streams.opened) == 1
    assert streams.opened[0].asked == list(range(streams.opened[0].start, 96))


def test_a_loader_that_gives_a_single_batch_starts_no_stream() -> None:
    streams = Streams()
    for _ in loader(Numbers(20), batch_size=2, settings=BLOCKS, streams=streams):
        break
    assert streams.opened == []


def test_a_restored_loader_starts_its_stream_where_it_goes_on() -> None:
    streams = Streams()
    made = loader(Numbers(200), batch_size=2, shuffle=True, settings=BLOCKS, streams=streams)
    made.load_state_dict({"passes": 7})
    plain = loader(Numbers(200), batch_size=2, shuffle=True)
    plain.load_state_dict({"passes": 7})
    assert lists(made) == lists(plain)
    assert 701 < streams.opened[0].start < 710


def test_a_stream_is_not_started_before_it_is_needed() -> None:
    streams = Streams()
    made = loader(Numbers(200), batch_size=2, settings=BLOCKS, streams=streams)
    assert streams.opened == []
    made.silent = True
    list(made)
    assert streams.opened == []


def test_closing_a_loader_ends_its_stream_and_a_later_pass_opens_another() -> None:
    streams = Streams()
    made = loader(Numbers(200), batch_size=2, shuffle=True, settings=BLOCKS, streams=streams)
    plain = loader(Numbers(200), batch_size=2, shuffle=True)
    list(made), list(plain)
    made.close()
    assert streams.opened[0].closed
    made.close()
    assert lists(made) == lists(plain)
    assert len(streams.opened) == 2


def test_a_loader_that_goes_away_ends_its_stream() -> None:
    streams = Streams()
    made = loader(Numbers(200), batch_size=2, settings=BLOCKS, streams=streams)
    list(made)
    del made
    gc.collect()
    assert streams.opened[0].closed


def test_what_a_sampler_of_the_research_code_draws_is_streamed_pass_by_pass() -> None:
    def made(streams: Streams | None) -> Loader[Any]:
        sampler = WeightedRandomSampler([1.0, 2.0] * 100, 200)
        return loader(Noisy(200), sampler=sampler, batch_size=1, settings=BLOCKS, streams=streams)

    streams = Streams()
    streamed, plain = made(streams), made(None)
    for number in range(2):
        assert str(list(streamed)) == str(list(plain))
        opened = streams.opened[number]
        assert opened.stop == 200 * (number + 1)
        assert opened.asked == list(range(opened.start, opened.stop))
        assert opened.closed
