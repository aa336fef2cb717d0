"""The parameters and arguments by which definitions get what they read."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from bessemer.conversion.normal.places import Places, Tracer
from bessemer.conversion.normal.reading import Readings
from bessemer.conversion.syntax import Definition, method_named, self_parameter, with_statements


class Hander(Tracer):
    """Adds parameters to definitions, arguments to their calls, and attributes to objects."""

    def __init__(self, readings: Readings, places: Places) -> None:
        super().__init__(places)
        self.readings = readings
        self.kept = {
            name: readings.kept(x)
            for name, x in readings.definitions.items()
            if isinstance(x, cst.ClassDef) and readings.needs[name]
        }

    def concerns(self, definition: Definition) -> bool:
        """Tell whether a definition needs a variable, itself or for what it calls."""
        is_top = self.readings.definitions.get(definition.name.value) is definition
        return not is_top or bool(self.readings.needs[definition.name.value])

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Hand over what the called definition needs."""
        func = original_node.func
        if not isinstance(func, cst.Name) or func not in self.readings.users.get(func.value, ()):
            return updated_node
        given = [cst.Arg(self._value(x, original_node)) for x in self.readings.needs[func.value]]
        return updated_node.with_changes(args=_in_front(given, updated_node.args))

    def _value(self, name: str, place: cst.CSTNode) -> cst.BaseExpression:
        """Return what a variable of the entry function is called in some place."""
        method = self.readings.method_around(place)
        if method is None or method.name.value == "__init__":
            return cst.Name(name)
        return cst.Attribute(cst.Name(self_parameter(method) or "self"), cst.Name(name))

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        """Read from the object what a class keeps."""
        owner = self.readings.program.definition(original_node)
        kept = self.kept.get(owner.name.value, {}) if owner is not None else {}
        if original_node not in kept.get(original_node.value, ()):
            return updated_node
        return self._value(original_node.value, original_node)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement:
        """Add the parameters of a function, or of the `__init__` of a class."""
        owner = self.readings.program.definition(original_node)
        if owner is original_node and owner is not self.readings.entry:
            return _with_parameters(updated_node, self.readings.needs[owner.name.value], after=0)
        if not (isinstance(owner, cst.ClassDef) and method_named(owner, "__init__") is original_node):
            return updated_node
        needs, kept = self.readings.needs[owner.name.value], self.kept.get(owner.name.value, {})
        return _keeping(_with_parameters(updated_node, needs, after=1), list(kept))

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.BaseStatement:
        """Give a class without `__init__` one that takes what it needs."""
        needs = self.readings.needs.get(original_node.name.value, ())
        at_top = self.readings.definitions.get(original_node.name.value) is original_node
        if not needs or not at_top or method_named(original_node, "__init__") is not None:
            return updated_node
        lines = ["super().__init__(*args, **kwargs)", *(f"self.{name} = {name}" for name in needs)]
        head = f"def __init__(self, {', '.join(needs)}, *args, **kwargs):"
        initial = cst.parse_statement("\n    ".join([head, *lines]) + "\n")
        return with_statements(updated_node, [initial])


def _in_front(added: list[cst.Arg], given: Sequence[cst.Arg]) -> list[cst.Arg]:
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [*(x.with_changes(comma=comma) for x in added), *given] if given else added


def _with_parameters(function: cst.FunctionDef, names: tuple[str, ...], *, after: int) -> cst.FunctionDef:
    if not names:
        return function
    added = [cst.Param(cst.Name(name)) for name in names]
    held = function.params
    field = "posonly_params" if held.posonly_params else "params"
    old = list(getattr(held, field))
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    if after and len(old) >= after and old[after - 1].comma is cst.MaybeSentinel.DEFAULT:
        old[after - 1] = old[after - 1].with_changes(comma=comma)
    is_last = len(old) == after and not held.kwonly_params and not isinstance(held.star_arg, cst.Param)
    spaced = [x.with_changes(comma=cst.MaybeSentinel.DEFAULT if is_last else comma) for x in added]
    if is_last:
        spaced = [x.with_changes(comma=comma) for x in added[:-1]] + added[-1:]
    return function.with_changes(params=held.with_changes(**{field: [*old[:after], *spaced, *old[after:]]}))


def _keeping(function: cst.FunctionDef, names: list[str]) -> cst.FunctionDef:
    """Return an `__init__` that keeps parameters in attributes before it does anything else."""
    own = self_parameter(function) or "self"
    return with_statements(function, [cst.parse_statement(f"{own}.{name} = {name}\n") for name in names])
