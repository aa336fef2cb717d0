"""How somebody outside asks a run to end after a checkpoint at its next step."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class StopWish:
    """A wish that may be made before the run can hear it; any thread may make it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tell: Callable[[], None] | None = None
        self.is_made = False

    def make(self) -> None:
        """Ask the run to end."""
        with self._lock:
            self.is_made = True
            if self._tell is not None:
                self._tell()

    @contextlib.contextmanager
    def heard_by(self, tell: Callable[[], None]) -> Iterator[None]:
        """Pass the wish on to a run that goes on as long as the block."""
        with self._lock:
            self._tell = tell
            if self.is_made:
                tell()
        try:
            yield
        finally:
            with self._lock:
                self._tell = None
