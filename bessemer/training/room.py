"""Tells what a run or a search that cannot begin waits for, and who holds it.

Ray keeps who asks for more than is free waiting without a word, for as long as it takes. What it reserves are
placement groups, and an id of one ends with the id of the job that asked for it (Ray's id_specification.md).
The only module that reads Ray's table of jobs (`ray._private.state`, internal);
`tests/integration/test_jobs.py` says when it changes.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ray

# A group is placed within a second where there is room.
_LOOK_EVERY_S = 5.0
_WAITING = ("PENDING", "RESCHEDULING")
_DIGITS_OF_JOB = 8
_SHOWN = ("CPU", "GPU")


@contextlib.contextmanager
def waiting_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Look now and then, in a thread, whether this process's job waits for room, and tell it.

    Args:
        tell: given a sentence each time that it becomes another one.
    """
    done = threading.Event()
    job = ray.get_runtime_context().get_job_id()

    def watch() -> None:
        before, told = False, ""
        while not done.wait(_LOOK_EVERY_S):
            found = ""
            # A head that has gone is noticed elsewhere.
            with contextlib.suppress(Exception):
                found = _look(job)
            # What waits at one look alone is being placed.
            if found and before and found != told:
                told = found
                tell(found)
            before = bool(found)

    threading.Thread(target=watch, name="bessemer-room", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _look(job: str) -> str:
    from ray._private.state import jobs

    return shortage(
        job,
        list(ray.util.placement_group_table().values()),
        ray.available_resources(),
        ray.cluster_resources(),
        jobs,
    )


def shortage(
    job: str,
    groups: Sequence[Mapping[str, Any]],
    free: Mapping[str, float],
    total: Mapping[str, float],
    jobs: Callable[[], Sequence[Mapping[str, Any]]],
) -> str:
    """Return what a job waits for, in a sentence, or nothing if it waits for nothing.

    A job that has something already does not wait: a search begins its next trial when one is over.

    Args:
        job: its id in hexadecimal digits.
        groups: Ray's table of placement groups.
        free: resources of the cluster that nobody holds, by name.
        total: all resources of the cluster, by name.
        jobs: returns Ray's table of jobs, if it is needed.
    """
    mine = [group for group in groups if _job_of(group) == job]
    waiting = [group for group in mine if group["state"] in _WAITING]
    if not waiting or any(group["state"] == "CREATED" for group in mine):
        return ""
    wanted = _sum_of(waiting[0])
    text = "waiting for room: " + " and ".join(
        f"{number:g} {name} wanted, {free.get(name, 0.0):g} of {total.get(name, 0.0):g} free"
        for name, number in wanted.items()
    )
    held: dict[str, Counter[str]] = {}
    for group in groups:
        if group["state"] == "CREATED":
            held.setdefault(_job_of(group), Counter()).update(_sum_of(group))
    holders = [
        f"process {known['DriverPid']} on {known['DriverIPAddress']} holds "
        + " and ".join(f"{number:g} {name}" for name, number in held[known["JobID"]].items())
        for known in (jobs() if held else ())
        if known["JobID"] in held
    ]
    return "; ".join([text, *holders])


def _job_of(group: Mapping[str, Any]) -> str:
    return str(group["placement_group_id"])[-_DIGITS_OF_JOB:]


def _sum_of(group: Mapping[str, Any]) -> Counter[str]:
    """Return what a placement group reserves, by name."""
    counted: Counter[str] = Counter()
    for bundle in group["bundles"].values():
        counted.update({name: number for name, number in bundle.items() if name in _SHOWN and number})
    return counted
