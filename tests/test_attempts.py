"""What the ledger makes of how attempts end: first causes, budgets, steps that fail again, waits."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.data.order import CanonicalPlan
from bessemer.errors import BessemerError, CheckpointError, TrainingError
from bessemer.training.attempts import Beginning, Ledger, Limits, Report, backoff_s, details_of, first_cause
from bessemer.training.positions import PositionFile, read_position


def died(rank: int = 1, step: int | None = 7, preempted: bool = False) -> Report:
    return Report(
        rank, "died", TrainingError("a worker is gone"), step, f"worker {rank} somewhere", preempted
    )


def raised(text: str = "ValueError", rank: int = 0, step: int = 7) -> Report:
    return Report(rank, "program", TrainingError(text, "a program", "look"), step, f"worker {rank} somewhere")


def lost_peer(rank: int = 0, step: int = 7) -> Report:
    return Report(rank, "collateral", TrainingError("gloo: Connection closed by peer"), step)


def ledger(**limits: Any) -> Ledger:
    return Ledger(Limits(**limits))


def begun(kept: Ledger, checkpoint: int | None = None) -> Beginning:
    beginning = kept.begin(checkpoint)
    assert isinstance(beginning, Beginning), beginning
    return beginning


def ended_after(kept: Ledger, *attempts: Report) -> tuple[int, BessemerError]:
    for number, report in enumerate(attempts, 1):
        begun(kept)
        error = kept.ended([report])
        if error is not None:
            return number, error
    raise AssertionError("the run goes on")


def test_a_death_explains_the_errors_of_those_that_waited_for_the_dead_worker() -> None:
    assert first_cause([lost_peer(0), died(1), raised("ValueError", 2)]).rank == 1
    assert first_cause([lost_peer(0), raised("ValueError", 2)]).rank == 2
    assert first_cause([lost_peer(1), lost_peer(0)]).rank == 0


def test_workers_that_die_together_are_named_together() -> None:
    assert "with it went worker 2, 3" in first_cause([died(3), died(1), died(2)]).details


def test_what_a_worker_says_is_overruled_by_its_death_alone() -> None:
    kept = ledger(max_failures=0)
    begun(kept)
    kept.note(lost_peer(0))
    error = kept.ended([raised("what Ray made of it", 0), died(1)])
    assert error is not None
    assert "a worker is gone\nworker 1 somewhere" in error.found
    kept = ledger(max_failures=0)
    begun(kept)
    kept.note(raised("its own word", 0))
    error = kept.ended([raised("what Ray made of it", 0)])
    assert error is not None
    assert error.found == "its own word\nworker 0 somewhere"


def test_a_worker_that_dies_at_one_step_again_and_again_ends_the_run() -> None:
    number, error = ended_after(ledger(max_failures=99), died(), died(), died(), died())
    assert number == 3
    assert "3 attempts in a row failed after step 7" in error.found
    assert "max_failures_at_step" in error.todo
    number, _ = ended_after(ledger(max_failures=99, max_failures_at_step=2), died(), died())
    assert number == 2


def test_workers_that_die_before_their_first_step_count_as_one_step() -> None:
    number, error = ended_after(ledger(max_failures=99), *[died(step=None)] * 4)
    assert number == 3
    assert "before their first step" in error.found


def test_a_death_at_another_step_begins_a_new_row() -> None:
    kept = ledger(max_failures=99)
    for step in (7, 7, 8, 7, 7, 8, 8):
        begun(kept)
        assert kept.ended([died(step=step)]) is None


def test_the_same_error_of_the_program_twice_is_final_with_its_place_and_of_its_class() -> None:
    error = CheckpointError("wrong program", "the same", "new run")
    report = Report(1, "program", error, 7, "worker 1 somewhere")
    number, final = ended_after(ledger(), report, report)
    assert number == 2
    assert isinstance(final, CheckpointError)
    assert final.found == "wrong program\nworker 1 somewhere"
    assert (final.expected, final.todo) == ("the same", "new run")


def test_workers_that_wait_for_each_other_in_vain_at_one_step_are_an_error_of_the_program() -> None:
    number, error = ended_after(ledger(), lost_peer(), lost_peer())
    assert number == 2
    assert error.found == "gloo: Connection closed by peer"


def test_failures_of_any_kind_end_the_run_when_their_budget_is_used_up() -> None:
    number, error = ended_after(ledger(max_failures=2), died(step=1), raised(step=2), died(step=3))
    assert number == 3
    assert error.found.startswith("training failed after 2 restarts: a worker is gone")
    assert "scaling.max_failures allows more" in error.todo
    number, error = ended_after(ledger(max_failures=0), raised())
    assert (number, error.found) == (1, "ValueError\nworker 0 somewhere")


def test_preemptions_have_a_budget_of_their_own() -> None:
    kept = ledger(max_failures=0)
    for _ in range(50):
        assert begun(kept).wait_s == 0
        assert kept.ended([lost_peer(), died(preempted=True)]) is None
    assert begun(kept).why == "preemption"
    number, error = ended_after(ledger(max_preemptions=2), *[died(preempted=True)] * 5)
    assert number == 3
    assert "scaling.max_preemptions allows more" in error.todo


def test_whatever_ends_an_attempt_after_a_notice_is_a_preemption() -> None:
    kept = ledger(max_failures=0)
    begun(kept)
    kept.notice()
    assert kept.ended([lost_peer()]) is None
    assert kept.ended([died(preempted=True)]) is None  # Ray says so again and again
    assert begun(kept).why == "preemption"
    assert kept.ended([lost_peer()]) is not None  # the next attempt has had no notice


def test_a_preemption_that_ray_ends_without_an_error_is_counted() -> None:
    kept = ledger(max_preemptions=1)
    begun(kept)
    kept.notice()
    assert begun(kept).why == "preemption"
    kept.notice()
    assert isinstance(kept.begin(), TrainingError)


def test_an_attempt_that_follows_no_failure_is_a_resize_and_costs_nothing() -> None:
    kept = ledger(max_failures=0, max_preemptions=0)
    assert [begun(kept).why for _ in range(3)] == ["start", "resize", "resize"]


def test_a_late_word_of_an_attempt_that_was_judged_is_no_second_failure() -> None:
    kept = ledger(max_failures=1)
    begun(kept)
    assert kept.ended([died(1)]) is None
    kept.note(lost_peer(0))
    assert begun(kept) == Beginning(2, "failure")


def test_workers_that_die_before_they_begin_count_each_time() -> None:
    kept = ledger(max_failures=2)
    begun(kept)
    assert kept.ended([died(step=1)]) is None
    assert kept.ended([died(step=None)]) is None
    assert kept.ended([died(step=None)]) is not None


@pytest.mark.parametrize(
    ("num_failures", "expected_s"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (8, 60), (5000, 60)]
)
def test_waits_double_from_the_second_failure_in_a_row(num_failures: int, expected_s: float) -> None:
    assert backoff_s(num_failures, 1.0, 60.0) == expected_s
    assert backoff_s(num_failures, 0.0, 60.0) == 0


def test_a_single_failure_after_progress_is_not_waited_for() -> None:
    kept = ledger(max_failures=99, max_failures_at_step=99)
    waits = []
    for checkpoint in (None, None, None, 10, 10, 20, 30, 30, 30):
        waits.append(begun(kept, checkpoint).wait_s)
        assert kept.ended([died()]) is None
    assert waits == [0, 0, 1, 0, 1, 0, 0, 1, 2]


def test_a_preemption_between_failures_is_not_waited_for() -> None:
    kept = ledger(max_failures=99)
    for report, wait_s in (
        (died(step=1), 0),
        (died(step=2), 0),
        (died(preempted=True), 1),
        (died(step=3), 0),
    ):
        assert begun(kept).wait_s == wait_s
        assert kept.ended([report]) is None
    assert begun(kept).wait_s == 2


def test_where_a_worker_was_is_said_with_the_first_ids_of_its_batch(tmp_path: Any) -> None:
    path = tmp_path / "worker-1.bin"
    file = PositionFile(path, 1, 2, 1)

    def said() -> str:
        position = read_position(path)
        assert position is not None
        return details_of(position)

    file.write(7)
    assert said() == "worker 1, after step 7"
    file.write(7, 2, 1, 0, CanonicalPlan(100, 40, False, False, 0))
    ids = ", ".join(str(number) for number in range(20, 28))
    assert (
        said() == f"worker 1, after step 7, in batch 0 of pass 1 of loader 2, samples {ids}, ... (20 in all)"
    )
    file.write(7, 2, 1, 0, CanonicalPlan(100, 6, False, False, 0))
    assert said().endswith("samples 3, 4, 5")
    file.write(7, 2, 1, 0, None)
    assert said().endswith("whose samples only its sampler knows")
    file.write(7, 2, 1, 1, CanonicalPlan(7, 6, False, False, 0))
    assert said().endswith("of which it has no sample")


def test_deaths_that_nobody_saw_end_a_run_only_if_no_checkpoint_comes_between_them() -> None:
    unseen = Report(1, "died", TrainingError("a worker is gone"), is_unseen=True)
    kept = ledger(max_failures=99, max_failures_at_step=3)
    for checkpoint in (None, 10, 10, 20, 20):
        begun(kept, checkpoint)
        assert kept.ended([unseen]) is None
    begun(kept, 20)
    end = kept.ended([unseen])
    assert end is not None
    assert end.found.startswith("3 attempts in a row failed from step 20 on: a worker is gone")
