"""Which expressions are tensors of one number: losses, sums and means, and what is computed from these alone.

Followed through variables, attributes of `self`, functions and modules of the same file. What cannot be
followed is no scalar, but for a variable on which `backward()` is called without a gradient: that fails for
anything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property

import libcst as cst

from bessemer.conversion.modernise.base import Code
from bessemer.conversion.syntax import argument, literal_text, method_named, self_parameter, walk, walk_own

_LOSS_CLASS = re.compile(r"torch\.nn\.(?:modules\.loss\.)?\w*Loss(?:2d)?$")
_LOSS_FUNCTION = re.compile(
    r"torch\.nn\.functional\.(?:\w*_loss|cross_entropy|binary_cross_entropy\w*|kl_div)$"
)
_OVER_ALL = frozenset({"mean", "sum", "max", "min", "prod", "norm", "std", "var", "median"})
_OF_TWO = frozenset({"torch.dot", "torch.dist"})
# What keeps the number of elements.
_KEEPS = frozenset(
    {"cpu", "cuda", "detach", "clone", "float", "double", "half", "to", "type", "contiguous", "abs", "neg"}
    | {"sqrt", "exp", "log", "pow", "sigmoid", "tanh", "mul", "div", "requires_grad_"}
)
_KEEPING_CALLS = frozenset(
    {"torch.autograd.Variable", "torch.sqrt", "torch.exp", "torch.log", "torch.abs", "torch.neg"}
)
_RETAINS = frozenset({"retain_graph", "retain_variables", "create_graph"})
_DEPTH = 12


class Scalars:
    """Answers whether an expression of a file is a tensor of one number."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.program = code.program
        self._asked: set[cst.CSTNode] = set()

    def is_one(self, node: cst.BaseExpression, depth: int = _DEPTH) -> bool:
        """Tell whether an expression surely is a tensor that holds one number."""
        if depth == 0 or node in self._asked:
            return False
        self._asked.add(node)
        try:
            return self._is_one(node, depth - 1)
        finally:
            self._asked.discard(node)

    def _is_one(self, node: cst.BaseExpression, depth: int) -> bool:
        match node:
            case cst.Name():
                return self._variable(node, list(self._values(node)), self._backward_on(node), depth)
            case cst.Attribute(attr=cst.Name("data" | "grad")):
                return self.is_one(node.value, depth)
            case cst.Attribute():
                owner = self.program.enclosing(node, cst.ClassDef)
                if owner is None or not self._is_self(node.value):
                    return False
                return self._variable(
                    node, list(self._kept(owner, node.attr.value)), self._backward_on(node, owner), depth
                )
            case cst.UnaryOperation(operator=cst.Minus()):
                return self.is_one(node.expression, depth)
            case cst.BinaryOperation(operator=cst.Add() | cst.Subtract() | cst.Multiply() | cst.Divide()):
                sides = (node.left, node.right)
                ones = [self.is_one(x, depth) for x in sides]
                plain = [one or self._is_number(x, depth) for x, one in zip(sides, ones, strict=True)]
                return any(ones) and all(plain)
            case cst.IfExp():
                return self.is_one(node.body, depth) and self.is_one(node.orelse, depth)
            case cst.Call():
                return self._call(node, depth)
        return False

    # Variables

    def _variable(
        self,
        node: cst.BaseExpression,
        values: list[cst.BaseExpression | None],
        backward: bool,
        depth: int,
    ) -> bool:
        """Judge a variable by all values that it is given; None is one that is not seen."""
        ones: list[cst.BaseExpression] = []
        others: list[cst.BaseExpression | None] = []
        for value in values:
            if value is not None and self.is_one(value, depth):
                ones.append(value)
            elif value is None or not self._is_number(value, depth):
                others.append(value)
        if not others:
            return bool(ones) or (backward and bool(values))
        # A value that is reduced to one number later in the same variable was no number before.
        code = self.program.code(node)
        reduced = any(self._mentions(x, code) for x in ones if not isinstance(x, cst.BinaryOperation))
        return backward and not reduced

    def _mentions(self, node: cst.CSTNode, code: str) -> bool:
        return any(self.program.code(x) == code for x in walk(node, cst.Name, cst.Attribute))

    def _values(self, name: cst.Name) -> Iterator[cst.BaseExpression | None]:
        for bound in self.program.bindings(name):
            yield self._given(bound)

    def _given(self, target: cst.CSTNode) -> cst.BaseExpression | None:
        """Return what an assignment gives to a target that it names."""
        holder = self.program.parents.get(target)
        if isinstance(holder, cst.AugAssign | cst.AnnAssign):
            return holder.value
        if isinstance(holder, cst.AssignTarget):
            statement = self.program.parent(holder)
            return statement.value if isinstance(statement, cst.Assign) else None
        if isinstance(holder, cst.Element):
            return self._unpacked(target, holder)
        return None

    def _unpacked(self, target: cst.CSTNode, element: cst.Element) -> cst.BaseExpression | None:
        """Return the part of a tuple that goes to a target: of one that is written out, or returned."""
        targets = self.program.parent(element)
        holder = self.program.parents.get(targets)
        if not isinstance(targets, cst.Tuple | cst.List) or not isinstance(holder, cst.AssignTarget):
            return None
        statement = self.program.parent(holder)
        place = next(i for i, x in enumerate(targets.elements) if x is element)
        assert isinstance(statement, cst.Assign)
        value = statement.value
        if isinstance(value, cst.Call):
            returned = self._returned(value)
            value = returned[0] if len(returned) == 1 else value
        if isinstance(value, cst.Tuple) and len(value.elements) == len(targets.elements):
            return value.elements[place].value
        return None

    def _is_self(self, node: cst.BaseExpression) -> bool:
        function = self.program.enclosing(node, cst.FunctionDef)
        return isinstance(node, cst.Name) and function is not None and self_parameter(function) == node.value

    def _kept(self, owner: cst.ClassDef, name: str) -> Iterator[cst.BaseExpression | None]:
        """Yield what a class assigns to an attribute of `self`."""
        for target in self.code.every(cst.Attribute):
            if target.attr.value != name or not self.program.is_store(target):
                continue
            if self._is_self(target.value) and owner in self.program.ancestors(target):
                yield self._given(target)

    def _backward_on(self, node: cst.BaseExpression, owner: cst.ClassDef | None = None) -> bool:
        """Tell whether `node.backward()` is called without a gradient, in the same function or class."""
        around = owner or self.program.enclosing(node, cst.FunctionDef) or self.program.module
        code = self.program.code(node)
        return any(
            around is self.program.module or around in self.program.ancestors(call)
            for call in self._backwards.get(code, ())
        )

    @cached_property
    def _backwards(self) -> dict[str, list[cst.Call]]:
        """Calls of `backward()` without a gradient, by what goes backward."""
        found: dict[str, list[cst.Call]] = {}
        for call in self.code.calls():
            func = call.func
            if (
                isinstance(func, cst.Attribute)
                and func.attr.value == "backward"
                and all(x.keyword is not None and x.keyword.value in _RETAINS for x in call.args)
            ):
                found.setdefault(self.program.code(func.value), []).append(call)
        return found

    # Calls

    def _call(self, call: cst.Call, depth: int) -> bool:
        full = self.code.called(call)
        if _LOSS_FUNCTION.match(full):
            return _reduces(call)
        if full.startswith("torch.") and full.removeprefix("torch.") in _OVER_ALL:
            return len(call.args) == 1 and call.args[0].keyword is None
        if full in _OF_TWO:
            return True
        if full in _KEEPING_CALLS:
            return bool(call.args) and self.is_one(call.args[0].value, depth)
        if self.is_made(call.func, self._makes_criterion, depth):
            return True
        func = call.func
        if isinstance(func, cst.Attribute) and not full:
            if func.attr.value in _OVER_ALL and self._is_over_all(call, func):
                return True
            if func.attr.value in _KEEPS and not self._is_self(func.value):
                return self.is_one(func.value, depth)
        returned = self._returned(call)
        return bool(returned) and all(self.is_one(x, depth) for x in returned)

    def _is_over_all(self, call: cst.Call, func: cst.Attribute) -> bool:
        if func.attr.value == "norm":
            return len(call.args) < 2 and all(x.keyword is None or x.keyword.value == "p" for x in call.args)
        return not call.args

    def is_made(
        self, node: cst.BaseExpression, is_maker: Callable[[cst.Call], bool], depth: int = _DEPTH
    ) -> bool:
        """Tell whether an expression surely is what such a call makes, perhaps moved to another device."""
        if depth <= 0:
            return False
        if isinstance(node, cst.Call):
            if is_maker(node):
                return True
            func = node.func
            moved = isinstance(func, cst.Attribute) and func.attr.value in _KEEPS
            return moved and isinstance(func, cst.Attribute) and self.is_made(func.value, is_maker, depth - 1)
        if isinstance(node, cst.Name):
            values = list(self._values(node))
        elif isinstance(node, cst.Attribute) and self._is_self(node.value):
            owner = self.program.enclosing(node, cst.ClassDef)
            values = list(self._kept(owner, node.attr.value)) if owner is not None else []
        else:
            return False
        return bool(values) and all(x is not None and self.is_made(x, is_maker, depth - 1) for x in values)

    def _makes_criterion(self, call: cst.Call) -> bool:
        """Tell whether a call makes one of torch's losses that give one number for a batch."""
        return bool(_LOSS_CLASS.match(self.code.called(call))) and _reduces(call)

    def _returned(self, call: cst.Call) -> list[cst.BaseExpression]:
        """Return what a function of the file, or the `forward` of a module of it, may return."""
        function = self._function(call.func)
        if function is None or any(walk_own(function, cst.Yield)):
            return []
        found = [x.value for x in walk_own(function, cst.Return)]
        return [x for x in found if x is not None] if None not in found else []

    def _function(self, node: cst.BaseExpression) -> cst.FunctionDef | None:
        if isinstance(node, cst.Attribute) and self._is_self(node.value):
            owner = self.program.enclosing(node, cst.ClassDef)
            return method_named(owner, node.attr.value) if owner is not None else None
        if not isinstance(node, cst.Name):
            return None
        bound = self.program.bindings(node)
        if len(bound) != 1:
            return None
        if isinstance(bound[0], cst.FunctionDef):
            return bound[0]
        made = self._given(bound[0])
        if isinstance(made, cst.Call) and isinstance(made.func, cst.Name):
            classes = self.program.bindings(made.func)
            if len(classes) == 1 and isinstance(classes[0], cst.ClassDef):
                return method_named(classes[0], "forward")
        return None

    # Python's own numbers

    def _is_number(self, node: cst.BaseExpression, depth: int) -> bool:
        """Tell whether an expression surely is a number of Python's own, or an option."""
        if depth <= 0:
            return False
        match node:
            case cst.Integer() | cst.Float():
                return True
            case cst.UnaryOperation():
                return self._is_number(node.expression, depth - 1)
            case cst.BinaryOperation():
                return self._is_number(node.left, depth - 1) and self._is_number(node.right, depth - 1)
            case cst.Call(func=cst.Name("len" | "float" | "int")):
                return True
            case cst.Call(func=cst.Attribute(attr=cst.Name("item" | "size"))):
                return True
            case cst.Attribute(
                value=cst.Name("args" | "opt" | "opts" | "config" | "cfg" | "params" | "hparams")
            ):
                return True
            case cst.Name():
                values = list(self._values(node))
                return bool(values) and all(x is not None and self._is_number(x, depth - 1) for x in values)
        return False


def _reduces(call: cst.Call) -> bool:
    """Tell whether a loss is reduced over its batch, as it is unless something else is asked for."""
    reduce = argument(call, "reduce")
    reduction = argument(call, "reduction")
    if reduction is not None and literal_text(reduction) not in ("mean", "sum", "elementwise_mean"):
        return False
    return reduce is None or (isinstance(reduce, cst.Name) and reduce.value == "True")
