"""Contract: what `ray.util.metrics` must be, and that each number goes out as what it is."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest
from ray.util.metrics import Gauge, Histogram

from bessemer.training import gauges
from bessemer.training.account import Books
from bessemer.training.gauges import Gauges
from bessemer.utils.events import Event, Note, Tally


def test_rays_metrics_take_what_they_are_given() -> None:
    assert list(inspect.signature(Gauge).parameters) == ["name", "description", "tag_keys"]
    assert "boundaries" in inspect.signature(Histogram).parameters
    for method in (Gauge.set, Histogram.observe):
        assert list(inspect.signature(method).parameters) == ["self", "value", "tags"]


class Metric:
    """Keeps what it is given, by the name of the metric."""

    given: dict[str, list[float]]

    def __init__(self, name: str, **_options: Any) -> None:
        self._values = self.given.setdefault(name, [])

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert tags == {"run": "today"}
        self._values.append(value)

    observe = set


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    Metric.given = {}
    for kind in ("Gauge", "Histogram"):
        monkeypatch.setattr(gauges, kind, Metric)
    return Metric.given


def test_counts_are_those_of_the_run_and_every_stall_is_observed_once(given: dict[str, list[float]]) -> None:
    books, shown = Books(called_at=90.0), Gauges("today")

    def tell(*events: Event) -> None:
        for event in events:
            books.take(event)
        shown.show(books, list(events))

    first = Tally(1, 110.0, 100.0, first_step_at=101.0, step=10, num_steps=10, steps_s=4.5)
    stalled = replace(first, num_checkpoints=1, checkpoint_s=0.5, last_checkpoint_s=0.5)
    later = replace(stalled, at=111.0, step=13, num_steps=13)
    tell(first)
    tell(stalled, later)
    tell(Note("nothing of the account"))
    again = Tally(2, 130.0, 120.0, first_step_at=121.0, step=10, num_steps=4, num_again=3)
    tell(again)
    tell(replace(again, num_checkpoints=1, checkpoint_s=0.25, last_checkpoint_s=0.25))
    assert given["bessemer_num_steps"] == [10, 13, 17, 17]
    assert given["bessemer_num_steps_again"] == [0, 0, 3, 3]
    assert given["bessemer_num_restarts"] == [0, 0, 1, 1]
    assert given["bessemer_num_checkpoints"] == [0, 1, 1, 2]
    assert given["bessemer_checkpoint_stall_s"] == [0.5, 0.25]
    assert given["bessemer_startup_s"] == [11] * 4
    assert given["bessemer_checkpoint_s"] == [0, 0.5, 0.5, 0.75]
