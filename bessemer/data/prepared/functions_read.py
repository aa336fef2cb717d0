"""Reads one function for the proof of determinism: which names, attributes and methods it comes to."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import os
import types
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from bessemer.data.prepared.trusted import CHANGES, OS_FINE, TRUSTED, draws, is_read

# What nobody knows: a value that was handed over or computed.
UNKNOWN: Any = object()


class Finder(Protocol):
    """Who is told what a function comes to."""

    methods_asked: dict[str, str]
    methods_read: set[str]

    def refuse(self, place: str, text: str) -> None:
        """Note why the proof fails."""

    def object(self, value: Any, place: str) -> None:
        """Read what a value can do when it is used."""

    def function(self, function: types.FunctionType, owner: Any) -> None:
        """Read a function of an owner."""


class FunctionReader:
    """Reads one function.

    Args:
        finder: told what it comes to.
        names: how its free names are looked up.
        owner: the object, or the class, that its first parameter is; None for a plain function.
        self_name: of that parameter, or "".
        where: it stands, up to the line.
        first: its first line.
    """

    def __init__(
        self, finder: Finder, names: Callable[[str], Any], owner: Any, self_name: str, where: str, first: int
    ) -> None:
        self._finder = finder
        self._names = names
        self._owner = owner
        self._self = self_name
        self._where = where
        self._first = first

    def read(self, nodes: list[ast.AST], parameters: set[str]) -> None:
        """Read statements or expressions, functions in them included."""
        everything = [inner for node in nodes for inner in ast.walk(node)]
        local = parameters | set(_bound(everything))
        called = {id(node.func) for node in everything if isinstance(node, ast.Call)}
        inner = {id(node.value) for node in everything if isinstance(node, ast.Attribute)}
        for node in everything:
            match node:
                case ast.Global() | ast.Nonlocal():
                    self._reason(node, f"changes {', '.join(node.names)}, which outlives the call")
                case ast.Import() | ast.ImportFrom():
                    self._import(node)
                case ast.Call():
                    self._call(node, local)
                case ast.Attribute() | ast.Name() if isinstance(node.ctx, ast.Load) and id(node) not in inner:
                    self._chain(node, local, is_called=id(node) in called)
                case ast.Attribute() | ast.Subscript() if not isinstance(node.ctx, ast.Load):
                    base = _root_name(node)
                    if base is not None and (base == self._self or base not in local):
                        self._reason(node, f"changes {ast.unparse(node)}, which outlives the call")
                case _:
                    pass

    def _call(self, node: ast.Call, local: set[str]) -> None:
        """Look at calls that change something or go by a name that is a value."""
        function, arguments = node.func, node.args
        if isinstance(function, ast.Attribute):
            base = _root_name(function.value)
            outlives = base is not None and (base == self._self or base not in local)
            if outlives and function.attr in CHANGES and not self._is_module(base, local):
                self._reason(node, f"changes {ast.unparse(function.value)}, which outlives the call")
        if not isinstance(function, ast.Name) or function.id in local or not arguments:
            return
        if function.id == "next":
            base = _root_name(arguments[0])
            if base is not None and (base == self._self or base not in local):
                self._reason(node, f"takes the next of {ast.unparse(arguments[0])}, which outlives the call")
        if function.id == "getattr" and len(arguments) > 1:
            name = arguments[1]
            if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
                self._reason(node, "asks for an attribute by a name that is not written there")
            elif _root_name(arguments[0]) == self._self and self._owner is not None:
                self._finder.object(self._own(name.value, self._place(node)), self._place(node))
            else:
                self._finder.methods_asked.setdefault(name.value, self._place(node))

    def _is_module(self, name: str | None, local: set[str]) -> bool:
        return name is not None and name not in local and isinstance(self._names(name), types.ModuleType)

    def _chain(self, node: ast.Attribute | ast.Name, local: set[str], is_called: bool) -> None:
        parts: list[str] = []
        base: ast.AST = node
        while isinstance(base, ast.Attribute):
            parts.insert(0, base.attr)
            base = base.value
        place = self._place(node)
        if isinstance(base, ast.Call) and isinstance(base.func, ast.Name) and base.func.id == "super":
            self._super(parts[0])
            return
        if isinstance(base, ast.Name) and base.id == self._self and self._owner is not None:
            if not parts:
                self._finder.object(self._owner, place)
                return
            value, parts = self._own(parts[0], place), parts[1:]
        elif isinstance(base, ast.Name) and base.id not in local:
            value = self._names(base.id)
            if value is UNKNOWN:
                self._finder.refuse(place, f"uses {base.id}, which is not known")
                return
        else:
            value = UNKNOWN
        while parts and value is not UNKNOWN and isinstance(value, types.ModuleType | type):
            if isinstance(value, types.ModuleType):
                self._finder.object(value, place)
                if value is os and parts[0] not in OS_FINE:
                    self._finder.refuse(place, f"uses os.{parts[0]}")
                    return
            value, parts = getattr(value, parts[0], UNKNOWN), parts[1:]
        if parts and is_called:
            # A method of a value: of one that is known, or of one that came from anywhere.
            self._finder.methods_asked.setdefault(parts[-1], place)
        elif parts and draws(parts[-1]):
            self._finder.refuse(place, f"uses .{parts[-1]}, which may draw random numbers")
        if value is not UNKNOWN:
            self._finder.object(value, place)

    def _own(self, name: str, place: str) -> Any:
        """Return what `self.name` is; a method or property of the program is read at once."""
        attributes = getattr(self._owner, "__dict__", {})
        if not isinstance(self._owner, type) and name in attributes:
            return attributes[name]
        kind = self._owner if isinstance(self._owner, type) else type(self._owner)
        found = inspect.getattr_static(kind, name, UNKNOWN)
        function = getattr(found, "__func__", found)
        if isinstance(found, property | functools.cached_property):
            function = found.fget if isinstance(found, property) else found.func
        if isinstance(function, types.FunctionType):
            if root_of(function) in TRUSTED and not is_read(module_of(function)):
                return function
            self._finder.methods_read.add(name)
            self._finder.function(function, None if isinstance(found, staticmethod) else self._owner)
            return UNKNOWN
        if found is UNKNOWN:
            # Of an object that is only known by its class, or one that modules of torch keep elsewhere.
            return getattr(self._owner, name, UNKNOWN) if not isinstance(self._owner, type) else UNKNOWN
        return found

    def _super(self, name: str) -> None:
        kind = self._owner if isinstance(self._owner, type) else type(self._owner)
        for base in kind.__mro__:
            function = base.__dict__.get(name)
            if isinstance(function, types.FunctionType) and root_of(function) not in TRUSTED:
                self._finder.function(function, self._owner)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for name in names:
            try:
                module = importlib.import_module(name)
            except (ImportError, ValueError):
                self._reason(node, f"imports {name}, which is not found")
                continue
            self._finder.object(module, self._place(node))
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                self._finder.object(getattr(module, alias.name, None), self._place(node))

    def _reason(self, node: ast.AST, text: str) -> None:
        self._finder.refuse(self._place(node), text)

    def _place(self, node: ast.AST) -> str:
        return f"{self._where}{self._first + getattr(node, 'lineno', 1) - 1})"


def names_of(function: types.FunctionType) -> Callable[[str], Any]:
    """Return how a function's free names are looked up, as Python does."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))

    def look_up(name: str) -> Any:
        if name in cells:
            try:
                return cells[name].cell_contents
            except ValueError:
                return UNKNOWN
        if name in function.__globals__:
            return function.__globals__[name]
        return getattr(builtins, name, UNKNOWN)

    return look_up


def body_of(function: types.FunctionType, tree: ast.Module) -> list[ast.AST]:
    """Return what runs when the function is called: its body, not its decorators and defaults."""
    first = tree.body[0]
    if function.__name__ != "<lambda>" and isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef):
        return list(first.body)
    # The source of a lambda is the statement that it stands in, maybe with others.
    lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    return list(lambdas) if lambdas else list(tree.body)


def _bound(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name
            case ast.Import() | ast.ImportFrom():
                yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
            case _:
                pass


def _root_name(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def self_name(function: types.FunctionType) -> str:
    """Return what a method calls its object; "" of a plain function."""
    code = function.__code__
    return code.co_varnames[0] if code.co_argcount and "." in function.__qualname__ else ""


def root_of(value: Any) -> str:
    """Return the top package that a value, or what it is of, comes from."""
    # Many modules of Python have a part in C whose name begins with an underscore.
    return module_of(value).partition(".")[0].lstrip("_")


def module_of(value: Any) -> str:
    """Return the module that a value, or what it is of, comes from."""
    if isinstance(value, types.FunctionType):
        # Its own `__module__` is that of the function that it is wrapped around.
        return str(value.__globals__.get("__name__", ""))
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    if name is None:  # methods of built-in types
        name = type(getattr(value, "__self__", value)).__module__
    return str(name)
