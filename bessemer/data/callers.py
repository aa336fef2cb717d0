"""Who drives an iterator: a `for` statement that a restart comes to again, or something with a memory.

A restart goes on inside a loop only where the loop itself remembers nothing but its position. A `for`
over the loader does not; `enumerate`, `islice` or a generator around it count for themselves, and what
they have counted cannot be put back.
"""

from __future__ import annotations

import dis
import gc
import inspect
from types import FrameType

_FOR_ITER = dis.opmap["FOR_ITER"]
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")
# Bars that show how far a loop is: what they lose in a restart is their own display.
_BARS = ("tqdm", "rich", "alive_progress", "progressbar")
# Iterators of itertools that pass on what they get and count nothing.
_STATELESS = ("starmap", "filterfalse", "zip_longest")


def is_for_statement(caller: FrameType) -> bool:
    """Whether a frame is asking for an iterator's next item in a `for` statement of its own.

    Args:
        caller: the frame that called `__next__`, directly or through an iterator written in C.
    """
    code = caller.f_code
    # What a comprehension has gathered so far would be lost; each is a function of its own.
    if code.co_code[caller.f_lasti] != _FOR_ITER or code.co_name in _COMPREHENSIONS:
        return False
    generator = bool(code.co_flags & inspect.CO_GENERATOR)
    module = caller.f_globals.get("__name__", "")
    return not generator or module.split(".")[0] in _BARS


def wrapper_with_memory(iterator: object) -> str | None:
    """Return the name of a built-in iterator that is wrapped around another and counts, or None.

    It looks through everything that refers to the iterator, which takes up to a tenth of a second:
    ask once for a place in a program.
    """
    for holder in gc.get_referrers(iterator):
        kind = type(holder)
        counts = kind is enumerate or kind.__module__ == "itertools"
        if counts and kind.__name__ not in _STATELESS:
            return kind.__name__
    return None
