"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


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
