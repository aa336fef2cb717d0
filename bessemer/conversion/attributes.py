"""Attributes that a loop changes: counters, best values and histories that objects of the program keep.

Objects are those of the program's own classes, and namespaces. An attribute counts if a statement in the
loop, or in a function or method that it calls, sets it, adds to it or fills it, and if it holds no model,
optimizer, loader or other object that survives, or is made again, in its own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.flow import Loop
from bessemer.conversion.inference import Kinds
from bessemer.conversion.kinds import Kind, Value
from bessemer.conversion.program import Program
from bessemer.conversion.reachable import reached
from bessemer.conversion.syntax import assigned, code_of, walk

FILLS = frozenset(
    {"append", "extend", "insert", "add", "update", "setdefault", "pop", "remove", "clear"}
    | {"appendleft", "popleft"}
)
_OTHERWISE = frozenset(Kind) - {Kind.NUMBER, Kind.NOTHING, Kind.TUPLE, Kind.PARAMETER, Kind.DEVICE_NAME}


@dataclass(frozen=True, eq=False)
class Keeping:
    """An object that a loop changes: how it is reached, and its attributes.

    `at` is the loop, or, where that does not reach the object, the statement that makes the object.
    """

    at: cst.BaseStatement
    code: str
    names: tuple[str, ...]


class Attributes:
    """Finds what loops change in objects; objects that an outer loop keeps are not kept again."""

    def __init__(self, program: Program, kinds: Kinds) -> None:
        self._program = program
        self._kinds = kinds
        self._known: list[Value] = []
        self._handed_on = _handed_on(program)

    def of(self, function: cst.FunctionDef, loop: Loop) -> list[Keeping]:
        """Return what a loop changes in objects that were made before it."""
        changed: dict[str, list[Value]] = {}
        for receiver, name in self._changes(loop.body, *self._handed_on):
            value = self._kinds.of(receiver)
            if value is not None and value.kind is Kind.OBJECT:
                changed.setdefault(name, []).append(value)
        found: list[Keeping] = []
        for there in reached(self._program, self._kinds, function, loop) if changed else ():
            value = there.value
            if value.kind is not Kind.OBJECT or value.optional or not there.surely:
                continue
            names = tuple(
                name
                for name, owners in changed.items()
                if any(self._kinds.is_same_object(value, x) for x in owners) and self._is_plain(value, name)
            )
            if names and not any(self._is_one(value, x) for x in self._known):
                self._known.append(value)
                found.append(Keeping(loop, there.code, names))
        return found

    def rest(self) -> list[Keeping]:
        """Return what functions that are handed on as values change in objects that no loop has kept.

        Who calls them back, and when, is not followed; so the objects are kept from the start.
        """
        changed: dict[cst.Call, list[str]] = {}
        for receiver, name in self._changes(*self._handed_on):
            value = self._kinds.of(receiver)
            if value is None or value.kind is not Kind.OBJECT or len(value.origins) != 1:
                continue
            if self._is_plain(value, name) and not any(self._is_one(value, x) for x in self._known):
                changed.setdefault(next(iter(value.origins)), []).append(name)
        found = []
        for made, names in changed.items():
            statement = self._program.statement(made)
            pair = assigned(statement)
            is_once = self._program.enclosing(statement, cst.For, cst.While) is None
            if pair is not None and pair[1] is made and len(pair[0]) == 1 and is_once:
                found.append(Keeping(statement, code_of(pair[0][0]), tuple(dict.fromkeys(names))))
        return found

    def first_change(self, loop: Loop) -> cst.BaseExpression | None:
        """Return the first attribute of an object that running a loop's body may change."""
        for receiver, name in self._changes(loop.body):
            value = self._kinds.of(receiver)
            if value is not None and value.kind is Kind.OBJECT and self._is_plain(value, name):
                return receiver
        return None

    def _is_one(self, one: Value, other: Value) -> bool:
        return bool(one.origins) and one.origins == other.origins and one.owner is other.owner

    def _is_plain(self, value: Value, name: str) -> bool:
        held = self._kinds.attribute(value, name)
        return held is None or held.kind not in _OTHERWISE

    def _changes(self, *bodies: cst.CSTNode) -> Iterator[tuple[cst.BaseExpression, str]]:
        """Yield the objects and attributes that running some code may change."""
        seen: set[cst.FunctionDef] = set()
        waiting = list(bodies)
        while waiting:
            node = waiting.pop()
            for inner in walk(node, cst.Attribute, cst.Call):
                if isinstance(inner, cst.Call):
                    target = self._kinds.callee(inner)
                    if target is not None and target not in seen:
                        seen.add(target)
                        waiting.append(target.body)
                elif self._is_changed(inner):
                    yield inner.value, inner.attr.value

    def _is_changed(self, node: cst.Attribute) -> bool:
        """Tell whether a place sets an attribute, an item of what it holds, or fills it."""
        parent = self._program.parent(node)
        if self._program.is_store(node) or (isinstance(parent, cst.AugAssign) and parent.target is node):
            return True
        if isinstance(parent, cst.Subscript) and parent.value is node:
            outer = self._program.parent(parent)
            added = isinstance(outer, cst.AugAssign) and outer.target is parent
            return self._program.is_store(parent) or added
        call = self._program.parents.get(parent)
        is_called = isinstance(parent, cst.Attribute) and isinstance(call, cst.Call) and call.func is parent
        return is_called and isinstance(parent, cst.Attribute) and parent.attr.value in FILLS


def _handed_on(program: Program) -> list[cst.BaseSuite]:
    """Return the bodies of functions that are used as values: callbacks, hooks, things to apply."""
    found: dict[cst.BaseSuite, None] = {}
    for function in walk(program.module, cst.FunctionDef):
        for use in program.spelt.get(function.name.value, ()):
            call = program.parent(use)
            is_called = isinstance(call, cst.Call) and call.func is use
            if program.is_load(use) and not is_called and program.bindings(use) == (function,):
                found[function.body] = None
    return list(found)
