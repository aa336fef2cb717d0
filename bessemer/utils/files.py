"""Files that are written whole or not at all, and by one process at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Write a file in one step: who reads it sees the old one or the new one, never half of one.

    Args:
        target: the file; its folder is made.
        write: writes to the path that it is given, beside the target.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}-{os.getpid()}.part")
    try:
        write(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def locked(stream: IO[Any]) -> bool:
    """Lock an open file for this process, until it is closed; return whether nobody else has it.

    It is tried three times within a quarter of a second: who only looks at it has it for a moment.
    """
    for pause_s in (0.05, 0.2, None):
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if pause_s is not None:
                time.sleep(pause_s)
    return False
