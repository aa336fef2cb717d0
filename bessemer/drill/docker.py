"""Commands of bounded time, and Docker's own, for what a drill does to containers."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from bessemer.drill.training import DrillError

_WITHIN_S = 120.0


def bounded(
    command: Sequence[str], what: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its status is.

    Args:
        command: its words.
        what: the command, as an error names it.
        environment: variables; None: those of this process.

    Raises:
        DrillError: it takes too long.
    """
    try:
        return subprocess.run(
            command,
            env=dict(environment) if environment is not None else None,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DrillError(f"{what} still ran after {_WITHIN_S:.0f} s") from None


def docker(*arguments: str, check: bool = True) -> str:
    """Run a command of Docker and return what it printed.

    Raises:
        DrillError: it fails, unless that does not matter.
    """
    done = bounded(["docker", *arguments], f"`docker {arguments[0]}`")
    if check and done.returncode != 0:
        raise DrillError(f"`docker {' '.join(arguments[:2])}` failed: {done.stderr.strip()[:300]}")
    return done.stdout
