"""A run at a URL has one driver at a time: leases, and what becomes of those of the dead. S3 is moto's."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from at_home import RUN, home_on
from bessemer.errors import BessemerError, CheckpointError, StorageError
from bessemer.training import lease as leases
from bessemer.training.lease import Claim, Lease, take_lease
from bessemer.training.objects import Objects
from buckets import Bucket

# botocore calls what newer Pythons name otherwise; the server's sockets end with the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def lease_of(run: str = "first", lease_s: float = 30.0, renew_every_s: float = 10.0, **more: Any) -> Lease:
    return take_lease(Objects(RUN), run, lease_s=lease_s, renew_every_s=renew_every_s, **more)


def dead(lease: Lease) -> None:
    """End a lease as a SIGKILL of its driver does: nobody says that it ended."""
    lease._objects = Objects("s3://none/x")
    lease.close()


def test_a_second_driver_is_refused_and_told_who_the_first_is(bucket: Bucket) -> None:
    held = lease_of(lease_s=3.0, renew_every_s=0.2)
    with pytest.raises(StorageError, match=f"being trained by another process: process {os.getpid()} on"):
        lease_of(lease_s=3.0)
    held.close()


def test_a_driver_that_ended_is_followed_at_once(bucket: Bucket) -> None:
    said: list[str] = []
    for number in (1, 2, 3):
        lease = lease_of(tell=said.append)
        assert lease.claim.number == number
        lease.close()
    assert said == []
    assert len(bucket.names()) == 1


def test_the_lease_of_a_dead_driver_runs_out_and_it_is_said_when(bucket: Bucket) -> None:
    dead(lease_of(lease_s=2.0))
    said: list[str] = []
    begun = time.monotonic()
    lease = lease_of(tell=said.append)
    assert 0.5 < time.monotonic() - begun < 10
    assert lease.claim.number == 2
    assert "has not said that it ended: its lease runs out in 2 s unless it lives" in said[0]
    lease.close()


def test_a_lease_that_ran_out_long_ago_is_not_waited_for(bucket: Bucket) -> None:
    dead(lease_of(lease_s=0.5))
    time.sleep(2.6)
    said: list[str] = []
    lease_of(tell=said.append).close()
    assert said == []


def test_of_many_who_want_the_lease_of_a_dead_driver_one_gets_it(bucket: Bucket) -> None:
    dead(lease_of(lease_s=1.0))
    got: list[Lease] = []
    refused: list[BessemerError] = []

    def want() -> None:
        try:
            got.append(lease_of())
        except StorageError as error:
            refused.append(error)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(got), len(refused)) == (1, 3)
    got[0].close()


def test_who_slept_over_its_lease_is_told_and_its_workers_checkpoints_count_no_more(
    bucket: Bucket, tmp_path: Path
) -> None:
    asleep = lease_of(lease_s=0.2, renew_every_s=3.0)
    lost: list[BessemerError] = []
    asleep.on_lost = lost.append
    home = home_on(tmp_path, asleep.claim)
    home.send()
    other = lease_of()
    with pytest.raises(CheckpointError, match="another driver has taken over the run"):
        home.send()
    asleep._thread.join(20)
    assert len(lost) == 1
    home_on(tmp_path, other.claim).send()
    other.close()


def test_a_lease_survives_storage_that_is_away_for_a_while(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[BessemerError] = []
    check, failures = leases.check_held, [1, 1]

    def away(objects: Objects, claim: Claim) -> None:
        if failures:
            failures.pop()
            raise StorageError("away")
        check(objects, claim)

    monkeypatch.setattr(leases, "check_held", away)
    lease = lease_of(lease_s=5.0, renew_every_s=0.05)
    lease.on_lost = lost.append
    until = time.monotonic() + 10
    while json.loads(bucket.read("runs/digits/first/run.lock/00000001"))["renewal"] < 4:
        assert time.monotonic() < until
        time.sleep(0.05)
    lease.close()
    assert not lost
    assert json.loads(bucket.read("runs/digits/first/run.lock/00000001"))["released"]
