"""Room for questions that lead to many others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_MOST_FRAMES = 20_000


@contextmanager
def deep() -> Iterator[None]:
    """Let calls nest deeper than Python allows at first: a long notebook sets a name a hundred times."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _MOST_FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
