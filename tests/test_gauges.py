"""Contract: what `ray.util.metrics` must be, and that each number goes out as what it is."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.util.metrics import Gauge, Histogram

from bessemer.training import gauges
from bessemer.training.account import Books
from bessemer.training.gauges import FAILURES, GAUGES, HISTOGRAMS, WAIT, Gauges, RankGauges
from bessemer.utils.events import (
    AttemptEnded,
    AttemptStarted,
    CheckpointSaved,
    Event,
    Note,
    Tally,
    TurnEnded,
)


def test_rays_metrics_take_what_they_are_given() -> None:
    assert list(inspect.signature(Gauge).parameters) == ["name", "description", "tag_keys"]
    assert "boundaries" in inspect.signature(Histogram).parameters
    for method in (Gauge.set, Histogram.observe):
        assert list(inspect.signature(method).parameters) == ["self", "value", "tags"]


class Metric:
    """Keeps what it is given, by the name of the metric and by labels that not all metrics have."""

    given: dict[str, list[float]]

    def __init__(self, name: str, tag_keys: tuple[str, ...], **_options: Any) -> None:
        self._name, self._keys = name, tag_keys

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert tuple(tags) == self._keys
        assert (tags["project"], tags["run"]) == ("digits", "today")
        more = [tags[key] for key in self._keys[2:]]
        self.given.setdefault(" ".join([self._name, *more]), []).append(value)

    observe = set


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    Metric.given = {}
    for kind in ("Gauge", "Histogram"):
        monkeypatch.setattr(gauges, kind, Metric)
    return Metric.given


def test_what_does_not_change_is_shown_again_before_ray_forgets_it(
    given: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("bessemer.training.gauges.time.time", lambda: now[0])
    tell = Told()
    tell(AttemptStarted(1, "2 x cpu", None, num_workers=2))
    for _ in range(30):
        now[0] += 1
        tell()
    assert given["bessemer_workers"] == [2] * 7
    assert given["bessemer_failures_total died"] == [0] * 8


class Told:
    """Shows events as a driver does."""

    def __init__(self) -> None:
        self.books, self.gauges = Books(called_at=90.0), Gauges("digits", "today")

    def __call__(self, *events: Event) -> None:
        for event in events:
            self.books.take(event)
        self.gauges.show(self.books, list(events))


def test_counts_are_those_of_the_run_and_every_stall_is_observed_once(given: dict[str, list[float]]) -> None:
    tell = Told()
    first = Tally(1, 110.0, 100.0, first_step_at=101.0, step=10, num_steps=10, steps_s=4.5, num_samples=80)
    stalled = replace(first, num_checkpoints=1, checkpoint_s=0.5, last_checkpoint_s=0.5)
    later = replace(stalled, at=111.0, step=13, num_steps=13, num_samples=104)
    tell(first)
    tell(stalled, later)
    tell(Note("nothing of the account"))
    again = Tally(2, 130.0, 120.0, first_step_at=121.0, step=10, num_steps=4, num_again=3, num_samples=32)
    tell(again)
    tell(replace(again, num_checkpoints=1, checkpoint_s=0.25, last_checkpoint_s=0.25))
    assert given["bessemer_steps_total"] == [10, 13, 17, 17]
    assert given["bessemer_steps_again_total"] == [0, 0, 3, 3]
    assert given["bessemer_samples_total"] == [80, 104, 136, 136]
    assert given["bessemer_last_step"] == [10, 13, 13, 13]
    assert given["bessemer_checkpoints_total"] == [0, 1, 1, 2]
    assert given["bessemer_checkpoint_stall_seconds"] == [0.5, 0.25]
    assert given["bessemer_startup_seconds"] == [11] * 4
    assert given["bessemer_checkpoint_stalled_seconds_total"] == [0, 0.5, 0.5, 0.75]


def test_each_step_is_observed_once(given: dict[str, list[float]]) -> None:
    tell = Told()
    first = Tally(1, 110.0, 100.0, step_durations_s=(0.5, 0.25))
    tell(first, replace(first, at=111.0, step_durations_s=(0.125,)))
    assert given["bessemer_step_duration_seconds"] == [0.5, 0.25, 0.125]


def test_attempts_failures_and_workers_follow_what_happens(given: dict[str, list[float]]) -> None:
    tell = Told()
    tell(AttemptStarted(1, "2 x cpu", None, num_workers=2))
    tell(AttemptEnded(1, "failure", "died", "gone"), AttemptStarted(2, "cpu", 5, "failure", num_workers=1))
    tell(AttemptEnded(2, "preemption", "preemption"), AttemptStarted(3, "cpu", 5, "resize", num_workers=4))
    assert given["bessemer_attempts_total"] == [1, 2, 3]
    assert given["bessemer_workers"] == [2, 1, 4]
    assert given["bessemer_resizes_total"] == [0, 0, 1]
    assert given["bessemer_failures_total died"] == [0, 0, 1, 1, 1, 1]
    assert given["bessemer_failures_total preemption"] == [0, 0, 0, 0, 1, 1]
    assert given["bessemer_failures_total program"] == [0] * 6


def test_a_checkpoint_shows_its_size_and_grows_old(
    given: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("bessemer.training.gauges.time.time", lambda: now[0])
    tell = Told()
    tell(TurnEnded("0", 3, 4, 6, 1.5, 10.0, 0.1))
    tell(CheckpointSaved(6, 1000, 0.5, 99.0))
    tell()
    now[0] = 104.0
    tell()
    assert given["bessemer_epoch"] == [3]
    assert given["bessemer_checkpoint_seconds"] == [0.5]
    assert given["bessemer_checkpoint_bytes"] == [1000]
    assert given["bessemer_checkpoint_step"] == [6]
    assert given["bessemer_checkpoint_timestamp_seconds"] == [99.0]
    # Before there is one, it is as old as the command; it is brought up to date once a second.
    assert given["bessemer_checkpoint_age_seconds"] == [10.0, 1.0, 5.0]


def test_each_worker_shows_its_own_wait(given: dict[str, list[float]]) -> None:
    RankGauges("digits", "today", 3).show(Tally(1, 2.0, 1.0, data_wait_s=0.5))
    assert given == {"bessemer_loader_wait_seconds_total 3": [0.5]}


def names() -> list[str]:
    return [f"bessemer_{name}" for name in (*GAUGES, *HISTOGRAMS, FAILURES, WAIT)]


def test_names_are_as_prometheus_wants_them() -> None:
    for name in names():
        assert re.fullmatch(r"bessemer(_[a-z]+)+", name)
        # Base units, at the end of the name but for what only grows.
        assert not re.search(r"_(s|ms|minutes|mib|kb|percent|num)(_|$)", name)


def test_every_metric_is_in_the_documentation_with_its_labels() -> None:
    text = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    rows = dict(re.findall(r"^\| `ray_(bessemer_\w+)` \| (.*) \|$", text, re.MULTILINE))
    assert sorted(rows) == sorted(names())
    for name, row in rows.items():
        kind, labels, _ = row.split(" | ", 2)
        assert kind == ("histogram" if name.removeprefix("bessemer_") in HISTOGRAMS else "gauge")
        more = {f"bessemer_{FAILURES}": ", `kind`", f"bessemer_{WAIT}": ", `rank`"}.get(name, "")
        assert labels == f"`project`, `run`{more}"
