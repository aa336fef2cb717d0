"""What a run that cannot begin waits for is said in one sentence, with who holds it."""

from __future__ import annotations

from typing import Any

from bessemer.training.room import shortage

MINE, OTHER = "02000000", "01000000"
JOBS = [
    {"JobID": OTHER, "DriverPid": 71, "DriverIPAddress": "10.0.0.7"},
    {"JobID": MINE, "DriverPid": 72, "DriverIPAddress": "10.0.0.7"},
]


def group(job: str, state: str, *bundles: dict[str, float]) -> dict[str, Any]:
    return {
        "placement_group_id": f"5283267 {job}".replace(" ", "0" * 17),
        "state": state,
        "bundles": dict(enumerate(bundles)),
    }


def said(*groups: dict[str, Any], free: dict[str, float] | None = None) -> str:
    return shortage(MINE, groups, free or {}, {"CPU": 4.0, "GPU": 2.0, "memory": 7.0}, lambda: JOBS)


def test_a_job_that_waits_is_told_what_for_and_which_process_has_it() -> None:
    found = said(
        group(OTHER, "CREATED", {"CPU": 2.0, "GPU": 1.0}, {"CPU": 1.0}),
        group(OTHER, "REMOVED", {"CPU": 4.0}),
        group(MINE, "PENDING", {"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}),
        free={"CPU": 1.0, "GPU": 1.0},
    )
    assert found == (
        "waiting for room: 2 CPU wanted, 1 of 4 free and 2 GPU wanted, 1 of 2 free; "
        "process 71 on 10.0.0.7 holds 3 CPU and 1 GPU"
    )


def test_a_job_whose_node_died_waits_too_and_nobody_holds_anything() -> None:
    assert said(group(MINE, "RESCHEDULING", {"CPU": 4.0}), free={"CPU": 2.0}) == (
        "waiting for room: 4 CPU wanted, 2 of 4 free"
    )


def test_a_job_that_has_something_or_wants_nothing_does_not_wait() -> None:
    waits = group(MINE, "PENDING", {"CPU": 1.0})
    assert said(waits, group(MINE, "CREATED", {"CPU": 1.0})) == ""
    assert said(group(OTHER, "PENDING", {"CPU": 1.0})) == ""
    assert said() == ""
