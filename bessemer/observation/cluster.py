"""What the Ray cluster has, if there is one that answers soon: asked in a process of its own, within a limit.

Ray's clients wait for minutes for a head that hangs, and connecting as a driver would count as a job. No
cluster is started.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_S = 15.0
_ANSWERS_WITHIN_S = 1.0
_PROBE = "bessemer.observation.cluster_probe"


@dataclass(frozen=True)
class ClusterView:
    """What there is, or why nothing is known.

    Attributes:
        address: of the head, or "" for none.
        nodes: live nodes (count).
        total: of each resource that is there.
        free: of that, what nobody has reserved.
        jobs: that were submitted, the newest first: id, status, command; None if the head does not say.
        note: why something is not known; "" if all is.
    """

    address: str = ""
    nodes: int | None = None
    total: Mapping[str, float] | None = None
    free: Mapping[str, float] | None = None
    jobs: list[dict[str, Any]] | None = None
    note: str = ""


def cluster_address(configured: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the address of the cluster that training would use, or "" and why there is none to look at."""
    address = configured or environment.get("RAY_ADDRESS", "")
    if address == "local":
        return "", "none is named: each run starts one of its own"
    if "://" in address:
        return "", f"{address} is not the address of a head (host:port), and is not looked at"
    if address in ("", "auto"):
        # What `ray start --head` leaves on its machine.
        folder = Path(environment.get("RAY_TMPDIR", "/tmp")) / "ray"  # nosec B108  # where Ray writes it
        try:
            address = (folder / "ray_current_cluster").read_text(encoding="utf-8").strip()
        except OSError:
            return "", "none is named, and no head runs on this machine"
    return address, ""


class ClusterLook:
    """Asks a cluster while others work; `seen` waits for the answer, at most as long as is left of the limit.

    Args:
        configured: address by the settings, or "".
        limit_s: longest time in all (seconds).
    """

    def __init__(self, configured: str = "", limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._process: subprocess.Popen[str] | None = None
        self._address, self._note = cluster_address(configured, os.environ)
        if self._address and not _answers(self._address):
            self._address, self._note = "", f"nothing answers at {self._address}"
        if self._address:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _PROBE, self._address],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

    def seen(self) -> ClusterView:
        """Return what the cluster said."""
        if self._process is None:
            return ClusterView(note=self._note)
        text = ""
        try:
            text, _ = self._process.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            text, _ = self._process.communicate()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        values: dict[str, Any] = {}
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                values |= json.loads(line)
        if "nodes" not in values:
            return ClusterView(self._address, note=f"it did not say what it has within {self._limit_s:.0f} s")
        note = "" if values.get("jobs") is not None else "it has no dashboard that tells of jobs"
        return ClusterView(
            self._address, values["nodes"], values["total"], values["free"], values.get("jobs"), note
        )


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host or "127.0.0.1", int(port)), timeout=_ANSWERS_WITHIN_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False
