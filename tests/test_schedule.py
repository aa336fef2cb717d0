"""When checkpoints are due, and that workers agree about it."""

from __future__ import annotations

from bessemer.config.settings import Checkpoint
from bessemer.training.schedule import Schedule
from bessemer.utils.collectives import Group


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def schedule(rank: int = 0, stop: bool = False, **settings: float) -> tuple[Schedule, Clock]:
    clock = Clock()
    checkpoint = Checkpoint.model_validate({"every_s": 0, **settings})
    return Schedule(checkpoint, Group(rank, 2), lambda: stop, clock), clock


def test_nothing_is_due_when_nothing_is_set() -> None:
    due, clock = schedule()
    clock.now_s += 1e9
    due.heard(due.wishes())
    assert not due.is_due(10**9)


def test_steps_are_counted_from_the_last_checkpoint_or_restart() -> None:
    due, _ = schedule(every_steps=5)
    assert [due.is_due(step) for step in (4, 5, 6)] == [False, True, True]
    due.taken(6)
    assert [due.is_due(step) for step in (10, 11)] == [False, True]


def test_the_clock_of_the_main_worker_decides_for_all() -> None:
    main, clock = schedule(every_s=60)
    other, other_clock = schedule(rank=1, every_s=60)
    other_clock.now_s += 1000
    assert other.wishes() == [0, 0]
    clock.now_s += 59
    assert main.wishes() == [0, 0]
    clock.now_s += 1
    assert main.wishes() == [1, 0]
    assert not main.is_due(1)  # not before every worker has heard it
    for each in (main, other):
        each.heard([1, 0])
        assert each.is_due(1)
        each.taken(1)
        assert not each.is_due(2)
    assert main.wishes() == [0, 0]


def test_a_stop_that_any_worker_wishes_for_stops_all_of_them() -> None:
    asked, _ = schedule(rank=1, stop=True)
    other, _ = schedule()
    assert asked.wishes() == [0, 1]
    other.heard([0, 1])
    other.heard([0, 0])
    assert other.stop
    assert other.is_due(1)
