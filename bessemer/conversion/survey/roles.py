"""Every definition and variable of a program that has a role in training, with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import libcst as cst

from bessemer.conversion.codebase import Codebase
from bessemer.conversion.origins import Origins
from bessemer.conversion.survey.definitions import Definitions
from bessemer.conversion.survey.vocabulary import Role
from bessemer.conversion.syntax import assigned, is_method, walk

_VARIABLES = frozenset(
    {Role.MODEL, Role.LOSS, Role.OPTIMIZER, Role.SCHEDULER, Role.SCALER, Role.DATASET, Role.SAMPLER}
    | {Role.COLLATE, Role.LOADER, Role.TRANSFORM, Role.ENVIRONMENT, Role.OPTIONS, Role.DEVICE, Role.METRIC}
    | {Role.LOGGING, Role.TRAINING, Role.CHECKPOINTING}
)
_MADE = frozenset({Role.MODEL, Role.OPTIMIZER, Role.SCHEDULER, Role.LOADER, Role.DATASET})
_LITERALS = cst.Integer | cst.Float | cst.SimpleString | cst.ConcatenatedString


@dataclass(frozen=True)
class Named:
    """A definition or variable with a role.

    Attributes:
        file: the file that it is in, relative to the root.
        name: such as `Net`, `Trainer.fit`, `optimizer` or, for an attribute, `self.optimizer`.
        role: what it is for.
        kind: `class`, `function`, `variable` or `attribute`.
        where: `file:line`, or cell and line.
    """

    file: str
    name: str
    role: str
    kind: str
    where: str


class Roles:
    """The roles in a program of one or several files."""

    def __init__(self, code: Codebase) -> None:
        self.code = code
        self.origins = Origins(code)
        self.definitions = Definitions(code, self.origins)
        self.values = self.definitions.values

    def starts_training(self, path: str) -> bool:
        """Tell whether running a file trains: at module level, or by what that calls or hands over."""
        known = self.definitions
        for call in self.code.calls():
            if self.code.around(call) is not None or self.code.paths[self.code.file(call)] != path:
                continue
            handed = (self.code.meant(x.value) for x in call.args)
            meant = [self.origins.function(call), *(x for x in handed if isinstance(x, cst.FunctionDef))]
            if known.is_step(call) or any(x in known.stepping for x in meant):
                return True
        return False

    @cached_property
    def named(self) -> tuple[Named, ...]:
        """Return what has a role, in the order of files and lines; a name with one role, once a file."""
        found: dict[tuple[str, str, str], Named] = {}
        for file, path in self.code.paths.items():
            for name, role, kind, node in (*self._defined(file), *self._variables(file)):
                key = (path, name, role.value)
                if key not in found:
                    found[key] = Named(path, name, role.value, kind, self.code.where(node))
        return tuple(found.values())

    def _defined(self, file: cst.CSTNode) -> Iterator[tuple[str, Role, str, cst.CSTNode]]:
        for node in walk(file, cst.FunctionDef, cst.ClassDef):
            outer = self.code.enclosing(node, cst.FunctionDef, cst.ClassDef)
            name, kind = node.name.value, "class" if isinstance(node, cst.ClassDef) else "function"
            if isinstance(outer, cst.ClassDef) and isinstance(node, cst.FunctionDef):
                trains = self.definitions.of(outer) is Role.TRAINING and is_method(node, outer)
                if not trains or (name.startswith("__") and name != "__call__"):
                    continue
                name = f"{outer.name.value}.{name}"
            elif outer is not None and self._inside_of_a_part(node):
                continue
            role = self.definitions.of(node)
            if role is not None:
                yield name, role, kind, node

    def _inside_of_a_part(self, node: cst.CSTNode) -> bool:
        """Tell whether a node is in a class of its own role, whose insides are no roles of the program."""
        owner = self.code.enclosing(node, cst.ClassDef)
        return owner is not None and self.definitions.of(owner) is not Role.TRAINING

    def _variables(self, file: cst.CSTNode) -> Iterator[tuple[str, Role, str, cst.CSTNode]]:
        for node in walk(file, cst.Name, cst.Attribute):
            if isinstance(node, cst.Attribute):
                is_self = isinstance(node.value, cst.Name) and self._is_self(node.value)
                if not (is_self and self.code.is_store(node)) or self._inside_of_a_part(node):
                    continue
                role = self.values.of(node) or self._stored(node)
                if role in _VARIABLES:
                    yield f"self.{node.attr.value}", role, "attribute", node
                continue
            parent = self.code.parents.get(node)
            is_param = isinstance(parent, cst.Param) and parent.name is node
            if not (is_param or self.code.is_store(node)) or self._inside_of_a_part(node):
                continue
            if isinstance(parent, cst.FunctionDef | cst.ClassDef | cst.Attribute | cst.Arg):
                continue
            if isinstance(parent, cst.Param) and node.value == "self":
                continue
            role = self.values.of(node) or self.constant(node)
            if role in _VARIABLES:
                yield node.value, role, "variable", node

    def _stored(self, node: cst.Attribute) -> Role | None:
        parent = self.code.parents.get(node)
        statement = self.code.parents.get(parent) if parent is not None else None
        return self.values.of(statement.value) if isinstance(statement, cst.Assign) else None

    def _is_self(self, name: cst.Name) -> bool:
        function = self.code.around(name)
        return function is not None and self.code.self_name(function) == name.value

    def constant(self, name: cst.Name) -> Role | None:
        """Return options for a literal that is set once, at module level, and read."""
        if self.code.around(name) is not None or self.code.enclosing(name, cst.ClassDef) is not None:
            return None
        if self.code.enclosing(name, cst.For, cst.While) is not None:
            return None
        pair = assigned(self.code.statement(name))
        if pair is None or len(self.code.bindings(name)) != 1:
            return None
        value = pair[1]
        if isinstance(value, cst.Tuple):
            return Role.OPTIONS if all(self._is_plain(x.value) for x in value.elements) else None
        if isinstance(value, cst.Call):
            return Role.OPTIONS if self._is_set_from_outside(name, value) else None
        while isinstance(value, cst.UnaryOperation):
            value = value.expression
        if isinstance(value, cst.BinaryOperation):
            parts = (value.left, value.right)
            return Role.OPTIONS if all(isinstance(x, _LITERALS) for x in parts) else None
        if isinstance(value, cst.Dict):
            keys = [x.key for x in value.elements if isinstance(x, cst.DictElement)]
            plain = keys and all(isinstance(x, cst.SimpleString) for x in keys)
            return Role.OPTIONS if plain and all(self._is_plain(x.value) for x in value.elements) else None
        if isinstance(value, cst.Name) and value.value in ("True", "False"):
            return Role.OPTIONS
        return Role.OPTIONS if isinstance(value, _LITERALS) and name.value != "__all__" else None

    def _is_set_from_outside(self, name: cst.Name, call: cst.Call) -> bool:
        """Tell whether a value is a path, comes from the environment, or is a file of settings."""
        called = self.code.imported(call.func) or ""
        if called == "pathlib.Path":
            return bool(call.args) and all(isinstance(x.value, _LITERALS) for x in call.args)
        if called in ("os.environ.get", "os.getenv"):
            return True
        return called in ("json.load", "json.loads") and self._configures(name)

    def _configures(self, name: cst.Name) -> bool:
        """Tell whether items of a variable are what parts of the training are made with."""
        for use in walk(self.code.file(name), cst.Subscript):
            held = isinstance(use.value, cst.Name) and use.value.value == name.value
            outer = self.code.enclosing(use, cst.Call) if held else None
            if outer is None:
                continue
            made = self.values.of(outer)
            if made in _MADE or self.code.imported(outer.func) == "builtins.range":
                return True
        return False

    def _is_plain(self, node: cst.BaseExpression) -> bool:
        if isinstance(node, cst.List | cst.Tuple | cst.Dict):
            return all(self._is_plain(x.value) for x in node.elements)
        return isinstance(node, _LITERALS | cst.UnaryOperation) or (
            isinstance(node, cst.Name) and node.value in ("True", "False", "None")
        )
