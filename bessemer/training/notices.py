"""Notices that this worker will not live long: its node is drained, or it was sent SIGTERM.

Either makes all workers take a checkpoint at their next step; then they go on until they are ended.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator

# The handler writes its text in pieces; what comes within this time is one signal.
_SETTLED_S = 0.2


class Notices:
    """Counts the notices that came to this worker.

    Args:
        nodes_to_go: returns the ids of nodes with workers of this run that are about to be taken away.
        told: called once for each notice, with a sentence for the user.
    """

    def __init__(self, nodes_to_go: Callable[[], frozenset[str]], told: Callable[[str], None]) -> None:
        self._nodes_to_go = nodes_to_go
        self._told = told
        self._known: frozenset[str] = frozenset()
        self._num = 0
        self._terms = 0
        self._terms_told = 0

    def __call__(self) -> int:
        """Return how many notices came so far (count)."""
        new = self._nodes_to_go() - self._known
        if new:
            self._known |= new
            self._num += len(new)
            names = ", ".join(sorted(node[:8] for node in new))
            self._told(f"node {names} is about to be taken away: a checkpoint at the next step")
        if self._terms > self._terms_told:
            self._num += 1
            self._terms_told = self._terms
            self._told(f"SIGTERM to worker process {os.getpid()}: a checkpoint at the next step")
        return self._num

    def sigterm(self) -> None:
        """Note that SIGTERM came; may be called by any thread."""
        self._terms += 1


@contextlib.contextmanager
def sigterm_noted(note: Callable[[], None]) -> Iterator[None]:
    """Have SIGTERM noted instead of ending this process.

    A handler in Python is for the main thread alone, which here belongs to Ray and may be busy. That
    of faulthandler can be set by any thread and works at once: it writes to a pipe that is read here.
    """
    readable, writable = os.pipe()

    def read() -> None:
        while os.read(readable, 65536):
            note()
            while select.select([readable], [], [], _SETTLED_S)[0] and os.read(readable, 65536):
                pass
        os.close(readable)

    thread = threading.Thread(target=read, name="bessemer-sigterm", daemon=True)
    thread.start()
    faulthandler.register(signal.SIGTERM, file=writable, all_threads=False, chain=False)
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGTERM)
        os.close(writable)
        thread.join(timeout=5)
