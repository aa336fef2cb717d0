"""The mailbox between workers and driver: events in order, attempts counted, hopeless errors final."""

from __future__ import annotations

import asyncio
import pickle
import time

from bessemer.errors import TrainingError, UserError
from bessemer.training.attempts import Limits, Report
from bessemer.training.monitor import Attempt, Mailbox, News
from bessemer.utils.events import Note


def failure(text: str = "ZeroDivisionError") -> TrainingError:
    return TrainingError(text, "a program that runs to its end")


def test_events_are_read_once_and_in_order() -> None:
    mailbox = Mailbox()
    for number in range(3):
        mailbox.send(Note(str(number)))
    assert [event.text for event in mailbox.read().events if isinstance(event, Note)] == ["0", "1", "2"]
    assert mailbox.read() == News()


def test_attempts_are_counted() -> None:
    mailbox = Mailbox()
    begun = [mailbox.begin_attempt() for _ in range(3)]
    # Nobody failed between them, so Ray changed the number of workers.
    assert begun == [Attempt(1, None), Attempt(2, None, why="resize"), Attempt(3, None, why="resize")]
    assert mailbox.read().num_attempts == 3


def test_a_driver_that_does_not_read_costs_bounded_memory() -> None:
    mailbox = Mailbox()
    for number in range(20_000):
        mailbox.send(Note(str(number)))
    events = mailbox.read().events
    assert len(events) == 10_000
    assert events[-1] == Note("19999")


def test_the_same_failure_twice_at_one_step_is_final() -> None:
    mailbox = Mailbox()
    mailbox.begin_attempt()
    mailbox.failed_at(7, failure())
    assert mailbox.begin_attempt().give_up is None
    mailbox.failed_at(7, failure())
    given_up = mailbox.begin_attempt().give_up
    assert given_up is not None
    assert given_up.found == "ZeroDivisionError"
    assert mailbox.read().error is given_up


def test_the_same_failure_at_another_step_may_be_mended_by_a_restart() -> None:
    mailbox = Mailbox()
    for step in (7, 8, 9):
        mailbox.begin_attempt()
        mailbox.failed_at(step, failure())
    assert mailbox.begin_attempt().give_up is None


def test_another_failure_at_the_same_step_may_be_mended_by_a_restart() -> None:
    mailbox = Mailbox()
    for text in ("a", "b", "c"):
        mailbox.begin_attempt()
        mailbox.failed_at(7, failure(text))
    assert mailbox.begin_attempt().give_up is None


def test_a_failure_of_all_workers_at_once_is_one_failure() -> None:
    mailbox = Mailbox()
    mailbox.begin_attempt()
    for _ in range(3):  # three workers of one attempt meet the same error at the same step
        mailbox.failed_at(7, failure())
    assert mailbox.begin_attempt().give_up is None
    mailbox.failed_at(7, failure())
    assert mailbox.begin_attempt().give_up is not None


def test_a_mistake_of_the_user_is_final_at_once_and_the_first_one_counts() -> None:
    mailbox = Mailbox()
    mailbox.begin_attempt()
    mailbox.fail(UserError("first"))
    mailbox.fail(UserError("second"))
    given_up = mailbox.begin_attempt().give_up
    assert given_up is not None
    assert given_up.found == "first"


def test_a_final_error_is_still_told_after_it_was_read() -> None:
    mailbox = Mailbox()
    mailbox.fail(UserError("wrong"))
    mailbox.read()
    assert mailbox.read().error is not None


def test_what_a_worker_is_told_can_be_sent_to_it() -> None:
    attempt = Attempt(2, TrainingError("found", "expected", "todo"))
    copy = pickle.loads(pickle.dumps(attempt))
    assert copy.number == 2
    assert str(copy.give_up) == str(attempt.give_up)


def test_news_whose_answer_was_lost_come_again_and_others_once() -> None:
    async def read() -> list[list[str]]:
        mailbox, read, received = Mailbox(), [], -1
        for number, arrives in enumerate((True, False, True, True)):
            mailbox.send(Note(str(number)))
            news = await mailbox.next_news(1, received)
            read.append([event.text for event in news.events if isinstance(event, Note)])
            if arrives:
                received = news.number
        return read

    assert asyncio.run(read()) == [["0"], ["1"], ["1"], ["2", "3"]]


def test_a_call_that_is_repeated_counts_once() -> None:
    mailbox = Mailbox()
    first = mailbox.begin_attempt(None, "one")
    assert mailbox.begin_attempt(None, "one") == first
    assert mailbox.begin_attempt(None, "two").number == 2
    reports = [Report(0, "died", failure())]
    limited = Mailbox(Limits(max_failures=1))
    limited.begin_attempt(None, "one")
    for _ in range(5):
        assert limited.ended(reports, "a") is None


def test_nobody_waits_for_news_when_there_are_some() -> None:
    mailbox = Mailbox()
    mailbox.send(Note("now"))
    assert asyncio.run(mailbox.next_news(100)).events == [Note("now")]
    assert asyncio.run(mailbox.next_news(0.01, 0)).events == []


def test_a_call_for_news_that_runs_beside_its_repetition_loses_none() -> None:
    async def both() -> tuple[News, News, News]:
        mailbox = Mailbox()
        first = asyncio.create_task(mailbox.next_news(5, -1))
        again = asyncio.create_task(mailbox.next_news(5, -1))
        await asyncio.sleep(0)
        mailbox.send(Note("once"))
        told, repeated = await first, await again
        return told, repeated, await mailbox.next_news(0.01, told.number)

    told, repeated, later = asyncio.run(both())
    assert told.events == repeated.events == [Note("once")]
    assert later.events == []


def test_who_waits_for_a_wish_to_stop_hears_of_it_at_once_and_others_after_a_while() -> None:
    async def asked() -> tuple[bool, bool, float]:
        mailbox = Mailbox()
        before = await mailbox.stop_wished(0.01)
        waiting = asyncio.create_task(mailbox.stop_wished(60.0))
        other = asyncio.create_task(mailbox.written("never", 0.05))
        await asyncio.sleep(0.01)
        begun = time.monotonic()
        mailbox.wish_stop()
        after = await waiting
        took_s = time.monotonic() - begun
        assert (await other) == (False, None)
        return before, after, took_s

    before, after, took_s = asyncio.run(asked())
    assert (before, after) == (False, True)
    assert took_s < 5
