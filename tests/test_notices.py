"""Notices that a worker will not live long, and the checkpoint that they ask for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from bessemer.config.settings import Checkpoint
from bessemer.training.notices import Notices, sigterm_noted
from bessemer.training.schedule import Schedule
from bessemer.utils.collectives import Group


def test_a_node_that_goes_is_told_once_and_another_one_again() -> None:
    going: set[str] = set()
    told: list[str] = []
    notices = Notices(lambda: frozenset(going), told.append)
    assert notices() == 0
    going.add("aaaa")
    assert [notices(), notices()] == [1, 1]
    going.add("bbbb")
    assert notices() == 2
    assert [text.split()[1] for text in told] == ["aaaa", "bbbb"]


def test_a_notice_to_any_worker_is_one_checkpoint_of_all() -> None:
    count = [0]
    noticed = Schedule(Checkpoint(every_s=0), Group(1, 2), notices=lambda: count[0])
    other = Schedule(Checkpoint(every_s=0), Group(0, 2))
    assert noticed.wishes() == [0, 0]
    count[0] = 1
    for step in (5, 6):
        wishes = noticed.wishes()
        for each in (noticed, other):
            each.heard(wishes)
            assert each.is_due(step) == (step == 5)
            if each.is_due(step):
                each.taken(step)


def test_sigterm_is_noted_while_the_main_thread_is_busy_and_the_process_lives() -> None:
    code = """
import os, signal, sys, threading, time
from bessemer.training.notices import Notices, sigterm_noted
told, came = [], threading.Event()
notices = Notices(frozenset, told.append)
def note():
    notices.sigterm()
    came.set()
def work():
    with sigterm_noted(note):
        os.kill(os.getpid(), signal.SIGTERM)
        assert came.wait(30)
        time.sleep(0.5)
        assert notices() == 1, told
        came.clear()
        os.kill(os.getpid(), signal.SIGTERM)
        assert came.wait(30)
        time.sleep(0.5)
        assert notices() == 2, told
    print("lived", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
thread = threading.Thread(target=work)
thread.start()
sum(range(10**9))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "lived\n", done.stderr
    assert done.returncode == -signal.SIGTERM


def test_a_handler_that_was_there_is_back_afterwards() -> None:
    came = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        with sigterm_noted(lambda: None):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert came.wait(10)
    finally:
        signal.signal(signal.SIGTERM, before)
