"""Which Ray a cluster must run: that of a lock, or the one that is installed; Ray itself is not loaded."""

from __future__ import annotations

import importlib.metadata
import re

from bessemer.errors import DeploymentError


def ray_version(lock: str = "") -> str:
    """Return the version of Ray, such as `2.60.0`.

    Args:
        lock: text of a `requirements.lock`; empty, or without Ray: the installed version counts.

    Raises:
        DeploymentError: neither says it.

    >>> ray_version("numpy==2.1.0\\nray==2.60.0  # via bessemer\\n")
    '2.60.0'
    """
    pinned = re.search(r"^ray(?:\[[^\]]*\])?==([0-9][0-9.]*)", lock, flags=re.MULTILINE)
    if pinned:
        return pinned[1]
    try:
        return importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        raise DeploymentError(
            "no version of Ray: requirements.lock pins none, and none is installed",
            expected="a line such as ray==2.60.0",
            todo="pip install -r requirements.lock",
        ) from None
