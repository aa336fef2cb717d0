"""One driver of a run at a time, where there is no file to lock: a lease on object storage.

Leases of a run are numbered objects in its folder `run.lock`; who holds the highest drives the run. The
next one is created under the condition that nobody else has created it, so two drivers cannot both. A
lease is renewed as long as its driver lives; one that was not renewed for its time is followed by the
next. Who lost its lease, because it was asleep for so long, sees a higher one and may write no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bessemer.errors import BessemerError, CheckpointError, StorageError, TrainingError
from bessemer.training.folders import LOCK_FILE
from bessemer.training.objects import Entry, Objects

LEASE_S = 30.0
_RENEW_EVERY_S = 8.0
_WATCH_EVERY_S = 1.0
# A storage that does not answer when a driver ends is waited for no longer.
_RELEASE_WITHIN_S = 5.0


@dataclass(frozen=True)
class Claim:
    """Which lease somebody acts under; travels to the workers.

    Attributes:
        number: of the lease, from 1.
        token: tells it from any other.
    """

    number: int
    token: str


def check_held(objects: Objects, claim: Claim) -> None:
    """See that a claim is still the newest.

    Raises:
        CheckpointError: another driver has taken the run over.
        StorageError: the storage does not say.
    """
    highest = max(_numbered(objects.list(LOCK_FILE)), default=0)
    if highest != claim.number:
        raise CheckpointError(
            f"another driver has taken over the run {objects.url}",
            expected=f"lease {claim.number}, and the newest is {highest}",
            todo="leave it to that one; this driver was not heard of for too long",
        )


class Lease:
    """Holds a run until it is closed.

    Args:
        objects: of the run.
        claim: its lease.
        lease_s: after so long without renewal another driver may take the run (seconds).
        renew_every_s: how often it is renewed (seconds).

    Attributes:
        claim: its lease.
        on_lost: called once, with the reason, if another driver took the run.
    """

    def __init__(self, objects: Objects, claim: Claim, lease_s: float, renew_every_s: float) -> None:
        self.claim = claim
        self.on_lost: Callable[[BessemerError], object] = lambda _error: None
        self._objects = objects
        self._lease_s = lease_s
        self._renew_every_s = renew_every_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="bessemer-lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let another driver take the run at once."""
        self._closing.set()
        self._thread.join(_RELEASE_WITHIN_S)

    def _keep(self) -> None:
        number = 0
        while not self._closing.wait(self._renew_every_s):
            number += 1
            try:
                check_held(self._objects, self.claim)
                self._objects.write(_name(self.claim.number), _content(self.claim, self._lease_s, number))
            except CheckpointError as error:
                self.on_lost(TrainingError(error.found, error.expected, error.todo))
                return
            except BessemerError:
                # It answers later. If another has taken the run by then, that is seen then.
                continue
        with contextlib.suppress(BessemerError):
            check_held(self._objects, self.claim)
            self._objects.write(
                _name(self.claim.number), _content(self.claim, self._lease_s, number, released=True)
            )


def take_lease(
    objects: Objects,
    run: str,
    tell: Callable[[str], None] = lambda _text: None,
    lease_s: float = LEASE_S,
    renew_every_s: float = _RENEW_EVERY_S,
) -> Lease:
    """Become the driver of a run; waits until the lease of one that died has run out.

    Args:
        objects: of the run.
        run: its name.
        tell: told how long it waits, and why.
        lease_s: after so long without renewal another driver may take the run (seconds).
        renew_every_s: how often it is renewed (seconds).

    Raises:
        StorageError: another driver trains this run, or the storage cannot be used.
    """
    found = _numbered(objects.list(LOCK_FILE))
    highest = max(found, default=0)
    if highest:
        _wait_until_free(objects, run, highest, found[highest], tell)
    claim = Claim(highest + 1, secrets.token_hex(8))
    content = _content(claim, lease_s, 0)
    objects.create(_name(claim.number), content)
    # What stands there is whose it is: storage that knows no conditions lets everybody write, and a put
    # whose answer was lost is refused when it is tried again.
    if objects.read(_name(claim.number)) != content:
        raise _taken(run, _read(objects, claim.number))
    for number in found:
        objects.remove(_name(number))
    return Lease(objects, claim, lease_s, renew_every_s)


def _wait_until_free(
    objects: Objects, run: str, number: int, entry: Entry, tell: Callable[[str], None]
) -> None:
    first = _read(objects, number)
    if first.get("released"):
        return
    lasts_s = float(first.get("lease_s", LEASE_S))
    left_s = lasts_s - _age_s(objects, entry)
    if left_s > 0:
        tell(
            f"the last driver of {run} ({first.get('owner', 'unknown')}) has not said that it ended: "
            f"its lease runs out in {left_s:.0f} s unless it lives"
        )
    # By the clock of this process: from the time that the lease is seen, it must not change.
    until = time.monotonic() + left_s
    while True:
        now = _read(objects, number)
        if now.get("released"):
            return
        if now != first:
            raise _taken(run, now)
        left_s = until - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(left_s, _WATCH_EVERY_S))


def _age_s(objects: Objects, entry: Entry) -> float:
    """Return for how long a lease has not been renewed, by the storage's own clock (seconds)."""
    probe = f"{LOCK_FILE}/now-{secrets.token_hex(4)}"
    objects.write(probe, b"")
    now = objects.list(LOCK_FILE).get(probe, Entry(0, None)).modified_at
    objects.remove(probe)
    if now is None or entry.modified_at is None:
        return 0.0
    # Storage counts in whole seconds.
    return max(0.0, now - entry.modified_at - 1.0)


def _taken(run: str, holder: dict[str, Any]) -> StorageError:
    return StorageError(
        f"the run {run} is being trained by another process: {holder.get('owner', 'unknown')}",
        expected="one driver of a run at a time",
        todo="wait until it ends, or stop it",
    )


def _read(objects: Objects, number: int) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(objects.read(_name(number)) or b"{}")
    except ValueError:
        return {}
    return values


def _content(claim: Claim, lease_s: float, renewal: int, released: bool = False) -> bytes:
    values = {
        "owner": f"process {os.getpid()} on {socket.gethostname()}",
        "token": claim.token,
        "lease_s": lease_s,
        "renewal": renewal,
        "released": released,
    }
    return json.dumps(values).encode()


def _name(number: int) -> str:
    return f"{LOCK_FILE}/{number:08d}"


def _numbered(entries: dict[str, Entry]) -> dict[int, Entry]:
    names = {name.rpartition("/")[2]: entry for name, entry in entries.items()}
    return {int(name): entry for name, entry in names.items() if name.isdigit()}
