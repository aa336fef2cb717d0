"""What a source has open in one process: footers, files; made again where the source is unpickled."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")

# Enough for a window of many files, and far below what a process may have open.
_MOST = 64


class Opened(Generic[Value]):
    """The last things that were opened, by a key.

    It has no attributes that can be looked into: to open something is no change of the data set.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, open_it: Callable[[], Value]) -> Value:
        """Return what is open under a key; if nothing is, open it, and let go of what was opened first."""
        if key not in self._kept:
            while len(self._kept) >= _MOST:
                self._kept.popitem(last=False)
            self._kept[key] = open_it()
        return self._kept[key]

    def __reduce__(self) -> tuple[type[Opened[Value]], tuple[()]]:
        return type(self), ()
