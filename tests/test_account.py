"""Where the time of a run went: the worker's counting and the driver's arithmetic, by clocks of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bessemer.reports import account_lines
from bessemer.training.account import Account, Books, Recovery
from bessemer.training.monitor import Mailbox
from bessemer.training.stopwatch import Stopwatch
from bessemer.utils.events import FailureNoticed, Tally


class Course:
    """A stopwatch with a clock that only moves when it is told to, and all that it told."""

    def __init__(self, attempt: int = 1, reached: int = 0) -> None:
        self.now = 1000.0
        self.told: list[Tally] = []
        self.stopwatch = Stopwatch(self.told.append, attempt, reached, lambda: self.now)
        self.step = 0

    @property
    def last(self) -> Tally:
        return self.told[-1]

    def spend(self, seconds: float) -> None:
        self.now += seconds

    def steps(self, count: int, each_s: float, wait_s: float = 0.0) -> None:
        for _ in range(count):
            if wait_s:
                self.spend(wait_s)
                self.stopwatch.waited(wait_s)
            self.spend(each_s)
            self.step += 1
            self.stopwatch.stepped(self.step)


def close(found: float, expected: float) -> bool:
    return found == pytest.approx(expected, abs=1e-6)


def test_what_comes_before_the_first_step_is_start_and_counts_as_nothing_else() -> None:
    course = Course()
    course.stopwatch.cut()
    course.spend(3)
    course.stopwatch.waited(3)
    with course.stopwatch.checkpoint():
        course.spend(1)
    course.steps(1, each_s=2)
    assert course.last.first_step_at == 1006
    assert (course.last.data_wait_s, course.last.steps_s, course.last.num_checkpoints) == (0, 0, 0)
    assert course.last.num_steps == 1


def test_a_loop_that_takes_steps_is_time_of_steps_and_one_that_does_not_is_something_else() -> None:
    course = Course()
    course.steps(1, each_s=1)
    for _epoch in range(2):
        course.stopwatch.cut()
        course.steps(4, each_s=0.5, wait_s=0.25)
        course.stopwatch.cut()
        course.spend(3)  # an evaluation
        course.stopwatch.cut()
    course.stopwatch.end()
    assert close(course.last.steps_s, 4)
    assert close(course.last.data_wait_s, 2)
    assert course.last.at - (course.last.first_step_at or 0) == 4 + 2 + 6


def test_an_evaluation_in_the_middle_of_a_training_loop_is_no_time_of_steps() -> None:
    course = Course()
    course.stopwatch.cut()
    course.steps(3, each_s=1)
    course.stopwatch.cut()
    course.spend(10)
    course.stopwatch.cut()
    course.steps(2, each_s=1)
    course.stopwatch.cut()
    assert close(course.stopwatch._steps_s_until(course.now), 4)  # the first of the five is the start


def test_a_stall_for_a_checkpoint_is_counted_by_itself_and_told_at_once() -> None:
    course = Course()
    course.steps(2, each_s=1)
    for stall_s in (0.5, 2.0, 0.125):
        with course.stopwatch.checkpoint():
            course.spend(stall_s)
    last = course.last
    assert last.at == course.now
    assert (last.num_checkpoints, last.checkpoint_s, last.longest_checkpoint_s) == (3, 2.625, 2.0)
    assert last.last_checkpoint_s == 0.125
    assert close(last.steps_s, 1)


def test_quick_steps_are_told_of_twice_a_second_and_not_more_often() -> None:
    course = Course()
    course.steps(1, each_s=1)
    before = len(course.told)
    course.steps(1000, each_s=0.001953125)
    assert 3 <= len(course.told) - before <= 4
    assert course.step - course.last.step <= 0.5 / 0.001953125


def test_turns_that_are_steps_without_a_loader_are_time_of_steps() -> None:
    course = Course()
    for _turn in range(5):
        course.stopwatch.cut()
        course.steps(1, each_s=1)
        course.stopwatch.cut()
    course.stopwatch.end()
    assert close(course.last.steps_s, 4)
    assert course.last.num_steps == 5


def test_steps_up_to_the_one_that_was_reached_before_are_computed_again() -> None:
    course = Course(attempt=2, reached=12)
    course.stopwatch.restored(10)
    course.step = 10
    course.steps(5, each_s=0.0625)
    told = [(tally.num_steps, tally.num_again) for tally in course.told]
    assert told == [(0, 0), (0, 0), (3, 2)]  # that something new is done is told at once
    course.stopwatch.end()
    assert (course.last.num_steps, course.last.num_again) == (5, 2)
    assert course.last.first_step_at == 1000.0625
    assert course.last.new_step_at == 1000.1875


def test_an_attempt_learns_how_far_those_before_it_came() -> None:
    mailbox = Mailbox()
    assert mailbox.begin_attempt().reached == 0
    for step in (5, 17, 11):
        mailbox.send(Tally(1, 1.0, 1.0, step=step))
    assert mailbox.begin_attempt().reached == 17


UNDISTURBED = Tally(
    attempt=1,
    at=150.0,
    began_at=108.0,
    first_step_at=110.0,
    new_step_at=110.0,
    step=101,
    num_steps=101,
    steps_s=20.0,
    data_wait_s=8.0,
    num_checkpoints=2,
    checkpoint_s=2.0,
    longest_checkpoint_s=1.5,
    ended=True,
)


def books(*tallies: Tally) -> Books:
    kept = Books(called_at=100.0, asked_at=103.0)
    for tally in tallies:
        kept.take(tally)
    return kept


def parts(account: Account) -> float:
    return (
        account.startup_s
        + account.steps_s
        + account.data_wait_s
        + account.checkpoint_s
        + account.other_s
        + account.recovery_s
        + account.end_s
    )


def test_every_second_of_an_undisturbed_command_is_somewhere() -> None:
    account = books(UNDISTURBED).account(155.0)
    assert account.total_s == parts(account) == 55
    assert (account.startup_s, account.end_s) == (10, 5)
    assert (account.cluster_s, account.workers_s, account.program_s) == (3, 5, 2)
    assert account.step_s == 0.2
    assert account.data_wait_fraction == 0.2
    assert account.other_s == 10
    assert account.recoveries == ()


KILLED = replace(UNDISTURBED, at=130.0, steps_s=10.0, step=51, num_steps=51, ended=False)
AFTER = Tally(
    attempt=2,
    at=180.0,
    began_at=139.0,
    restored_at=141.0,
    first_step_at=144.0,
    new_step_at=145.5,
    step=101,
    num_steps=61,
    num_again=11,
    steps_s=30.0,
    ended=True,
)


def disturbed() -> Books:
    kept = books(KILLED)
    kept.take(FailureNoticed(131.0))
    kept.take(FailureNoticed(131.5))
    kept.take(replace(AFTER, at=150.0, steps_s=3.0))
    kept.take(AFTER)
    return kept


def test_a_recovery_is_told_from_the_last_sign_of_life_to_the_first_new_step() -> None:
    account = disturbed().account(181.0)
    (recovery,) = account.recoveries
    assert recovery == Recovery(
        noticed_s=1.0,
        restarted_s=8.0,
        restored_s=2.0,
        first_step_s=3.0,
        again_s=1.5,
        num_again=11,
        is_exact=False,
    )
    assert account.recovery_s == recovery.until_step_s == 14
    assert recovery.until_new_step_s == 15.5
    assert account.num_steps_again == 11
    assert account.num_steps == 112
    assert account.total_s == parts(account) == 81


def test_a_restart_that_nobody_noticed_and_that_had_no_checkpoint_has_no_such_parts() -> None:
    account = books(KILLED, replace(AFTER, restored_at=None)).account(181.0)
    (recovery,) = account.recoveries
    assert recovery.noticed_s is None
    assert recovery.restored_s is None
    assert recovery.until_step_s == account.recovery_s == 14
    assert "usage/recovery/noticed_s" not in account.metrics()
    assert account.metrics()["usage/recovery/restarted_s"] == 9
    assert account.total_s == parts(account)


def test_an_attempt_that_never_came_to_a_step_is_part_of_the_recovery_from_the_one_before() -> None:
    lost = Tally(attempt=2, at=137.0, began_at=136.0)
    account = books(KILLED, lost, replace(AFTER, attempt=3)).account(181.0)
    assert [recovery.first_step_s for recovery in account.recoveries] == [None, 3]
    assert account.num_steps_again == 11
    assert account.recovery_s == 14  # all that the lost attempt was is in it
    assert account.total_s == parts(account) == 81


def test_a_command_that_failed_before_its_first_step_has_a_start_and_an_end() -> None:
    early = books(Tally(attempt=1, at=109.0, began_at=108.0)).account(112.0)
    assert (early.startup_s, early.end_s, early.program_s, early.step_s) == (9, 3, None, None)
    nothing = Books(called_at=100.0).account(104.0)
    assert (nothing.total_s, nothing.startup_s, nothing.cluster_s) == (4, 4, None)
    assert nothing.metrics()["usage/num_steps"] == 0


def test_the_account_of_an_undisturbed_run_fits_into_eighty_columns() -> None:
    lines = account_lines(books(UNDISTURBED).account(155.0))
    assert [f"{name:<12}{text}" for name, text in lines] == [
        "time        start-up           10 s  18%  cluster 3 s, workers 5 s, program 2 s",
        "            steps              20 s  36%  101, 0.2 s each",
        "            data wait           8 s  15%  20% of training",
        "            checkpoints         2 s   4%  2, the longest 1.5 s",
        "            other              10 s  18%  evaluation, all between loops",
        "            end                 5 s   9%  last writes, workers end",
    ]


def test_the_account_of_a_command_that_went_on_with_a_run_says_from_where() -> None:
    def steps_line(kept: Books) -> str:
        return next(text for _, text in account_lines(kept.account(181.0)) if text.startswith("steps"))

    resumed = replace(UNDISTURBED, step=4101, restored_at=109.0)
    assert steps_line(books(resumed)).endswith("  101 from step 4,000 on, 0.2 s each")
    assert "from step" not in steps_line(books(UNDISTURBED))
    assert "from step" not in steps_line(disturbed())


def test_the_account_of_a_disturbed_run_says_what_a_restart_cost() -> None:
    lines = [text for _, text in account_lines(disturbed().account(181.0))]
    assert lines[5:9] == [
        "recovery           14 s  17%  1 restart, 16 s to a new step,",
        "                              noticed 1 s, restarted 8 s,",
        "                              loaded 2 s, first step 3 s,",
        "                              at least 11 steps again, in 1.5 s",
    ]
    assert all(len(text) + 12 <= 80 for text in lines)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.05, 1.0, 29.9, 3600.0])
def test_the_account_keeps_to_eighty_columns_however_long_things_take(scale: float) -> None:
    long = replace(
        disturbed().account(181.0),
        total_s=90 * scale,
        startup_s=59.6 * scale,
        cluster_s=19.87 * scale,
        workers_s=19.87 * scale,
        program_s=19.87 * scale,
        step_s=scale,
        steps_s=90 * scale,
        data_wait_s=59.6 * scale,
        checkpoint_s=59.6 * scale,
        other_s=0.0,
        recovery_s=59.6 * scale,
        end_s=0.0,
        num_steps=123_456_789,
        num_steps_again=1_234_567,
        recoveries=3 * (Recovery(scale, 59.6 * scale, 59.6 * scale, scale, 59.6 * scale, 9, False),),
    )
    lines = account_lines(long)
    assert [text for name, text in lines if len(f"{name:<12}{text}") > 80] == []
    assert not any("  " in text[30:] or text.endswith(" ") for _, text in lines)
