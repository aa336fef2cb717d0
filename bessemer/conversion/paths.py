"""What statements do to variables, attributes, globals and objects that are changed in place.

`flow` follows the local variables of one function. Here a name may also be an attribute
(`self.iter_num`), a global or a variable of an enclosing function; changing an object in place counts as
setting it; and what a called function sets and reads counts where it is called.

Names are written as text: `x`, `x.y`, `module::x` for globals, `x@scope` for variables of an enclosing
function, and `x.*` where an object is handed to somebody who may read all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import libcst as cst
from libcst import metadata

from bessemer.conversion.children import children
from bessemer.conversion.codebase import Codebase
from bessemer.conversion.flow import Effect, Flow, unset
from bessemer.conversion.origins import Origins

_FILLS = frozenset(
    {"append", "extend", "insert", "add", "update", "remove", "clear", "appendleft", "discard", "subtract"}
)
_TAKES = frozenset({"pop", "popleft", "popitem", "setdefault"})
_NO_CHANGE = frozenset({"requires_grad_", "share_memory_", "to_"})


@dataclass(frozen=True, eq=False)
class Event:
    """A name is read, set for sure, or maybe changed; `at` is the expression that says so."""

    kind: Literal["read", "set", "change"]
    name: str
    at: cst.BaseExpression


@dataclass(frozen=True, eq=False)
class Summary:
    """What calling a function does: names it reads first, sets for sure, and may set (with the place)."""

    exposed: frozenset[str] = frozenset()
    definite: frozenset[str] = frozenset()
    stored: Mapping[str, cst.BaseExpression] = field(default_factory=dict)


class Paths(Flow):
    """The flow of one function, with attributes, globals, changes in place and calls."""

    def __init__(
        self,
        code: Codebase,
        origins: Origins,
        summary: Callable[[cst.FunctionDef], Summary],
        function: cst.FunctionDef,
    ) -> None:
        super().__init__(code, function)
        self._code = code
        self._origins = origins
        self._summary = summary
        self._own = function
        self._scope = code.scopes.get(function.body)
        self._seen: dict[cst.CSTNode, tuple[Event, ...]] = {}

    def stored(self, *nodes: cst.CSTNode) -> frozenset[str]:
        """Return the names that may be set somewhere in these nodes."""
        return frozenset(x.name for node in nodes for x in self.events(node) if x.kind != "read")

    def loaded(self, *nodes: cst.CSTNode) -> frozenset[str]:
        """Return the names that may be read somewhere in these nodes."""
        return frozenset(x.name for node in nodes for x in self.events(node) if x.kind == "read")

    def exposed_again(self, loop: cst.For) -> frozenset[str]:
        """Return the names that an iteration may read as they were before it."""
        return unset(self.body(loop.body).exposed, self.stored(loop.target))

    def is_own(self, name: str) -> bool:
        """Tell whether a name is a variable of this function that nobody else sees."""
        return not _is_free(name)

    def name(self, node: cst.BaseExpression) -> str | None:
        """Return the name of a variable or of an attribute of one; None for everything else."""
        if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name):
            base = self.name(node.value)
            return None if base is None else f"{base}.{node.attr.value}"
        scope = self._code.scopes.get(node) if isinstance(node, cst.Name) else None
        if scope is None or not isinstance(node, cst.Name):
            return None
        found = next((x for x in scope[node.value] if type(x) is metadata.Assignment), None)
        if found is None:
            return None
        if found.scope is self._scope:
            return node.value
        if isinstance(found.scope, metadata.GlobalScope):
            return f"{self._code.names[self._code.file(node)]}::{node.value}"
        if isinstance(found.scope, metadata.FunctionScope) and isinstance(found.scope.node, cst.FunctionDef):
            return f"{node.value}@{id(found.scope)}"
        return None

    def translated(self, callee: cst.FunctionDef, call: cst.Call, name: str) -> str | None:
        """Return what a name of a called function is called here; None if nobody here knows it."""
        base, _, rest = name.partition(".")
        if "::" in base:
            return name
        if "@" in base:
            variable, _, scope = base.partition("@")
            here = variable if scope == str(id(self._scope)) else base
            return f"{here}.{rest}" if rest else here
        given = dict(self._origins.arguments(callee, call)).get(base)
        outer = self.name(given) if given is not None else None
        if outer is None:
            return None
        return outer if "." in outer or not rest else f"{outer}.{rest}"

    def events(self, node: cst.CSTNode) -> tuple[Event, ...]:
        """Return what a node does to names, in no particular order."""
        if node not in self._seen:
            self._seen[node] = tuple(self._visit(node))
        return self._seen[node]

    def _statement(self, node: cst.CSTNode) -> Effect:
        match node:
            case cst.FunctionDef() | cst.ClassDef():
                # What it reads counts where it is used.
                return Effect(definite=frozenset({node.name.value}))
            case cst.Return() | cst.Raise() | cst.Break() | cst.Continue():
                return super()._statement(node)
            case cst.BaseSmallStatement():
                sure = frozenset(x.name for x in self.events(node) if x.kind == "set")
                return Effect(self.loaded(node), sure | self._set_by_call(node))
        return super()._statement(node)

    def _set_by_call(self, node: cst.BaseSmallStatement) -> frozenset[str]:
        """Return what a function surely sets that is called by a statement of its own."""
        call = getattr(node, "value", None)
        callee = self._origins.function(call) if isinstance(call, cst.Call) else None
        if callee is None or not isinstance(call, cst.Call):
            return frozenset()
        definite = self._summary(callee).definite
        names = ((x, self.translated(callee, call, x)) for x in definite if _is_shared(x))
        return frozenset(y for x, y in names if y is not None and y.partition(".")[2] == x.partition(".")[2])

    def _visit(self, node: cst.CSTNode) -> Iterator[Event]:
        match node:
            case cst.FunctionDef() | cst.ClassDef():
                return
            case cst.Name():
                yield from self._variable(node)
                return
            case cst.Attribute():
                yield from self._attribute(node)
                return
            case cst.Subscript() if not self._code.is_load(node):
                yield from self._changed(node.value)
            case cst.AugAssign():
                name = self.name(node.target)
                if name is not None:
                    yield Event("read", name, node.target)
            case cst.Return() | cst.Yield() if isinstance(node.value, cst.BaseExpression):
                yield from self._handed_on(node.value)
            case cst.Call():
                yield from self._call(node)
        for child in children(node):
            yield from self.events(child)

    def _variable(self, node: cst.Name) -> Iterator[Event]:
        name = self.name(node)
        if name is None:
            return
        if self._code.is_store(node):
            yield Event("set", name, node)
        elif self._code.is_load(node):
            yield Event("read", name, node)
            bound = self._code.bindings(node)
            if len(bound) == 1 and isinstance(bound[0], cst.FunctionDef) and "::" not in name:
                yield from self._closure(bound[0], node)

    def _closure(self, function: cst.FunctionDef, node: cst.Name) -> Iterator[Event]:
        """A nested function may be run wherever its name stands."""
        summary = self._summary(function)
        call = cst.Call(node)
        for name in summary.exposed:
            if _is_free(name):
                yield Event("read", self.translated(function, call, name) or name, node)
        for name, at in summary.stored.items():
            if _is_free(name):
                yield Event("change", self.translated(function, call, name) or name, at)

    def _attribute(self, node: cst.Attribute) -> Iterator[Event]:
        name = self.name(node)
        if name is not None and self._code.is_store(node):
            yield Event("set", name, node)
        elif name is not None:
            yield Event("read", name, node)
        elif self._code.is_store(node):
            yield from self._changed(node.value)
        yield from self.events(node.value)

    def _changed(self, node: cst.BaseExpression) -> Iterator[Event]:
        """An object is changed in place: the name that it, or what it is a part of, is known by."""
        while self.name(node) is None and isinstance(node, cst.Attribute | cst.Subscript):
            node = node.value
        name = self.name(node)
        if name is not None:
            yield Event("change", name, node)
            yield Event("read", name, node)

    def _handed_on(self, node: cst.BaseExpression) -> Iterator[Event]:
        """Somebody gets a whole object, and may read all of it."""
        for part in (node, *(x.value for x in node.elements)) if isinstance(node, cst.Tuple) else (node,):
            name = self.name(part)
            if name is not None and "." not in name:
                yield Event("read", f"{name}.*", part)

    def _call(self, node: cst.Call) -> Iterator[Event]:
        callee, func = self._origins.function(node), node.func
        if callee is not None:
            yield from self._called(callee, node)
            return
        for arg in node.args:
            yield from self._handed_on(arg.value)
        if self._code.imported(func) == "builtins.next" and node.args:
            yield from self._changed(node.args[0].value)
        if isinstance(func, cst.Attribute):
            method = func.attr.value
            in_place = method.endswith("_") and not method.endswith("__") and method not in _NO_CHANGE
            alone = isinstance(self._code.parents.get(node), cst.Expr)
            if method in _TAKES or (alone and (method in _FILLS or in_place)):
                yield from self._changed(func.value)

    def _called(self, callee: cst.FunctionDef, call: cst.Call) -> Iterator[Event]:
        summary = self._summary(callee)
        own = self._code.self_name(callee)
        for name in summary.exposed:
            here = self.translated(callee, call, name)
            if here is not None and _is_shared(name):
                yield Event("read", here, call)
        for name, at in summary.stored.items():
            here = self.translated(callee, call, name)
            if here is None:
                continue
            receiver = call.func.value if isinstance(call.func, cst.Attribute) else None
            foreign = name.partition(".")[0] == own and receiver is not None
            if foreign and not self._is_self(receiver):
                # An object of another class: the place that matters is where it is used.
                yield Event("change", here, receiver or at)
            else:
                yield Event("change", here, at)

    def _is_self(self, node: cst.CSTNode | None) -> bool:
        return isinstance(node, cst.Name) and node.value == self._code.self_name(self._own)


def _is_free(name: str) -> bool:
    return "::" in name or "@" in name


def _is_shared(name: str) -> bool:
    return "." in name or _is_free(name)
