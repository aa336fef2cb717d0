"""What an expression holds, in roles: a loader, a model, a loss that is minimised.

Where a value comes from is for `origins` to follow, through files, calls and attributes; here the calls and
literals that it ends at get their role. Containers hold what their items are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import libcst as cst

from bessemer.conversion.codebase import Codebase
from bessemer.conversion.origins import Found, Origins, Path
from bessemer.conversion.survey.vocabulary import FUNCTIONAL_LOSSES, Role, made_by
from bessemer.conversion.syntax import Definition, argument, literal_text, walk, walk_own

_SAME = frozenset(
    {"builtins.iter", "builtins.list", "builtins.tuple", "builtins.reversed", "itertools.cycle"}
    | {
        "copy.deepcopy",
        "copy.copy",
        "torch.compile",
        "torch.jit.script",
        "torch.jit.trace",
        "tqdm.tqdm",
        "tqdm",
    }
    | {"tqdm.tqdm_notebook", "rich.progress.track"}
    | {"torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel", "torch.nn.parallel.DataParallel"}
    | {"torch.nn.utils.spectral_norm", "torch.nn.utils.weight_norm"}
    | {"torch.nn.utils.parametrizations.spectral_norm", "torch.nn.utils.parametrizations.weight_norm"}
)
"""Calls that give what they are given, or something around it that is used in the same way."""

_LOSS_METHODS = frozenset({"mean", "sum", "unsqueeze", "squeeze", "view", "reshape", "float", "clone", "to"})
_DATASET_METHODS = frozenset(
    {"map", "filter", "select", "shuffle", "with_format", "with_transform", "shard", "sort", "batch"}
    | {"train_test_split", "remove_columns", "rename_column", "cast_column", "flatten_indices"}
)
_PARSES = frozenset({"parse_args", "parse_known_args", "parse_intermixed_args"})
_DEVICES = ("cuda", "cpu", "mps", "xpu")
_TUPLES = ("torch.utils.data.random_split", "torch.utils.data.dataset.random_split")
_COMPREHENSIONS = cst.ListComp | cst.SetComp | cst.GeneratorExp


class Values:
    """Answers which role the values of an expression have. Results are remembered; nothing is changed.

    `minimised` are the names on which `backward` is called: what they are bound to is a loss.
    """

    def __init__(
        self, code: Codebase, origins: Origins, of_definition: Callable[[Definition], Role | None]
    ) -> None:
        self.code = code
        self.origins = origins
        self.of_definition = of_definition
        self.minimised = frozenset(self._minimised())
        self._trained: Found | None = None
        self._known: dict[tuple[cst.CSTNode, Path], Role | None] = {}
        self._open: set[tuple[cst.CSTNode, Path]] = set()
        self._cut: set[tuple[cst.CSTNode, Path]] = set()
        self._num_cuts = 0
        self._terms: dict[cst.CSTNode, tuple[frozenset[str], frozenset[str]]] = {}

    def of(self, node: cst.CSTNode, path: Path = ()) -> Role | None:
        """Return the role of an expression, a name that is bound or a parameter; None if it has none."""
        key = (node, path)
        if key in self._known:
            return self._known[key]
        # Within one question what was cut short is not asked again, or cycles would cost without end.
        if key in self._open or key in self._cut:
            self._num_cuts += 1
            return None
        self._open.add(key)
        num_cuts = self._num_cuts
        role = self._direct(node) if not path else None
        if role is None:
            role = common(self._origin(x) for x in self.origins.of(node, path))
        if role is None and isinstance(node, cst.Name):
            role = common(self._bound(x) for x in self.code.bindings(node) if isinstance(x, cst.Name))
        self._open.discard(key)
        # What was found while a cycle was cut may be incomplete, except where the cycle began.
        if not self._open or self._num_cuts == num_cuts or role is not None:
            self._known[key] = role
        else:
            self._cut.add(key)
        if not self._open:
            self._cut.clear()
        return role

    def items(self, node: cst.BaseExpression) -> list[Role | None]:
        """Return the roles of the parts of a tuple, or the one of anything else."""
        if isinstance(node, cst.Tuple | cst.List):
            return [self.of(x.value) for x in node.elements]
        if isinstance(node, cst.Dict):
            return [self.of(x.value) for x in node.elements]
        return [self.of(node)]

    def _direct(self, node: cst.CSTNode) -> Role | None:
        """Return the role of what is named rather than made: a function that is passed around."""
        if isinstance(node, cst.Name | cst.Attribute):
            imported = self.code.imported(node)
            if imported is not None and FUNCTIONAL_LOSSES.match(imported):
                return Role.LOSS
            meant = self.code.meant(node)
            if isinstance(meant, cst.FunctionDef):
                role = self.of_definition(meant)
                return role if role in (Role.LOSS, Role.COLLATE, Role.TRANSFORM, Role.METRIC) else None
        if isinstance(node, cst.Name) and node in self.minimised:
            return Role.LOSS
        function = self.origins.function(node) if isinstance(node, cst.Call) else None
        if function is not None and function.name.value != "__init__":
            return Role.LOSS if self.of_definition(function) is Role.LOSS else None
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
            made = node.func.value
            if node.func.attr.value == "requires_grad_" and self.of(made) is None:
                return Role.MODEL if isinstance(made, cst.Call) else None
        return None

    def trained(self) -> Found:
        """Return the calls that make what optimizers get the parameters of: models, whatever is called."""
        if self._trained is None:
            self._trained = frozenset()
            found: set[cst.CSTNode] = set()
            for call in self.code.calls():
                func = call.func
                if not isinstance(func, cst.Attribute) or func.attr.value != "parameters":
                    continue
                outer = self.code.enclosing(call, cst.Call)
                if outer is not None and made_by(self.origins.called(outer) or "") is Role.OPTIMIZER:
                    found |= self.origins.of(func.value)
            self._trained = frozenset(found)
        return self._trained

    def _origin(self, node: cst.CSTNode) -> Role | None:
        match node:
            case cst.Call():
                return self._call(node) or (Role.MODEL if node in self.trained() else None)
            case cst.BinaryOperation():
                return _loss_in((self.of(node.left), self.of(node.right)))
            case cst.UnaryOperation():
                return _loss_in((self.of(node.expression),))
            case cst.Tuple() | cst.List() | cst.Set() | cst.Dict():
                return common(self.of(x.value) for x in node.elements)
            case cst.ListComp() | cst.SetComp() | cst.GeneratorExp():
                return self.of(node.elt)
            case cst.DictComp():
                return self.of(node.value)
            case cst.SimpleString():
                text = literal_text(node) or ""
                return Role.DEVICE if text.partition(":")[0] in _DEVICES else None
        return None

    def _call(self, call: cst.Call) -> Role | None:
        name = self.origins.called(call)
        if name is not None:
            role = self._imported(call, name)
            if role is not None:
                return role
        meant = self.code.meant(call.func)
        if isinstance(meant, cst.ClassDef):
            role = self.of_definition(meant)
            return role if role is not Role.PREPROCESSING else None
        if isinstance(meant, cst.FunctionDef) and self.code.is_generator(meant):
            role = self.of_definition(meant)
            return role if role is Role.LOADER else None
        return self._method(call)

    def _imported(self, call: cst.Call, name: str) -> Role | None:
        if name in _SAME and call.args:
            return self.of(call.args[0].value)
        if FUNCTIONAL_LOSSES.match(name):
            return Role.LOSS
        if name.startswith("torch.") and _is_true(argument(call, "requires_grad")):
            return Role.MODEL
        return made_by(name)

    def _method(self, call: cst.Call) -> Role | None:
        func = call.func
        if isinstance(func, cst.Attribute):
            method = func.attr.value
            if method in _PARSES:
                return Role.OPTIONS
            receiver = self.of(func.value)
            if receiver is Role.LOSS and method in _LOSS_METHODS:
                return Role.LOSS
            if receiver is Role.SCALER and method == "scale" and call.args:
                return self.of(call.args[0].value)
            if receiver is Role.DATASET and method in _DATASET_METHODS:
                return Role.DATASET
            if receiver is Role.DATASET and isinstance(func.value, cst.Call | cst.Name) and method == "get":
                return Role.DATASET
        return Role.LOSS if self.of(call.func) is Role.LOSS else None

    def _bound(self, name: cst.Name) -> Role | None:
        """Follow a name where `origins` does not go: loops over comprehensions, parts of splits, terms."""
        index: int | None = None
        node: cst.CSTNode = name
        for outer in self.code.ancestors(name):
            if isinstance(outer, cst.Tuple | cst.List):
                index = next(i for i, x in enumerate(outer.elements) if x is node)
            elif isinstance(outer, cst.For | cst.CompFor):
                return self._item(outer.iter, index) if node is outer.target else None
            elif isinstance(outer, cst.Assign):
                if index is not None:
                    return self._part(outer.value, index)
                return self._direct(outer.value) or (Role.LOSS if self._is_term(name) else None)
            elif not isinstance(outer, cst.Element | cst.AssignTarget):
                return None
            node = outer
        return None

    def _is_term(self, name: cst.Name) -> bool:
        """Tell whether a variable is a term of what is minimised, here or by who calls this function."""
        function = self.code.around(name)
        minimised, returned = self._terms_in(function if function is not None else self.code.file(name))
        if name.value in minimised:
            return True
        return function is not None and name.value in returned and self.of_definition(function) is Role.LOSS

    def _terms_in(self, scope: cst.CSTNode) -> tuple[frozenset[str], frozenset[str]]:
        """Return the terms of what is minimised in a function or file, and those of what it returns."""
        if scope not in self._terms:
            minimised: set[str] = set()
            returned: set[str] = set()
            for statement in walk(scope, cst.Assign, cst.Return):
                value = statement.value
                if not isinstance(value, cst.BinaryOperation):
                    continue
                if isinstance(statement, cst.Return):
                    returned |= _terms(value)
                elif any(x.target in self.minimised for x in statement.targets):
                    minimised |= _terms(value)
            self._terms[scope] = frozenset(minimised), frozenset(returned)
        return self._terms[scope]

    def _item(self, source: cst.BaseExpression, index: int | None) -> Role | None:
        """Return the role of what a loop over a container gives."""
        if isinstance(source, cst.Call):
            name = self.origins.called(source)
            if name == "builtins.zip" and index is not None and index < len(source.args):
                return self._item(source.args[index].value, None)
            if name == "builtins.enumerate" and index != 0 and source.args:
                return self._item(source.args[0].value, None)
            func = source.func
            if isinstance(func, cst.Attribute) and func.attr.value in ("items", "values") and index != 0:
                return self._item(func.value, None)
        found = self.origins.of(source)
        containers = cst.List | cst.Tuple | cst.Dict | cst.DictComp | _COMPREHENSIONS
        return self.of(source) if found and all(isinstance(x, containers) for x in found) else None

    def _part(self, value: cst.BaseExpression, index: int) -> Role | None:
        """Return the role of a part of what a call gives."""
        if not isinstance(value, cst.Call):
            return None
        name = self.origins.called(value) or ""
        if name in _TUPLES or name.endswith(".splits"):
            return made_by(name)
        function = self.origins.function(value)
        if function is not None:
            returned = (x.value for x in walk_own(function, cst.Return) if x.value is not None)
            return common(self._part(x, index) for x in returned)
        func = value.func
        if isinstance(func, cst.Attribute) and func.attr.value == "prepare" and index < len(value.args):
            return self.of(value.args[index].value)
        if isinstance(func, cst.Attribute) and func.attr.value in ("parse_known_args",) and index == 0:
            return Role.OPTIONS
        return None

    def _minimised(self) -> Iterable[cst.CSTNode]:
        """Yield the names, wherever they are bound or read, that `backward` is called on."""
        for node in self.code.every(cst.Attribute):
            if not isinstance(node, cst.Attribute) or node.attr.value != "backward":
                continue
            if not isinstance(self.code.parents.get(node), cst.Call):
                continue
            value: cst.BaseExpression = node.value
            if isinstance(value, cst.Call) and isinstance(value.func, cst.Attribute):
                method, receiver = value.func.attr.value, value.func.value
                if method == "scale" and value.args:
                    value = value.args[0].value
                elif method in _LOSS_METHODS:
                    value = receiver
            if isinstance(value, cst.BinaryOperation):
                value = value.left
            if isinstance(value, cst.Name):
                yield value
                for bound in self.code.bindings(value):
                    if isinstance(bound, cst.Name):
                        yield bound


def _terms(node: cst.BaseExpression) -> set[str]:
    """Return the variables that are added up in an expression, alone or times a number or an option."""
    match node:
        case cst.Name():
            return {node.value}
        case cst.BinaryOperation(operator=cst.Add() | cst.Subtract()):
            return _terms(node.left) | _terms(node.right)
        case cst.BinaryOperation(operator=cst.Multiply()):
            factors = cst.Integer | cst.Float | cst.Attribute
            return _terms(node.right) if isinstance(node.left, factors) else set()
        case cst.BinaryOperation(operator=cst.Divide()):
            return _terms(node.left)
    return set()


def common(roles: Iterable[Role | None]) -> Role | None:
    """Return the role that all those have which have any."""
    found = {x for x in roles if x is not None}
    return found.pop() if len(found) == 1 else None


def _loss_in(roles: Iterable[Role | None]) -> Role | None:
    return Role.LOSS if Role.LOSS in set(roles) else None


def _is_true(node: cst.BaseExpression | None) -> bool:
    return isinstance(node, cst.Name) and node.value == "True"


def calls_in(node: cst.CSTNode) -> list[cst.Call]:
    """Return every call in a node."""
    return list(walk(node, cst.Call))
