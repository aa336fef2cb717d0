"""What is shown of a search while it runs."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bessemer.search.screen import SearchScreen


def trial(turns: int, is_over: bool = False) -> Any:
    return SimpleNamespace(turns=turns, num_turns=10, is_over=is_over)


def test_the_time_left_counts_what_running_trials_have_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    question = SimpleNamespace(num_trials=8, tuning=SimpleNamespace(max_hours=None))
    study: Any = SimpleNamespace(question=question, trials={0: trial(10, is_over=True)}, wall_s=0.0)
    plan: Any = None
    screen = SearchScreen(Console(file=io.StringIO()), study, plan)
    assert screen._time_left() is None  # what was over before says nothing of the speed now
    now[0] += 60.0
    study.trials.update({1: trial(10, is_over=True), 2: trial(5), 3: trial(5)})
    # Two trials in a minute, five of eight to go.
    assert screen._time_left() == pytest.approx(150.0)


def test_before_a_trial_is_over_nothing_is_known_of_the_time_left() -> None:
    question = SimpleNamespace(num_trials=8, tuning=SimpleNamespace(max_hours=None))
    study: Any = SimpleNamespace(question=question, trials={}, wall_s=0.0)
    plan: Any = None
    screen = SearchScreen(Console(file=io.StringIO()), study, plan)
    study.trials[0] = trial(5)
    assert screen._time_left() is None
