"""What a loader is called: by the variable, or the key, that the program keeps it under.

`test_loader = run.loader(...)` is `test`; so are `loaders["test"]`, `{"test": run.loader(...)}` and the
comprehension `{x: run.loader(...) for x in ["train", "test"]}`. Where nothing tells, it is its number.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parent.parent)
_CALL = r"\w+(?:\.\w+)*\("
_KEY = re.compile(r"""["'](\w+)["']\s*:\s*""" + _CALL)
_VARIABLE_KEY = re.compile(r"\{\s*(\w+)\s*:\s*" + _CALL)
_ITEM = re.compile(r"""^\s*[\w.]+\[\s*["'](\w+)["']\s*\]\s*=\s*""" + _CALL)
_ASSIGNED = re.compile(r"^\s*(?:\w+\.)*(\w+)\s*(?::[^=]+)?=\s*" + _CALL)
# What variables add to say that they hold a loader.
_NOISE = {
    "loader",
    "loaders",
    "dataloader",
    "dataloaders",
    "dl",
    "data",
    "iter",
    "iterator",
    "set",
    "dataset",
}

TRAINED = "train"


def name_in_program(depth: int = 1) -> str:
    """Return what the program calls the loader that it is making, or "".

    Args:
        depth: frames between the caller and Bessemer's innermost (count).
    """
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return ""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return stem(name_on_line(line, frame.f_locals))


def name_on_line(line: str, variables: Mapping[str, object] | None = None) -> str:
    """Return the name under which a line of code keeps what it calls for, or "".

    >>> name_on_line("    test_loader = run.loader(data, batch_size=2)")
    'test_loader'
    """
    for pattern in (_ITEM, _KEY):
        if found := pattern.search(line):
            return found[1]
    if found := _VARIABLE_KEY.search(line):
        value = (variables or {}).get(found[1], "")
        return value if isinstance(value, str) else ""
    found = _ASSIGNED.match(line)
    return found[1] if found else ""


def stem(name: str) -> str:
    """Return a name without what says that it is a loader.

    >>> [stem(name) for name in ("test_loader", "loader", "valLoader", "dl_valid")]
    ['test', '', 'val', 'valid']
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
    return "_".join(word for word in words if word and word not in _NOISE)


def split_names(names: Mapping[int, str], trained: Sequence[int]) -> dict[int, str]:
    """Give every loader of a program a name of its own.

    Args:
        names: what the program calls them, by number; "" where nothing tells.
        trained: numbers of those that it trains on.
    """
    chosen: dict[int, str] = {}
    for number in sorted(names):
        name = names[number]
        if number in trained and TRAINED not in chosen.values() and name in ("", "data"):
            name = TRAINED
        if not name or name in chosen.values():
            name = f"loader-{number}"
        chosen[number] = name
    return chosen
