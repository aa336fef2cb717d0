"""What a worker logs is written by its driver: in order, once, and a checkpoint waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bessemer.config.settings import Tracking
from bessemer.errors import BessemerError, TrackingError, TrainingError
from bessemer.tracking import TrackedRun
from bessemer.training import relay
from bessemer.training.monitor import LocalMonitor
from bessemer.training.relay import Recorder, RelayedWriter
from bessemer.utils.machine import MachineMeter
from bessemer.utils.records import Record

TRACKED = TrackedRun("sqlite:///none", "run", "0", "name")


class Line(LocalMonitor):
    """A monitor of this process whose answers get lost."""

    def record(self, records: Sequence[Record], sender: str, number: int) -> None:
        for _ in range(2):
            super().record(records, sender, number)

    def written(self, barrier: str, wait_s: float) -> tuple[bool, BessemerError | None]:
        return super().written(barrier, min(wait_s, 0.05))

    def read(self) -> list[Record]:
        news = self.next_news(0.0, self.received)
        self.received = news.number
        return news.records

    received = -1


class Book:
    """Stands for the writer to MLflow: notes what it is given, in order."""

    made: list[Book]
    error: TrackingError | None

    def __init__(self, _tracked: TrackedRun, _flush_every_s: float, resumed: bool, _retry_s: float) -> None:
        self.told: list[Any] = [f"resumed {resumed}"]
        self.has_failed = False
        Book.made.append(self)

    def log_points(self, points: Sequence[tuple[str, float, int, int]]) -> None:
        self.told += [(name, value, step) for name, value, _, step in points]

    def log_file(self, path: Path, folder: str | None) -> None:
        self.told.append((path.name, folder))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.told.append(dict(tags))

    def begin_again(self) -> None:
        self.told.append("again")

    def barrier(self) -> Callable[[], None]:
        self.told.append("barrier")

        def wait() -> None:
            if Book.error is not None:
                raise Book.error

        return wait

    def close(self) -> None:
        self.told.append("closed")


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    Book.made, Book.error = [], None
    monkeypatch.setattr(relay, "MetricWriter", Book)
    made = Line()
    yield made
    made.stop()


@pytest.fixture
def recorder(line: Line) -> Iterator[Recorder]:
    """A driver that takes what comes until the test ends."""
    made, done = Recorder(TRACKED, Tracking(), line), threading.Event()

    def drive() -> None:
        while not done.wait(0.005):
            made.take(line.read())

    thread = threading.Thread(target=drive)
    thread.start()
    yield made
    done.set()
    thread.join()
    made.close()


def test_everything_is_written_in_its_order_before_a_barrier_passes(line: Line, recorder: Recorder) -> None:
    writer = RelayedWriter(line, 1, resumed=False)
    writer.log({"a": 1.0, "b": 2.0}, 1)
    writer.log_file(Path("/run/plot.png"), "figures")
    writer.log({"a": 3.0}, 2)
    writer.set_tags({"x": "y"})
    writer.barrier()()
    assert Book.made[0].told == [
        "resumed False",
        ("a", 1.0, 1),
        ("b", 2.0, 1),
        ("plot.png", "figures"),
        ("a", 3.0, 2),
        {"x": "y"},
        "barrier",
    ]
    writer.log({"a": 4.0}, 3)
    writer.close()
    assert ("a", 4.0, 3) in Book.made[0].told


def test_metrics_leave_without_a_barrier_too(line: Line, recorder: Recorder) -> None:
    writer = RelayedWriter(line, 1, resumed=False)
    writer.log({"a": 1.0}, 1)
    deadline = time.monotonic() + 10
    while not Book.made or ("a", 1.0, 1) not in Book.made[0].told:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    writer.close()


def test_what_cannot_be_written_stops_who_waits_for_it(line: Line, recorder: Recorder) -> None:
    Book.error = TrackingError("the store is gone")
    writer = RelayedWriter(line, 1, resumed=False)
    writer.log({"a": 1.0}, 1)
    with pytest.raises(TrackingError, match="the store is gone"):
        writer.barrier()()


def test_a_barrier_does_not_pass_while_nobody_writes(line: Line) -> None:
    writer = RelayedWriter(line, 1, resumed=False)
    passed = threading.Event()
    wait = writer.barrier()

    def pass_it() -> None:
        wait()
        passed.set()

    threading.Thread(target=pass_it, daemon=True).start()
    assert not passed.wait(0.3)
    line.tell_written("1-0", None)
    assert passed.wait(10)


def test_who_waits_for_a_driver_that_is_lost_is_told(line: Line) -> None:
    writer = RelayedWriter(line, 1, resumed=False)
    line.lose_driver(TrainingError("the driver stopped listening"))
    with pytest.raises(TrainingError, match="stopped listening"):
        writer.barrier()()
    assert line.begin_attempt().give_up is not None


def test_the_next_attempt_may_send_the_same_steps_again(line: Line, recorder: Recorder) -> None:
    first = RelayedWriter(line, 1, resumed=False)
    first.log({"a": 1.0}, 1)
    first.barrier()()  # and its process is killed
    second = RelayedWriter(line, 2, resumed=True)
    second.log({"a": 1.0}, 1)
    second.barrier()()
    (book,) = Book.made
    assert book.told[-3:] == ["again", ("a", 1.0, 1), "barrier"]


def test_an_attempt_after_one_whose_metrics_could_not_be_written_tries_anew(
    line: Line, recorder: Recorder
) -> None:
    RelayedWriter(line, 1, resumed=False).barrier()()
    Book.made[0].has_failed = True
    RelayedWriter(line, 2, resumed=True).barrier()()
    assert Book.made[1].told == ["resumed True", "barrier"]


def test_the_machine_is_measured_if_asked(line: Line, recorder: Recorder) -> None:
    writer = RelayedWriter(line, 1, resumed=False, machine_every_s=0.1, began_at=time.time() - 100)
    deadline = time.monotonic() + 20
    while len(Book.made) < 1 or sum("cpu" in told[0] for told in Book.made[0].told) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    writer.close()
    steps = [told[2] for told in Book.made[0].told if "cpu" in told[0]]
    assert 99 <= steps[0] <= steps[1] <= 130


def test_the_machine_has_the_values_that_the_page_shows(tmp_path: Path) -> None:
    values = MachineMeter(tmp_path).read()
    assert {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/disk_usage_percentage",
        "system/network_receive_megabytes",
    } <= set(values)
    assert 0 < values["system/system_memory_usage_percentage"] < 100
