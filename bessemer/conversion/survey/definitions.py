"""What each function and class of a program is for, by what it does, never by what it is called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.codebase import Codebase
from bessemer.conversion.origins import Origins
from bessemer.conversion.survey.classes import CLASS_RULES, by_base
from bessemer.conversion.survey.effects import methods_of
from bessemer.conversion.survey.functions import FUNCTION_RULES
from bessemer.conversion.survey.values import Values, calls_in
from bessemer.conversion.survey.vocabulary import Role, made_by
from bessemer.conversion.syntax import Definition

_PASSED = {
    "collate_fn": Role.COLLATE,
    "worker_init_fn": Role.SEEDING,
    "lr_lambda": Role.SCHEDULER,
    "transform": Role.TRANSFORM,
    "target_transform": Role.TRANSFORM,
    "sampler": Role.SAMPLER,
    "batch_sampler": Role.SAMPLER,
    "compute_metrics": Role.METRIC,
}


@dataclass(frozen=True, eq=False)
class Facts:
    """What a definition does itself: full names of what it calls, and names of methods that it calls."""

    calls: tuple[cst.Call, ...]
    names: frozenset[str]
    methods: frozenset[str]


class Definitions:
    """Answers what a function or class is for. Results are remembered; nothing is changed."""

    def __init__(self, code: Codebase, origins: Origins) -> None:
        self.code = code
        self.origins = origins
        self._known: dict[Definition, Role | None] = {}
        self._open: set[Definition] = set()
        self._facts: dict[cst.CSTNode, Facts] = {}
        self.direct: frozenset[cst.FunctionDef] = frozenset()
        self.stepping: frozenset[cst.FunctionDef] = frozenset()
        self.values = Values(code, origins, self.of)
        self.passed: dict[Definition, Role] = {}
        self.passed = dict(self._find_passed())
        self.stepping = self._find_stepping()
        # What was asked before it was known which functions train is asked again.
        self._known.clear()
        self.values = Values(code, origins, self.of)
        self.started = self._find_started()

    def of(self, definition: Definition) -> Role | None:
        """Return the role of a definition; None if it only helps others."""
        if definition in self._known:
            return self._known[definition]
        if definition in self._open:
            return None
        self._open.add(definition)
        rules = CLASS_RULES if isinstance(definition, cst.ClassDef) else FUNCTION_RULES
        role = next((found for rule in rules if (found := rule(self, definition)) is not None), None)
        self._open.discard(definition)
        self._known[definition] = role
        return role

    def facts(self, node: cst.CSTNode) -> Facts:
        """Return what the code of a node calls."""
        if node not in self._facts:
            calls = calls_in(node)
            names = (self.origins.called(x) for x in calls)
            methods = (x.func.attr.value for x in calls if isinstance(x.func, cst.Attribute))
            self._facts[node] = Facts(tuple(calls), frozenset(x for x in names if x), frozenset(methods))
        return self._facts[node]

    # Training

    def _find_stepping(self) -> frozenset[cst.FunctionDef]:
        """Return the functions in which parameters are updated, by themselves or through what they call."""
        self.direct = frozenset(
            function
            for call in self.code.calls()
            if self.is_step(call) and (function := self.code.around(call)) is not None
        )
        reached = set(self.direct)
        waiting = list(reached)
        while waiting:
            function = waiting.pop()
            callers = [self.code.around(x) for x in self.origins.callers(function)]
            outer = self.code.around(function)
            # A function inside of another one runs with it: the closure that LBFGS is handed.
            for caller in (*callers, outer):
                if caller is not None and caller not in reached:
                    reached.add(caller)
                    waiting.append(caller)
        return frozenset(reached)

    def is_step(self, call: cst.Call) -> bool:
        """Tell whether a call updates parameters, or computes the gradients for it."""
        func = call.func
        if not isinstance(func, cst.Attribute):
            return False
        if func.attr.value == "backward" and self.code.imported(func) is None:
            return True
        return func.attr.value == "step" and self.values.of(func.value) in (Role.OPTIMIZER, Role.SCALER)

    def _find_started(self) -> frozenset[cst.FunctionDef]:
        """Return the functions that running a file calls: from module level, or under the main guard."""
        found = (self.origins.function(x) for x in self.code.calls() if self.code.around(x) is None)
        return frozenset(x for x in found if x is not None and self.code.owner(x) is None)

    def _find_passed(self) -> Iterator[tuple[Definition, Role]]:
        """Yield the functions and classes that are handed over for a purpose, with it."""
        for call in self.code.calls():
            name = self.origins.called(call) or ""
            serves = self._serves_data(call)
            for arg in call.args:
                role = Role.TRANSFORM if serves or name.endswith("transforms.Lambda") else None
                if name.endswith("lr_scheduler.LambdaLR") and arg is not call.args[0]:
                    role = Role.SCHEDULER
                if isinstance(call.func, cst.Attribute) and call.func.attr.value == "apply" and not name:
                    role = Role.MODEL
                if arg.keyword is not None:
                    role = _PASSED.get(arg.keyword.value, role)
                if name.endswith((".Compose", ".RandomApply", ".RandomChoice")):
                    yield from ((x, Role.TRANSFORM) for x in self._meant_in(arg.value))
                elif role is not None:
                    yield from ((x, role) for x in self._meant_in(arg.value))

    def _serves_data(self, call: cst.Call) -> bool:
        """Tell whether a call makes a data set: functions that it gets change samples."""
        meant = self.code.meant(call.func)
        if isinstance(meant, cst.ClassDef):
            return by_base(self, meant) is Role.DATASET
        func = call.func
        if isinstance(func, cst.Attribute) and func.attr.value in ("map", "with_transform", "set_transform"):
            return self.values.of(func.value) is Role.DATASET
        return made_by(self.origins.called(call) or "") is Role.DATASET

    def _meant_in(self, node: cst.BaseExpression) -> Iterator[Definition]:
        """Yield what an argument names: itself, made there, in a list, through a variable, or in a lambda."""
        if isinstance(node, cst.List | cst.Tuple):
            for element in node.elements:
                yield from self._meant_in(element.value)
            return
        if isinstance(node, cst.Lambda):
            yield from (x for y in calls_in(node.body) if (x := self.code.meant(y.func)) is not None)
            return
        for held in (node, *self.origins.of(node)):
            if isinstance(held, cst.List | cst.Tuple):
                yield from self._meant_in(held)
            made: cst.CSTNode = held.func if isinstance(held, cst.Call) else held
            is_made = isinstance(held, cst.Call)
            if isinstance(held, cst.Call) and self.origins.called(held) == "functools.partial" and held.args:
                made, is_made = held.args[0].value, False
            meant = self.code.meant(made)
            named = isinstance(meant, cst.FunctionDef) and not is_made
            if meant is not None and (named or _may_be_passed(meant)):
                yield meant


def _may_be_passed(owner: Definition) -> bool:
    """Tell whether objects of a class can be called, or be asked for an order."""
    return isinstance(owner, cst.ClassDef) and not {"__call__", "__iter__", "forward"}.isdisjoint(
        methods_of(owner)
    )
