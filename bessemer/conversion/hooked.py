"""The loops of a program that a restart goes on inside of: over a loader, or over the run's own iterators.

Whether something is a loader is decided by where it comes from; where that is not known, by a parameter's
name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import libcst as cst

from bessemer.conversion.codebase import Codebase
from bessemer.conversion.origins import Origins
from bessemer.conversion.syntax import argument

LOADERS = frozenset({"run.loader", "run.stream"})
OUTERS = frozenset({"run.epochs", "run.steps"})
_COUNTED = "builtins.enumerate"


class Over(Enum):
    """What a loop runs over."""

    LOADER = "a loader"
    TURNS = "the run's own iterator"


@dataclass(frozen=True, eq=False)
class Hooked:
    """A loop that a restart goes on inside of; `function` is what it stands in."""

    node: cst.For
    function: cst.FunctionDef
    over: Over


class Loops:
    """The hooked loops of a program, and who runs inside of one."""

    def __init__(self, code: Codebase, origins: Origins) -> None:
        self._code = code
        self._origins = origins
        found = (self._hooked(x) for x in code.every(cst.For) if isinstance(x, cst.For))
        self.all = tuple(x for x in found if x is not None)
        self._nodes = frozenset(x.node for x in self.all)

    def is_hooked(self, node: cst.CSTNode) -> bool:
        """Tell whether a node is such a loop."""
        return node in self._nodes

    def are_around(self, node: cst.CSTNode, *, seen: frozenset[cst.CSTNode] = frozenset()) -> bool:
        """Tell whether a node may run inside of such a loop, here or where its function is called."""
        if any(x in self._nodes for x in self._code.ancestors(node)):
            return True
        function = self._code.around(node)
        if function is None or function in seen:
            return False
        calls = self._origins.callers(function)
        return any(self.are_around(x, seen=seen | {function}) for x in calls)

    def is_loader(self, node: cst.BaseExpression) -> bool:
        """Tell whether an expression is a loader of the run."""
        found = self._origins.of(node)
        if any(self._origins.called(x) in LOADERS for x in found):
            return True
        if not isinstance(node, cst.Name) or any(isinstance(x, cst.Call) for x in found):
            return False
        bound = self._code.bindings(node)
        return "loader" in node.value.lower() and any(isinstance(x, cst.Param) for x in bound)

    def loader_in(self, node: cst.BaseExpression) -> bool:
        """Tell whether an expression is a loader, or one in its own `enumerate`."""
        func = node.func if isinstance(node, cst.Call) else None
        if isinstance(func, cst.Attribute) and func.attr.value == "enumerate":
            return self.is_loader(func.value)
        return self.is_loader(node)

    def source(self, node: cst.BaseExpression) -> cst.BaseExpression:
        """Return what a loop really iterates: without a progress bar, also one in a variable."""
        shown = self._code.shown(node)
        if isinstance(shown, cst.Name):
            for origin in self._origins.of(shown):
                if isinstance(origin, cst.Call) and self._code.shown(origin) is not origin:
                    return self._code.shown(origin)
        return shown

    def _hooked(self, node: cst.For) -> Hooked | None:
        function = self._code.around(node)
        if function is None:
            return None
        source = self.source(node.iter)
        counted = isinstance(source, cst.Call) and self._code.imported(source.func) == _COUNTED
        if counted and isinstance(source, cst.Call):
            # Counted wrongly, which is a finding of its own; the loop is judged as it will be.
            source = self.source(argument(source, "iterable", 0) or source)
        if self.loader_in(source):
            return Hooked(node, function, Over.LOADER)
        if any(self._origins.called(x) in OUTERS for x in self._origins.of(source)):
            return Hooked(node, function, Over.TURNS)
        return None
