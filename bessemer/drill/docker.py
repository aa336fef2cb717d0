"""Docker's own command, for what a drill does to containers."""

from __future__ import annotations

import subprocess

from bessemer.drill.training import DrillError

_WITHIN_S = 120.0


def docker(*arguments: str, check: bool = True) -> str:
    """Run a command of Docker and return what it printed.

    Raises:
        DrillError: it fails, unless that does not matter.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DrillError(f"`docker {arguments[0]}` still ran after {_WITHIN_S:.0f} s") from None
    if check and done.returncode != 0:
        raise DrillError(f"`docker {' '.join(arguments[:2])}` failed: {done.stderr.strip()[:300]}")
    return done.stdout
