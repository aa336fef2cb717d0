"""One process at a time: a lock that dies with its holder and leaves no file behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

_LOOK_EVERY_S = 0.1


@contextlib.contextmanager
def exclusive(
    file: Path, sleep: Callable[[float], None], on_wait: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold a lock, over threads and processes.

    Args:
        file: the lock; it is made, and removed at the end.
        sleep: waits for some seconds; what it raises ends the waiting.
        on_wait: called once if somebody else holds the lock.

    Raises:
        OSError: the lock cannot be made in its folder.
    """
    waits = False
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who held it before has removed it: a lock that nobody else can see is none.
            if file.stat().st_ino == os.fstat(handle).st_ino:
                break
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if not waits:
            waits = True
            on_wait()
        sleep(_LOOK_EVERY_S)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)
