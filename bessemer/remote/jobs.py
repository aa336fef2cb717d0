"""Jobs on a cluster: the only place that uses Ray's job client (ray.job_submission).

Every failure becomes one message; a connection that breaks while a job's output is followed is taken up
again where it broke.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.errors import ClusterError, UserError, nearest
from bessemer.remote.dashboard import headers_of, refused
from bessemer.remote.named import Target

# What Ray calls the ends of a job.
_SUCCEEDED, _FAILED, _STOPPED = "SUCCEEDED", "FAILED", "STOPPED"
ENDED = frozenset({_SUCCEEDED, _FAILED, _STOPPED})
STOPPED_STATUS = 130
# A job that is stopped ends after a checkpoint at its next step; Ray gives it 3 seconds by default.
STOP_WAIT_S = 120
_GOES_ON = "a run whose head died goes on with `bessemer submit train --resume RUN`"
_POLL_S = 0.5
_RECONNECT_S = 1.0
# Ray's own variables outrank the address that its client is given.
_OUTRANKING = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")


@dataclass(frozen=True)
class Job:
    """A job, as the cluster lists it.

    Attributes:
        name: its submission id.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        began_at: when it was submitted (seconds since 1970), or None.
        ended_at: when it ended (seconds since 1970), or None.
        exit_status: of its driver, or None.
        message: what Ray says of its state.
        metadata: what it was submitted with, by name.
    """

    name: str
    status: str
    began_at: float | None
    ended_at: float | None
    exit_status: int | None
    message: str
    metadata: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.status in ENDED

    @property
    def outcome(self) -> int:
        """The exit status of a command that waited for it."""
        if self.status == _SUCCEEDED:
            return 0
        if self.status == _STOPPED:
            return self.exit_status if self.exit_status and self.exit_status > 0 else STOPPED_STATUS
        return self.exit_status or 1


class Jobs:
    """The jobs of a cluster.

    Args:
        target: the cluster.
        patience_s: how long it may be away while a job is followed (seconds).

    Raises:
        ClusterError: it does not answer.
    """

    def __init__(self, target: Target, patience_s: float) -> None:
        self._target, self._patience_s = target, patience_s
        # Characters of a job's output that were handed on.
        self._printed: dict[str, int] = {}
        with self._named(), _without(_OUTRANKING):
            from ray.job_submission import JobSubmissionClient

            # These set their own level when they are loaded.
            for noisy in ("job.sdk", "dashboard_sdk"):
                logging.getLogger(f"ray.dashboard.modules.{noisy}").setLevel(logging.WARNING)
            logging.getLogger("ray._private.runtime_env").setLevel(logging.WARNING)
            self._client = JobSubmissionClient(target.address, headers=headers_of(target))

    def submit(
        self,
        name: str,
        command: str,
        folder: Path,
        metadata: Mapping[str, str],
        variables: Mapping[str, str],
        packages: list[str] | None = None,
    ) -> None:
        """Send a folder and have a command run in it.

        Args:
            name: submission id, not in use.
            command: line for a shell.
            folder: what is sent.
            metadata: shown beside the job.
            variables: of its environment.
            packages: requirements that are installed for it, if the image does not have them.

        Raises:
            ClusterError: the cluster does not take it.
        """
        environment: dict[str, Any] = {
            "working_dir": str(folder),
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S), **variables},
        }
        if packages is not None:
            environment["pip"] = {"packages": packages, "pip_check": False}
        with self._named():
            self._client.submit_job(
                entrypoint=command,
                submission_id=name,
                runtime_env=environment,
                metadata=dict(metadata),
            )

    def all(self) -> list[Job]:
        """Return the jobs that were submitted, newest first."""
        with self._named():
            found = [_job(details) for details in self._client.list_jobs() if details.submission_id]
        return sorted(found, key=lambda job: job.began_at or 0, reverse=True)

    def get(self, name: str) -> Job:
        """Return a job.

        Raises:
            UserError: there is none of that name.
        """
        known = {job.name: job for job in self.all()}
        if not name and known:
            return next(iter(known.values()))
        if name not in known:
            raise UserError(
                f"the cluster {self._target.name} has no job {name!r}" if name else "there are no jobs yet",
                expected=nearest(name, known) or "a name that `bessemer jobs list` shows",
            )
        return known[name]

    def logs(self, name: str) -> str:
        """Return what a job has printed so far."""
        with self._named():
            return str(self._client.get_job_logs(name))

    def stop(self, name: str) -> bool:
        """Ask a job to end after a checkpoint; return whether it was running."""
        with self._named():
            return bool(self._client.stop_job(name))

    def follow(self, name: str, write: Callable[[str], None]) -> Job:
        """Hand on what a job prints until it has ended; called again, it goes on where it was.

        Raises:
            ClusterError: the cluster has been away for longer than it may, or no longer knows the job.
        """
        from aiohttp import ClientError

        away_since = 0.0
        while True:
            try:
                asyncio.run(self._tail(name, write))
                job = self.get(name)
                away_since = 0.0
                if job.has_ended:
                    # What was printed last may come after the state.
                    self._hand_on(name, self.logs(name), 0, write)
                    return job
                time.sleep(_POLL_S)
            except (TimeoutError, ClusterError, OSError, RuntimeError, ClientError) as error:
                self._check_known(name)
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > self._patience_s:
                    raise ClusterError(
                        f"the cluster {self._target.name} has not answered for {self._patience_s:.0f} s: "
                        f"{_first_line(error)}",
                        expected="a cluster that is there until the job has ended",
                        todo=f"when it is back, `bessemer jobs list`; {_GOES_ON}",
                    ) from error
                time.sleep(_RECONNECT_S)

    def _check_known(self, name: str) -> None:
        """See that a cluster that answers knows a job; one that does not answer may know it."""
        try:
            known = self.all()
        except ClusterError:
            return
        if name not in [job.name for job in known]:
            raise ClusterError(
                f"the cluster {self._target.name} no longer knows the job {name}: its head was started again",
                expected="a head that is there until the job has ended",
                todo=_GOES_ON,
            )

    async def _tail(self, name: str, write: Callable[[str], None]) -> None:
        """Hand on what comes until the connection ends; it begins with what was printed first."""
        seen = 0
        lines: AsyncIterator[str] = self._client.tail_job_logs(name)
        async for text in lines:
            self._hand_on(name, text, seen, write)
            seen += len(text)

    def _hand_on(self, name: str, text: str, begins_at: int, write: Callable[[str], None]) -> None:
        """Hand on what is new of a piece of output that begins after so many characters."""
        new = text[max(0, self._printed.get(name, 0) - begins_at) :]
        if new:
            write(new)
            self._printed[name] = begins_at + len(text)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            text = str(error)
            if "status code 401" in text or "status code 403" in text or "Unauthenticated" in text:
                raise refused(self._target) from error
            raise ClusterError(
                f"the cluster {self._target.name} at {self._target.address} does not do what is asked: "
                f"{_first_line(error)}",
                expected="a Ray dashboard that answers",
                todo="see whether the cluster is up: `bessemer jobs list`",
            ) from error


def _job(details: Any) -> Job:
    def seconds(milliseconds: int | None) -> float | None:
        return milliseconds / 1000 if milliseconds else None

    return Job(
        name=details.submission_id,
        status=str(getattr(details.status, "value", details.status)),
        began_at=seconds(details.start_time),
        ended_at=seconds(details.end_time),
        exit_status=details.driver_exit_code,
        message=details.message or "",
        metadata=details.metadata or {},
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
