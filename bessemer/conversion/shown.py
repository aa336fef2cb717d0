"""Which printed values are metrics: those that come from a loss, or from what a loop adds up.

A value is followed through variables, items of tuples, parameters and functions of the program.
"""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.children import children
from bessemer.conversion.inference import Kinds, call_of
from bessemer.conversion.metrics import is_template
from bessemer.conversion.program import Program
from bessemer.conversion.reductions import Reduction, Reductions
from bessemer.conversion.script import Script
from bessemer.conversion.state import State
from bessemer.conversion.syntax import assigned, small, walk

_COLLECTIONS = (
    *(cst.List, cst.Tuple, cst.Set, cst.Dict),
    *(cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp),
)


_REDUCTIONS = frozenset(
    {f"numpy.{x}" for x in ("mean", "nanmean", "average", "median", "sum", "min", "max", "std")}
    | {"statistics.mean", "builtins.sum", "builtins.min", "builtins.max"}
)


class Shown:
    """Answers which values of a program are metrics."""

    def __init__(self, script: Script, kinds: Kinds, state: State) -> None:
        self.script = script
        self.program: Program = script.program
        self.kinds = kinds
        self.state = state
        self.rules = Reductions(script.program, kinds)
        self._open: set[cst.CSTNode] = set()
        self._refuted: set[cst.CSTNode] = set()

    def is_metric(self, node: cst.BaseExpression) -> bool:
        """Tell whether a printed value comes from a loss or from an accumulator."""
        if not self._open:
            self._refuted.clear()  # what was cut short in one question may be true in another
        if isinstance(node, cst.Name):
            return self._is_metric_name(node)
        if isinstance(node, cst.Call):
            if self.program.imported(node.func) == "builtins.len":
                return False
            method = call_of(node, "item")
            if method is not None or self.rules.of_criterion(node) is not None:
                return True
            if self._returns_metric(node) or self._reduces_metrics(node):
                return True
        if isinstance(node, cst.Subscript) and _is_by_name(node) and self._holds_metrics(node.value):
            return True
        if isinstance(node, cst.IfExp):
            return self.is_metric(node.body) or self.is_metric(node.orelse)
        if isinstance(node, cst.SimpleString | cst.FormattedString | cst.Lambda) or is_template(node):
            return False
        return any(self._below(child) for child in children(node))

    def is_collection(self, node: cst.BaseExpression) -> bool:
        """Tell whether a printed value is a list or the like, which is no number, whatever is in it."""
        if isinstance(node, cst.Name):
            pairs = (assigned(self.program.statement(x)) for x in self.program.bindings(node))
            values = [
                x[1] for x in pairs if x is not None and len(x[0]) == 1 and isinstance(x[0][0], cst.Name)
            ]
            return any(isinstance(x, _COLLECTIONS) for x in values)
        return isinstance(node, _COLLECTIONS)

    def _reduces_metrics(self, call: cst.Call) -> bool:
        """Tell whether a call makes one number of metrics that were collected: their mean, their sum."""
        if self.program.imported(call.func) in _REDUCTIONS and call.args:
            return self._holds_metrics(call.args[0].value)
        method = call_of(call, "mean", "sum", "min", "max")
        return method is not None and self._holds_metrics(method.value)

    def _holds_metrics(self, node: cst.BaseExpression) -> bool:
        """Tell whether a list, a dictionary or an array is filled with metrics."""
        if node in self._open:
            return False
        self._open.add(node)
        try:
            called = self._called(node)
            if called is not None:
                return any(self._holds_metrics(x) for x in _returned(called))
            return isinstance(node, cst.Name) and any(map(self._is_filled, self.program.bindings(node)))
        finally:
            self._open.discard(node)

    def _is_filled(self, binding: cst.CSTNode) -> bool:
        function = self.program.function(binding)
        if not isinstance(binding, cst.Name) or function is None:
            return False
        pair = assigned(self.program.statement(binding))
        if pair is not None and isinstance(pair[1], cst.Call) and self._holds_metrics(pair[1]):
            return True
        return any(
            self.is_metric(value)
            for use in self.program.occurrences(binding.value, function)
            if (value := self._put_into(use)) is not None
        )

    def _put_into(self, use: cst.Name) -> cst.BaseExpression | None:
        """Return what `name[...] = value` or `name.append(value)` puts into a variable."""
        outer = self.program.parent(use)
        if isinstance(outer, cst.Subscript) and outer.value is use and self.program.is_store(outer):
            pair = assigned(self.program.statement(use))
            return pair[1] if pair is not None else None
        call = self.program.parents.get(outer)
        is_append = isinstance(call, cst.Call) and call.func is outer and call_of(call, "append") is outer
        return call.args[0].value if is_append and isinstance(call, cst.Call) and call.args else None

    def _below(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Attribute):
            # `optimizer.param_groups` and the like are no metrics; `totals.loss` is read by name.
            return isinstance(node.value, cst.BaseExpression) and self.is_metric(node.value)
        if isinstance(node, cst.BaseExpression):
            return self.is_metric(node)
        return any(self._below(child) for child in children(node))

    def _is_metric_name(self, name: cst.Name) -> bool:
        if name in self._open or not self.program.is_load(name):
            return False
        function = self.program.function(name)
        reduction = self.accumulated(name, function)
        if reduction is not None:
            return reduction is not Reduction.SAME
        self._open.add(name)
        try:
            return any(self._binds_metric(node) for node in self.program.bindings(name))
        finally:
            self._open.discard(name)

    def accumulated(self, name: cst.Name, function: cst.FunctionDef | None) -> Reduction | None:
        """Return how what a variable adds up is put together over workers, if it adds something up."""
        held = self.state.reductions.get(function, {}) if function is not None else {}
        return held.get(name.value)

    def _binds_metric(self, node: cst.CSTNode) -> bool:
        if node in self._open or node in self._refuted:
            return False
        self._open.add(node)
        found = self._is_bound_to_metric(node)
        self._open.discard(node)
        if not found:
            self._refuted.add(node)
        return found

    def _is_bound_to_metric(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Param):
            return self._passed_metric(node)
        if not isinstance(node, cst.Name):
            return False
        statement = self.program.statement(node)
        inner = small(statement)
        if isinstance(inner, cst.AugAssign):
            return self.is_metric(inner.value)
        pair = assigned(statement)
        if pair is None or self.kinds.of(node):
            return False
        return any(self.is_metric(x) for x in self._given(node, pair[1]))

    def _given(self, name: cst.Name, value: cst.BaseExpression) -> list[cst.BaseExpression]:
        """Return what an assignment may give to a name: of a tuple, the item at its place."""
        element = self.program.parent(name)
        targets = self.program.parents.get(element)
        if not isinstance(element, cst.Element) or not isinstance(targets, cst.Tuple | cst.List):
            return [value]
        place, count = targets.elements.index(element), len(targets.elements)
        called = self._called(value)
        values = _returned(called) if called is not None else [value]
        tuples = [x.elements for x in values if isinstance(x, cst.Tuple) and len(x.elements) == count]
        return [x[place].value for x in tuples] if len(tuples) == len(values) else [value]

    def _called(self, node: cst.BaseExpression) -> cst.FunctionDef | None:
        """Return the function of the program that a call runs."""
        name = self.program.defined(node.func) if isinstance(node, cst.Call) else None
        definition = self.script.definition(name or "")
        return definition if isinstance(definition, cst.FunctionDef) else None

    def _passed_metric(self, parameter: cst.Param) -> bool:
        value = self.kinds.arguments(parameter)
        return any(self.is_metric(x) for x in value)

    def _returns_metric(self, call: cst.Call) -> bool:
        definition = self._called(call)
        if definition is None or definition in self._open | self._refuted:
            return False
        self._open.add(definition)
        found = any(self.is_metric(value) for value in _returned(definition))
        self._open.discard(definition)
        if not found:
            self._refuted.add(definition)
        return found


def _returned(function: cst.FunctionDef) -> list[cst.BaseExpression]:
    """Return what a function may return."""
    return [x.value for x in walk(function, cst.Return) if x.value is not None]


def _is_by_name(node: cst.Subscript) -> bool:
    """Tell whether an item is asked for by a name that is written out: `losses["val"]`."""
    match node.slice:
        case [cst.SubscriptElement(slice=cst.Index(value=cst.SimpleString()))]:
            return True
    return False
