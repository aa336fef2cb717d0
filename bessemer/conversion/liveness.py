"""Which values of a loop cross from one iteration into a later one, or leave it: a restart loses them.

The loops, attributes and globals of several functions are followed: what a function leaves behind is read,
or not, by whoever called it. As in `flow`, a name counts as read when it may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.codebase import Codebase
from bessemer.conversion.origins import Origins
from bessemer.conversion.paths import Paths, Summary
from bessemer.conversion.syntax import walk


@dataclass(frozen=True, eq=False)
class Lost:
    """A value that a restart in the middle of a loop loses.

    `sites` are the expressions that set it in the loop; `crosses` tells whether it lives on in a later
    iteration, and not only behind the loop.
    """

    name: str
    sites: tuple[cst.BaseExpression, ...]
    crosses: bool


class Liveness:
    """What loops lose, in a program of several functions."""

    def __init__(self, code: Codebase, origins: Origins) -> None:
        self.code = code
        self.origins = origins
        self._paths: dict[cst.FunctionDef, Paths] = {}
        self._summaries: dict[cst.FunctionDef, Summary] = {}

    def paths(self, function: cst.FunctionDef) -> Paths:
        """Return the flow of one function."""
        if function not in self._paths:
            self._paths[function] = Paths(self.code, self.origins, self.summary, function)
        return self._paths[function]

    def lost(self, function: cst.FunctionDef, loop: cst.For) -> Iterator[Lost]:
        """Yield the values that a restart inside of a loop, or right behind it, does not have."""
        paths = self.paths(function)
        sites: dict[str, list[cst.BaseExpression]] = {}
        for event in paths.events(loop.body):
            if event.kind != "read":
                sites.setdefault(event.name, []).append(event.at)
        again, after = paths.exposed_again(loop), paths.live_after(loop)
        for name, found in sites.items():
            crosses = _is_among(name, again)
            if crosses or _is_among(name, after) or self._lives_on(function, name, frozenset()):
                yield Lost(name, tuple(found), crosses)
        for event in paths.events(loop.target):
            if event.kind == "set" and event.name not in sites and _is_among(event.name, after):
                yield Lost(event.name, (event.at,), False)

    def read_after(self, function: cst.FunctionDef, loop: cst.For, name: str) -> bool:
        """Tell whether a name may be read in a loop or after it, as it was before."""
        paths = self.paths(function)
        return _is_among(name, paths.exposed_again(loop)) or _is_among(name, paths.live_after(loop))

    def summary(self, function: cst.FunctionDef) -> Summary:
        """Return what calling a function does to names that others see."""
        if function not in self._summaries:
            self._summaries[function] = Summary()  # for functions that call themselves
            paths = self.paths(function)
            whole = paths.body(function.body)
            sites = {x.name: x.at for x in paths.events(function.body) if x.kind != "read"}
            changed = {x.name for x in paths.events(function.body) if x.kind == "change"}
            outside = {x: at for x, at in sites.items() if "." in x or not paths.is_own(x) or x in changed}
            returns = list(walk(function.body, cst.Return))
            straight = len(returns) <= 1 and not any(walk(function.body, cst.Yield))
            definite = whole.definite if straight else frozenset[str]()
            self._summaries[function] = Summary(whole.exposed, definite, outside)
        return self._summaries[function]

    def _lives_on(
        self, function: cst.FunctionDef, name: str, seen: frozenset[tuple[cst.CSTNode, str]]
    ) -> bool:
        """Tell whether somebody may read a name after the function has ended."""
        if (function, name) in seen:
            return False
        for call in self.origins.callers(function):
            caller = self.code.around(call)
            if caller is None:
                continue
            outside = self.paths(caller).translated(function, call, name)
            if outside is None:
                continue
            if _is_among(outside, self.paths(caller).live_after(self.code.statement(call))):
                return True
            if self._lives_on(caller, outside, seen | {(function, name)}):
                return True
        return False


def _is_among(name: str, names: frozenset[str]) -> bool:
    return name in names or f"{name.partition('.')[0]}.*" in names
