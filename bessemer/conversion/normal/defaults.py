"""Defaults that are variables of the program: `def train(model, device=device)`.

Such a function would have to be made where the variable has its value, inside of the entry function, and its
loops with it. If the variable never changes after that, each call that leaves the argument out can as well
hand it over: the default becomes None, and `train(model)` becomes `train(model, device=device)`.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.normal.names import Names, find_names
from bessemer.conversion.normal.order import Parents, is_stored
from bessemer.conversion.normal.places import Places, Tracer
from bessemer.conversion.syntax import assigned, literal_text, parameters, parents_in, walk

_TIGHT = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def hand_defaults(module: cst.Module, places: Places) -> cst.Module:
    """Have calls hand over what was the default of a parameter, where that means the same."""
    functions = [x for x in module.body if isinstance(x, cst.FunctionDef)]
    if not any(isinstance(x.default, cst.Name) for f in functions for x in walk(f.params, cst.Param)):
        return module
    edits = _Edits(module)
    for function in functions:
        edits.hand(function)
    if not edits.plain:
        return module
    changed = module.visit(_Handed(places, edits))
    assert isinstance(changed, cst.Module)
    return changed


class _Edits:
    """What is to be changed: the parameters whose default goes, and the arguments that calls get."""

    def __init__(self, module: cst.Module) -> None:
        self.module = module
        self.names: Names = find_names(module)
        self.parents: Parents = parents_in(module)
        self.plain: set[cst.CSTNode] = set()
        self.given: dict[cst.CSTNode, list[tuple[str, str]]] = {}

    def hand(self, function: cst.FunctionDef) -> None:
        calls = self._calls(function)
        if calls is None:
            return
        for index, param in enumerate(parameters(function)):
            default = param.default
            if not isinstance(default, cst.Name) or param in function.params.posonly_params:
                continue
            name = param.name.value
            lacking = [x for x in calls if not _has(x, name, index)]
            hidden = any(self.names.captured(_named(x), default.value) for x in lacking)
            if not hidden and self._is_settled(default.value, function):
                self.plain.add(param)
                for call in lacking:
                    self.given.setdefault(call, []).append((name, default.value))

    def _calls(self, function: cst.FunctionDef) -> list[cst.Call] | None:
        """Return all calls of a function; None if it is used otherwise, or defined again."""
        name = function.name
        if len(self.names.bound.get(name.value, ())) != 1 or function.decorators:
            return None
        found: list[cst.Call] = []
        for use in self.names.uses.get(name.value, ()):
            if use is name:
                continue
            call = self.parents.get(use)
            if not isinstance(call, cst.Call) or call.func is not use or any(x.star for x in call.args):
                return None
            found.append(call)
        return found

    def _is_settled(self, name: str, function: cst.FunctionDef) -> bool:
        """Tell whether a variable is set at module level, in front of a function only, and is no constant."""
        stores = [x for x in self.names.uses.get(name, ()) if is_stored(x, self.parents)]
        declared = any(x.name.value == name for node in walk(self.module, cst.Global) for x in node.names)
        if declared or len(stores) != len(self.names.bound.get(name, ())) or not stores:
            return False
        body: list[cst.CSTNode] = list(self.module.body)
        places = [self._statement(x) for x in stores]
        if any(self.names.inside[x] for x in stores) or None in places:
            return False
        pair = assigned(places[0]) if len(stores) == 1 and places[0] is not None else None
        is_constant = pair is not None and (
            isinstance(pair[1], cst.BaseNumber) or literal_text(pair[1]) is not None
        )
        return not is_constant and all(body.index(x) < body.index(function) for x in places if x is not None)

    def _statement(self, node: cst.CSTNode) -> cst.BaseStatement | None:
        """Return the statement of the module that a node is in; of a definition there is none."""
        while self.parents.get(node) is not self.module:
            node = self.parents[node]
        is_plain = isinstance(node, cst.BaseStatement) and not isinstance(
            node, cst.FunctionDef | cst.ClassDef
        )
        return node if isinstance(node, cst.BaseStatement) and is_plain else None


class _Handed(Tracer):
    def __init__(self, places: Places, edits: _Edits) -> None:
        super().__init__(places)
        self.edits = edits

    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        """Take the default away; what stands in its place is never seen."""
        return (
            updated_node.with_changes(default=cst.Name("None"))
            if original_node in self.edits.plain
            else updated_node
        )

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """Hand over what the call left out."""
        given = list(_arguments(self.edits.given.get(original_node, ())))
        return updated_node.with_changes(args=[*updated_node.args, *given]) if given else updated_node


def _arguments(given: list[tuple[str, str]] | tuple[()]) -> Iterator[cst.Arg]:
    for name, variable in given:
        yield cst.Arg(cst.Name(variable), cst.Name(name), equal=_TIGHT)


def _has(call: cst.Call, name: str, index: int) -> bool:
    """Tell whether a call gives a parameter a value."""
    num_placed = sum(x.keyword is None for x in call.args)
    return index < num_placed or any(x.keyword is not None and x.keyword.value == name for x in call.args)


def _named(call: cst.Call) -> cst.Name:
    return cst.ensure_type(call.func, cst.Name)
