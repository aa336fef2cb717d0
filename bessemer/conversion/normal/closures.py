"""Functions and classes that read what the program's start has set get it handed over.

After hoisting, a name that a function reads as a global one may be a local variable of the entry function.
It becomes a parameter, in front of the others, of the function and of every function that calls it; a class
takes it in `__init__` and keeps it in an attribute if other methods read it. A variable that may have no
value yet at a call gets None at first. Where handing over a value could differ from reading the name later
(`judging` says where), the definition moves into the entry function instead, where Python's own closures
keep the meaning; the reason is reported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.normal.handing import Hander
from bessemer.conversion.normal.judging import Judge
from bessemer.conversion.normal.places import Places, Tracer
from bessemer.conversion.normal.reading import Readings
from bessemer.conversion.program import understand
from bessemer.conversion.syntax import every, walk


@dataclass(frozen=True)
class Nested:
    """A definition that stays inside of the entry function, and why."""

    where: str
    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Closed:
    """A module whose definitions read no variable of the entry function.

    Attributes:
        module: the module.
        nested: what had to move into the entry function.
        handed: for each definition, the variables that it gets.
    """

    module: cst.Module
    nested: tuple[Nested, ...]
    handed: Mapping[str, tuple[str, ...]]


def close(module: cst.Module, entry: str, places: Places) -> Closed:
    """Hand variables of the entry function to the definitions that read them."""
    nested: dict[str, Nested] = {}
    empty: set[str] = set()
    while True:
        program = understand(_arranged(module, entry, nested.keys(), empty, places), "", places.known)
        places.learn(program.stood)
        readings = Readings(program, entry)
        judge = Judge(program, readings)
        found: dict[str, Nested] = {}
        for name, definition in readings.definitions.items():
            reason = judge.reason(definition)
            if reason:
                found[name] = Nested(places.of(definition) or "", name, reason)
        if judge.unset - empty:
            empty |= judge.unset
            continue
        if not found:
            changed = program.module.visit(Hander(readings, places))
            return Closed(changed, tuple(nested.values()), readings.needs)
        nested.update(found)


def _arranged(
    module: cst.Module, entry: str, nested: Collection[str], empty: Collection[str], places: Places
) -> cst.Module:
    """Return a module with some definitions moved to the start of the entry function.

    `empty` are variables that get None there, in front of everything else.
    """
    if not nested and not empty:
        return module
    inside = _Nonlocal(places)
    moved = [
        changed
        for x in module.body
        if isinstance(x, cst.FunctionDef | cst.ClassDef) and x.name.value in nested
        if isinstance(changed := x.visit(inside), cst.FunctionDef | cst.ClassDef)
    ]
    body: list[cst.BaseStatement] = []
    for statement in module.body:
        name = statement.name.value if isinstance(statement, cst.FunctionDef | cst.ClassDef) else ""
        if name in nested:
            continue
        if isinstance(statement, cst.FunctionDef) and name == entry:
            names = sorted({*empty, *_never_set(statement, moved)})
            made = [cst.parse_statement(f"{x} = None\n") for x in names]
            for line in made:
                places.put(line, statement)
            changed = statement.with_changes(
                body=statement.body.with_changes(body=[*made, *moved, *statement.body.body])
            )
            places.put(changed, statement)
            body.append(changed)
        else:
            body.append(statement)
    return module.with_changes(body=body)


def _never_set(entry: cst.FunctionDef, moved: Sequence[cst.CSTNode]) -> list[str]:
    """Return the names that moved functions set and the entry function does not: it must have them."""
    declared = {x.name.value for node in moved for y in walk(node, cst.Nonlocal) for x in y.names}
    kinds = cst.AssignTarget | cst.For | cst.AugAssign | cst.AnnAssign
    targets = [x.target for x in every(entry) if isinstance(x, kinds)]
    return sorted(declared - {x.value for target in targets for x in walk(target, cst.Name)})


class _Nonlocal(Tracer):
    """What was global is a variable of the entry function."""

    def leave_Global(self, original_node: cst.Global, updated_node: cst.Global) -> cst.BaseSmallStatement:
        """Name the variable of the function around it."""
        return cst.Nonlocal(names=updated_node.names)
