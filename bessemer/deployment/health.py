"""Is what runs in this container alive? Run as a module, by the health check of the image.

Without an argument it asks the Ray node of the container; with a URL, that. It loads nothing of Ray, since it
is run every few seconds.
"""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

# Where the agent of a node answers, on a head as on a worker, without a token
# (ray/dashboard/modules/healthz/healthz_agent.py).
NODE_URL = "http://127.0.0.1:52365/api/local_raylet_healthz"
_TIMEOUT_S = 4.0


def answers(url: str) -> bool:
    """Say whether something answers a request for a URL with success."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # nosec B310  # the image names it
            return 200 <= int(response.status) < 300
    except OSError:
        return False


def has_node() -> bool:
    """Say whether `ray start` was run in this container."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.rpartition(b"/")[2] == b"ray" for word in words[:2]) and b"start" in words:
            return True
    return False


def main(arguments: list[str]) -> int:
    """Return the exit status of the health check: 0 for alive, 1 for not."""
    if arguments:
        return 0 if answers(arguments[0]) else 1
    return 0 if not has_node() or answers(NODE_URL) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
