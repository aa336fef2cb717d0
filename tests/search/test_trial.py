"""A trial waits for its verdict, tells again what a kill may have lost, and ends when it is told to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from bessemer.config.settings import Settings
from bessemer.errors import RunStoppedError, TrackingError
from bessemer.search import trial
from bessemer.search.study import Assignment
from bessemer.search.trial import Brief, News, TrialRun
from bessemer.training.folders import RECORD_FILE
from bessemer.training.judging import Deciding
from bessemer.training.placement import Placement
from bessemer.training.trainer import Within
from bessemer.utils.events import TurnToJudge

Fit = Callable[[Within], dict[str, float]]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TrialRun]]:
    """Begins a trial whose training is a function of the test."""
    monkeypatch.chdir(tmp_path)
    settings = Settings.model_validate({"checkpoint": {"storage_path": str(tmp_path)}})
    brief = Brief(
        program="p:train",
        settings=cloudpickle.dumps(settings),
        project="p",
        study_dir=tmp_path / "p" / "search",
        search_path=(),
        code=(),
        tags={},
        placement=Placement(1, False, 1.0, 0.0, 1, 0.0),
        here=True,
        fetches_here=True,
        deciding=Deciding(2),
        folder=str(tmp_path),
        shelf=None,  # type: ignore[arg-type]
    )
    run_dir = brief.study_dir / "trial-0000"
    runs: list[TrialRun] = []

    def made(fit: Fit, is_fresh: bool = True, until: int | None = None) -> TrialRun:
        def called(*_arguments: Any, within: Within, **_options: Any) -> Any:
            run_dir.mkdir(parents=True, exist_ok=True)
            (run_dir / RECORD_FILE).write_text("{}")
            return SimpleNamespace(metrics=fit(within))

        monkeypatch.setattr(trial, "fit", called)
        runs.append(TrialRun(brief, Assignment(0, {}, until), lambda work: work(), is_fresh))
        return runs[-1]

    yield made
    for run in runs:
        run.end()


def judged(within: Within, turn: int, waits: bool) -> bool:
    assert within.judging is not None
    return within.judging.judge(TurnToJudge(turn, turn, {"loss": 1.0 / turn}, waits, 9))


def ended(run: TrialRun) -> News:
    """The last news of a trial, with all reports before it."""
    reports: tuple[Any, ...] = ()
    for _ in range(40):
        news = run.next_news()
        reports += news.reports
        if news.end is not None:
            return News(reports, news.end)
    raise AssertionError("the trial did not end")


def test_a_turn_that_decides_waits_until_it_was_told_and_asked_about_again(begin: Any) -> None:
    verdicts: list[bool] = []

    def fit(within: Within) -> dict[str, float]:
        verdicts.append(judged(within, 1, waits=False))
        verdicts.append(judged(within, 2, waits=True))
        return {"loss": 0.5}

    run = begin(fit)
    while len(verdicts) < 1 or not run._waits:
        time.sleep(0.01)
    news = run.next_news()  # the first that tells of it decides nothing
    assert [report.turn for report in news.reports] == [1, 2]
    time.sleep(0.1)
    assert verdicts == [False]
    last = ended(run)
    assert verdicts == [False, False]
    assert last.end is not None
    assert (last.end.state, last.end.metrics) == ("done", {"loss": 0.5})


def test_a_trial_that_is_ended_stops_at_its_turn_also_when_it_comes_there_again(begin: Any) -> None:
    verdicts: list[bool] = []

    def fit(within: Within) -> dict[str, float]:
        verdicts.append(judged(within, 2, waits=True))
        # A worker died before it had stopped, and has come to the same turn.
        verdicts.append(judged(within, 2, waits=True))
        raise RunStoppedError("stopped")

    run = begin(fit)
    run.next_news()
    run.end()
    assert verdicts == [True, True]
    last = ended(run)
    assert last.end is not None
    assert last.end.state == "stopped"


def test_a_trial_that_is_ended_between_its_turns_is_asked_to_stop(begin: Any) -> None:
    def fit(within: Within) -> dict[str, float]:
        while not within.stop.is_made:
            time.sleep(0.01)
        raise RunStoppedError("stopped")

    run = begin(fit)
    run.next_news()
    begun = time.monotonic()
    run.end()
    assert time.monotonic() - begun < 5


def test_what_was_reported_is_told_again_by_the_next_process(begin: Any) -> None:
    def killed(within: Within) -> dict[str, float]:
        judged(within, 1, waits=False)
        raise RunStoppedError("stopped")

    ended(begin(killed))
    again = ended(begin(lambda within: {"loss": 0.1}))
    assert [report.turn for report in again.reports] == [1]


@pytest.mark.parametrize(("is_fresh", "state"), [(True, "failed"), (False, "again")])
def test_a_failure_counts_only_in_a_fresh_process(begin: Any, is_fresh: bool, state: str) -> None:
    def fit(within: Within) -> dict[str, float]:
        raise RuntimeError("context has already been set")

    last = ended(begin(fit, is_fresh))
    assert last.end is not None
    assert last.end.state == state
    assert "context has already been set" in last.end.cause


def test_that_mlflow_does_not_answer_is_no_result_of_a_trial(begin: Any) -> None:
    def fit(within: Within) -> dict[str, float]:
        raise TrackingError("no answer")

    last = ended(begin(fit))
    assert last.end is not None
    assert last.end.state == "untracked"
