"""`async=True`, which has not parsed since Python 3.7, where `async` became a keyword.

PyTorch renamed the argument to `non_blocking` in 0.4 for that reason. It is found by a look at the text,
since nothing can be parsed before: only as an argument of `cuda`, `cpu`, `copy_`, `to` and `type`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bessemer.conversion.modernise.base import Noted

_TOKEN = re.compile(
    r"#[^\n]*"
    r"|\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''"
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])"
    r"|(?P<async>(?<![\w.])async(?=\s*=(?!=)))",
    re.DOTALL,
)
_CALLED = re.compile(r"\.\s*(?:cuda|cpu|copy_|to|type)\s*$")
_ARGUMENT = re.compile(r"[(,]\s*$")

_REASON = "async is a keyword since Python 3.7; PyTorch calls the argument non_blocking since 0.4"


def without_keywords(text: str) -> tuple[str, tuple[Noted, ...]]:
    """Return a text in which no argument is called `async`, and what was changed.

    >>> without_keywords("x.cuda(async=True)")[0]
    'x.cuda(non_blocking=True)'
    """
    places = list(_places(text)) if "async" in text else []
    if not places:
        return text, ()
    old = text.split("\n")
    for place in reversed(places):
        text = f"{text[:place]}non_blocking{text[place + len('async') :]}"
    changed = enumerate(zip(old, text.split("\n"), strict=True), 1)
    return text, tuple(
        Noted(line, before.strip(), after.strip(), _REASON)
        for line, (before, after) in changed
        if before != after
    )


def _places(text: str) -> Iterator[int]:
    opened: list[int] = []
    for found in _TOKEN.finditer(text):
        place = found.start()
        if found["open"]:
            opened.append(place)
        elif found["close"] and opened:
            opened.pop()
        elif found["async"] and opened and _is_argument(text, opened[-1], place):
            yield place


def _is_argument(text: str, bracket: int, place: int) -> bool:
    before = text[bracket:place]
    return text[bracket] == "(" and bool(_ARGUMENT.search(before) and _CALLED.search(text[:bracket]))
