"""What a step took and what it was computed on is told with the tallies."""

from __future__ import annotations

import pytest

from bessemer.training.stopwatch import Stopwatch
from bessemer.utils.events import Tally


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_step_lasts_without_waiting_and_checkpoints_and_is_told_once() -> None:
    clock, told = Clock(), list[Tally]()
    watch = Stopwatch(told.append, clock=clock)
    for step, took in enumerate((9.0, 0.5, 0.75), 1):
        watch.waited(0.0625)
        clock.now += 0.0625 + took
        watch.stepped(step)
    with watch.checkpoint():
        clock.now += 4
    clock.now += 1
    watch.stepped(4)
    watch.end()
    durations = [duration for tally in told for duration in tally.step_durations_s]
    # The first step of an attempt warms up, and is no sample.
    assert durations == pytest.approx([0.5, 0.75, 1.0])


def test_evaluation_between_two_steps_is_part_of_none() -> None:
    clock, told = Clock(), list[Tally]()
    watch = Stopwatch(told.append, clock=clock)
    watch.stepped(1)
    clock.now += 1
    watch.stepped(2)
    watch.cut()
    clock.now += 50
    watch.cut()
    clock.now += 2
    watch.stepped(3)
    watch.end()
    assert [duration for tally in told for duration in tally.step_durations_s] == [1.0, 2.0]


def test_of_many_fast_steps_some_are_told() -> None:
    clock, told = Clock(), list[Tally]()
    watch = Stopwatch(told.append, clock=clock)
    for step in range(1000):
        clock.now += 1e-6
        watch.stepped(step)
    watch.end()
    assert 10 < sum(len(tally.step_durations_s) for tally in told) <= 100


def test_samples_are_those_of_batches_that_steps_were_computed_on() -> None:
    clock, told = Clock(), list[Tally]()
    watch = Stopwatch(told.append, clock=clock)
    for _ in range(2):  # two batches for one step
        watch.waited(0.0, 10)
    watch.stepped(1)
    watch.cut()
    watch.waited(0.0, 500)  # evaluation
    watch.cut()
    watch.waited(0.0, 7)
    watch.stepped(2)
    watch.end()
    assert told[-1].num_samples == 27
