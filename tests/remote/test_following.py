"""A job is followed as long as its cluster knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientError

from bessemer.errors import ClusterError
from bessemer.remote import jobs as following
from bessemer.remote.jobs import Jobs
from bessemer.remote.named import Target

ENDED = SimpleNamespace(
    submission_id="mine",
    status="SUCCEEDED",
    start_time=1,
    end_time=2,
    driver_exit_code=0,
    message="",
    metadata={},
)


class Client:
    """A job client whose cluster breaks the connection, and then lists some jobs."""

    def __init__(self, *listed: Any) -> None:
        self._listed = listed
        self._tries = 0

    async def tail_job_logs(self, _name: str) -> AsyncIterator[str]:
        self._tries += 1
        yield "first\n"
        if self._tries == 1:
            raise ClientError("404, message='Invalid response status'")
        yield "second\n"

    def list_jobs(self) -> list[Any]:
        return list(self._listed)

    def get_job_logs(self, _name: str) -> str:
        return "first\nsecond\n"


def followed(client: Client, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return what a job printed, and its state."""
    monkeypatch.setattr(following, "_RECONNECT_S", 0.0)
    jobs = object.__new__(Jobs)
    jobs.__dict__.update(
        _target=Target("farm", "http://farm:8265", ""), _patience_s=5.0, _printed={}, _client=client
    )
    printed: list[str] = []
    job = jobs.follow("mine", printed.append)
    return "".join(printed), job.status


def test_a_connection_that_breaks_is_taken_up_where_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    assert followed(Client(ENDED), monkeypatch) == ("first\nsecond\n", "SUCCEEDED")


def test_a_head_that_was_started_again_and_has_no_such_job_is_said_with_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ClusterError, match="no longer knows the job mine") as caught:
        followed(Client(), monkeypatch)
    assert "bessemer submit train --resume RUN" in caught.value.todo
