"""A study knows after any kill all that it knew, and decides as if there had been none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from bessemer.errors import NeverLoggedError, SettingsError, StorageError, TrainingError
from bessemer.search.journal import JOURNAL_FILE, Asked, Journal, read
from bessemer.search.question import Question
from bessemer.search.space import Choices, Range
from bessemer.search.study import epochs_in_full, epochs_trained
from searches import NUM_TURNS, SPACE, Clock, decisions, opened, question, run_all, run_one

WAYS: list[dict[str, Any]] = [
    {"sampler": "random", "scheduler": "none"},
    {"sampler": "tpe", "scheduler": "none", "num_startup": 3},
    {"sampler": "tpe", "scheduler": "asha", "num_startup": 3},
    {"sampler": "random", "scheduler": "median", "num_startup": 2},
    {"sampler": "random", "scheduler": "pbt", "interval_turns": 2, "population": 5},
]


def way(name: dict[str, Any]) -> Question:
    return question(num_trials=8, seed=3, **name)


@pytest.mark.parametrize("tuning", WAYS, ids=lambda tuning: f"{tuning['sampler']}-{tuning['scheduler']}")
@bounded(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kills=st.lists(st.integers(0, NUM_TURNS - 1), max_size=6))
def test_a_search_that_is_killed_decides_as_one_that_is_not(
    tuning: dict[str, Any], kills: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("search")
    with opened(folder / "whole", way(tuning)) as study:
        run_all(study)
        expected = decisions(study)
    for turn in kills:
        with opened(folder / "cut", way(tuning)) as study:
            run_all(study, 2)
            assignment = study.next()
            if assignment is not None:
                begin = max(study.trials[assignment.number].losses, default=0)
                # The trial's own checkpoint may be older than what it has reported.
                run_one(study, assignment, max(0, begin - 1), until=max(begin, turn))
    with opened(folder / "cut", way(tuning)) as study:
        run_all(study)
        assert decisions(study) == expected


def test_halving_stops_trials_and_others_train_to_their_end(tmp_path: Path) -> None:
    with opened(tmp_path, way({"scheduler": "asha", "sampler": "random"})) as study:
        run_all(study)
        states = {trial.state for trial in study.trials.values()}
        assert states == {"done", "stopped"}
        assert all(t.turns in (1, 3, 9) for t in study.trials.values())
        trained, full = (
            epochs_trained(list(study.trials.values())),
            epochs_in_full(list(study.trials.values())),
        )
        assert full == 8 * NUM_TURNS
        assert full is not None
        assert trained < 0.7 * full


def test_a_population_goes_round_by_round_and_copies(tmp_path: Path) -> None:
    asked = question(scheduler="pbt", sampler="random", population=4, interval_turns=3)
    with opened(tmp_path, asked) as study:
        stretches = run_all(study)
        assert [turn for _, _, turn in stretches] == [3] * 4 + [6] * 4 + [9] * 4
        copies = [copy for trial in study.trials.values() for copy in trial.copies]
        assert {turn for turn, _ in copies} == {3, 6}
        assert all(trial.state == "done" for trial in study.trials.values())


def test_a_member_that_fails_does_not_hold_up_the_others(tmp_path: Path) -> None:
    asked = question(scheduler="pbt", sampler="random", population=3, interval_turns=3)
    with opened(tmp_path, asked) as study:
        first = study.next()
        assert first is not None
        study.end(first.number, "failed", "cause")
        run_all(study)
        assert sorted(trial.state for trial in study.trials.values()) == ["done", "done", "failed"]


def test_the_first_trial_has_the_settings_as_they_are(tmp_path: Path) -> None:
    first = {"lr": 0.5, "optimizer": "adam", "width": 8}
    with opened(tmp_path, question(first=first)) as study:
        assignment = study.next()
        assert assignment is not None
        assert assignment.values == first


def test_every_point_of_a_grid_is_tried_once(tmp_path: Path) -> None:
    asked = question(
        {"a": Choices((1, 2)), "b": Range(1, 3)}, sampler="grid", scheduler="none", num_trials=99
    )
    with opened(tmp_path, asked) as study:
        while (assignment := study.next()) is not None:
            study.report(assignment.number, 1, 0.0)
            study.end(assignment.number, "done")
        tried = [tuple(trial.values.values()) for trial in study.trials.values()]
        assert sorted(tried) == [(a, b) for a in (1, 2) for b in (1, 2, 3)]
        assert study.is_over


def test_a_report_that_is_told_again_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, question(scheduler="asha")) as study:
        for loss in (1.0, 2.0):
            assignment = study.next()
            assert assignment is not None
            ends = study.report(assignment.number, 1, loss, 9)
        assert ends
        before = (tmp_path / JOURNAL_FILE).read_bytes()
        assert study.report(1, 1, 0.0, 9)
        assert (tmp_path / JOURNAL_FILE).read_bytes() == before


def test_what_was_decided_before_a_kill_is_carried_out_after_it(tmp_path: Path) -> None:
    asked = question(scheduler="asha", num_trials=2)
    with opened(tmp_path, asked) as study:
        for loss in (1.0, 2.0):
            assignment = study.next()
            assert assignment is not None
            study.report(assignment.number, 1, loss, 9)
    with opened(tmp_path, asked) as study:
        assert study.trials[1].state == "stopped"
        assert [study.next(), study.next()] != [None, None]
        assert study.trials[0].state == "running"


def test_a_line_that_a_kill_cut_off_does_not_count(tmp_path: Path) -> None:
    with opened(tmp_path, question()) as study:
        study.next()
    file = tmp_path / JOURNAL_FILE
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"kind": "reported", "numb')
    with opened(tmp_path, question()) as study:
        assert len(study.trials) == 1
        assert study.next() is not None
        # What is written after it is a line of its own.
        study.report(0, 1, 0.5)
    assert [type(line).__name__ for line in read(file)] == ["Opened", "Asked", "Reported"]


def test_a_damaged_journal_is_refused_by_the_number_of_its_line(tmp_path: Path) -> None:
    with opened(tmp_path, question()) as study:
        study.next()
    file = tmp_path / JOURNAL_FILE
    file.write_bytes(file.read_bytes() + b"nonsense\n")
    with pytest.raises(StorageError, match="line 3"), opened(tmp_path, question()):
        pass


def test_another_space_is_refused_with_both(tmp_path: Path) -> None:
    with opened(tmp_path, question()):
        pass
    other = question({**SPACE, "lr": Range(0.01, 2.0, log=True)})
    with (
        pytest.raises(SettingsError, match=r"range of lr: .*1\.0.* -> .*2\.0") as caught,
        opened(tmp_path, other),
    ):
        pass
    assert caught.value.exit_code == 2


def test_budgets_may_change_when_a_search_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path, question(num_trials=2, scheduler="none")) as study:
        run_all(study)
        assert study.is_over
    with opened(tmp_path, question(num_trials=3, scheduler="none")) as study:
        assert [number for number, _, _ in run_all(study)] == [2]


def test_two_drivers_of_one_search_are_refused(tmp_path: Path) -> None:
    with (
        opened(tmp_path, question()),
        pytest.raises(StorageError, match="another process"),
        opened(tmp_path, question()),
    ):
        pass


def test_time_is_counted_over_all_drivers(tmp_path: Path) -> None:
    clock = Clock()
    asked = question(max_hours=2.0)
    with opened(tmp_path, asked, clock) as study:
        clock.now += 3600
        study.spend(0.0)
    clock.now += 100_000  # nobody searched
    with opened(tmp_path, asked, clock) as study:
        assert study.wall_s == 3600
        assert not study.out_of_budget()
        clock.now += 3600
        assert "max_hours = 2" in study.out_of_budget()
        assert study.next() is None
        assert study.is_over


def test_gpu_time_is_counted_over_all_drivers(tmp_path: Path) -> None:
    clock = Clock()
    asked = question(max_gpu_hours=1.0)
    with opened(tmp_path, asked, clock) as study:
        study.spend(1800.0)
    clock.now += 1
    with opened(tmp_path, asked, clock) as study:
        study.spend(1799.0)
        assert not study.out_of_budget()
        study.spend(1800.0)
        assert study.out_of_budget()


def test_a_metric_that_is_never_logged_is_said_after_the_first_turns(tmp_path: Path) -> None:
    with opened(tmp_path, question(grace_turns=2)) as study:
        assignment = study.next()
        assert assignment is not None
        study.check_logged(0, 1, {"losss": 1.0})
        with pytest.raises(NeverLoggedError, match="losss") as caught:
            study.check_logged(0, 2, {"losss": 1.0, "other": 2.0})
        assert caught.value.expected == "did you mean losss?"
        assert caught.value.exit_code == 2


def test_a_failure_of_one_trial_does_not_end_the_search(tmp_path: Path) -> None:
    with opened(tmp_path, question(max_failures=2)) as study:
        for state in ("done", "failed", "failed", "failed"):
            assignment = study.next()
            assert assignment is not None
            study.report(assignment.number, 1, 1.0)
            study.end(assignment.number, state, "cause")
            study.check_failures()


def test_failures_of_all_trials_end_the_search_early(tmp_path: Path) -> None:
    with opened(tmp_path, question(max_failures=2)) as study:
        for number in range(2):
            study.next()
            study.end(number, "failed", "the same cause")
            if not number:
                study.check_failures()
        with pytest.raises(TrainingError, match="the same cause"):
            study.check_failures()


def test_the_winner_trained_to_its_end_and_is_no_nan(tmp_path: Path) -> None:
    with opened(tmp_path, question(mode="max", scheduler="none")) as study:
        for value, state in ((math.nan, "done"), (0.9, "stopped"), (0.7, "done"), (0.8, "failed")):
            assignment = study.next()
            assert assignment is not None
            study.report(assignment.number, 1, value)
            study.end(assignment.number, state)  # type: ignore[arg-type]
        winner = study.winner()
        assert winner is not None
        assert winner.number == 2
        assert study.question.value(winner.loss) == 0.7


def test_a_choice_depends_on_the_seed_and_on_what_is_known(tmp_path: Path) -> None:
    def first_values(name: str, seed: int) -> Any:
        with opened(tmp_path / name, question(seed=seed)) as study:
            assignment = study.next()
            assert assignment is not None
            return assignment.values

    assert first_values("a", 1) == first_values("b", 1)
    assert first_values("c", 2) != first_values("d", 1)


def test_a_line_is_on_the_disk_when_it_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(Asked(0, {"lr": 0.1}, 5.0))
    assert list(read(tmp_path / JOURNAL_FILE)) == [Asked(0, {"lr": 0.1}, 5.0)]
    journal.close()


def test_fast_failures_beside_a_trial_that_trains_end_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, question(max_failures=2)) as study:
        for _ in range(3):
            study.next()
        study.report(0, 1, 1.0)
        for number in (1, 2):
            study.end(number, "failed", "cause")
            study.check_failures()


@pytest.mark.parametrize(("losses", "error"), [([math.nan, math.inf], NeverLoggedError), ([], TrainingError)])
def test_a_search_without_a_number_is_none(
    tmp_path: Path, losses: list[float], error: type[Exception]
) -> None:
    with opened(tmp_path, question(num_trials=2, scheduler="none")) as study:
        for number in range(2):
            study.next()
            study.check_found()
            if losses:
                study.report(number, 1, losses[number])
            study.end(number, "done" if losses else "failed", "" if losses else "the cause")
        with pytest.raises(error, match="2 trials"):
            study.check_found()


def test_a_trial_is_not_ended_after_the_turn_that_was_its_last(tmp_path: Path) -> None:
    # As of a program that leaves an endless loop: nobody knew how many turns there would be.
    with opened(tmp_path, question(scheduler="asha", num_trials=2)) as study:
        for loss in (1.0, 2.0):
            assignment = study.next()
            assert assignment is not None
            assert not study.report(assignment.number, 1, loss, None, decides=False)
            study.end(assignment.number, "done")
        assert [trial.state for trial in study.trials.values()] == ["done", "done"]
