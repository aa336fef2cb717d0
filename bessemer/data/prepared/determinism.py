"""Is what a data set returns for an index always the same? Proved by reading the code that would run.

Starting at `__getitem__` of the live data set, every function is read that it can come to: names are looked
up where Python would find them, `self.transform` in the object that is there, so a transform that was not
given counts for nothing. The proof fails, with file, line and reason, at anything that draws random
numbers, asks the clock, changes what outlives the call, or cannot be read. Trusted are the libraries in
`TRUSTED`, except for what draws (`DRAWS`). Methods of values whose origin is unknown count as those that
strings, containers, arrays, tensors, images, paths and files have.

What is not proved is not wrong: such samples are made anew in each pass, as the research code has it.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import importlib
import inspect
import os
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bessemer.data.prepared.trusted import (
    DRAWS,
    GENERATORS,
    KNOWN_METHODS,
    OS_FINE,
    PLAIN,
    REFUSED,
    REFUSED_BUILTINS,
    TRUSTED,
    is_random,
    is_read,
)

# What an object of the program may be asked to do without its name being written.
_IMPLICIT = (
    "__getitem__",
    "__call__",
    "__len__",
    "__iter__",
    "__next__",
    "__contains__",
    "__getattr__",
    "forward",
)
_MAX_REASONS = 5


@dataclass(frozen=True)
class Examined:
    """What came of reading.

    Attributes:
        reasons: why it is not proved that equal indices give equal samples; empty if it is.
        code: SHA-256 of all code that was read and of the versions of the libraries it rests on (hex).
    """

    reasons: tuple[str, ...]
    code: str


def examine(subject: Any) -> Examined:
    """Read all that `subject[index]` of a data set, or `subject(row)` of a function, can come to."""
    reader = _Reader()
    if inspect.isroutine(subject):
        reader.callable(subject, "")
    else:
        reader.object(subject, type(subject).__qualname__)
    reader.finish()
    reasons = [f"{place} {text}" for place, text in reader.reasons.items()]
    return Examined(tuple(reasons[:_MAX_REASONS]), reader.digest())


class _Reader:
    """Follows live objects and their code; see the module."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._roots: set[str] = set()
        self._seen: set[tuple[Any, int]] = set()
        self._alive: list[Any] = []
        self._methods_asked: dict[str, str] = {}
        self._methods_read: set[str] = set()
        self._owners: list[Any] = []

    def refuse(self, place: str, text: str) -> None:
        """Note why the proof fails; the first reason at a place is enough."""
        self.reasons.setdefault(place, text)

    def finish(self) -> None:
        """Read the methods whose names were called on values of unknown origin."""
        done = -1
        while done != len(self._seen):
            done = len(self._seen)
            for owner in list(self._owners):
                for name in list(self._methods_asked):
                    self._method(owner, name)
        for name, place in self._methods_asked.items():
            if name in DRAWS and name not in self._methods_read:
                self.refuse(place, f"calls .{name}(), which may draw random numbers")
            elif name not in KNOWN_METHODS and name not in self._methods_read:
                self.refuse(place, f"calls .{name}() of something that is not known")

    def digest(self) -> str:
        """Hash the code that was read."""
        parts = sorted(self._texts.items())
        versions = sorted((root, _version(root)) for root in self._roots)
        return hashlib.sha256(repr((parts, versions)).encode()).hexdigest()

    def object(self, value: Any, place: str) -> None:
        """Read what a value can do when it is used."""
        if isinstance(value, GENERATORS):
            self.refuse(place, "is a random generator")
        elif isinstance(value, PLAIN) or not self._is_new(value):
            return
        elif isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                self._items(value.reshape(-1), place)
        elif isinstance(value, types.ModuleType):
            self._module(value, place)
        elif isinstance(value, list | tuple | set | frozenset):
            self._items(value, place)
        elif isinstance(value, Mapping):
            self._items(value.values(), place)
        elif callable(value) and (inspect.isroutine(value) or isinstance(value, type | functools.partial)):
            self.callable(value, place)
        elif _root(type(value)) in TRUSTED and not is_read(type(value).__module__):
            if isinstance(value, torch.nn.Module):
                self.refuse(place, f"is a model ({type(value).__qualname__})")
            self._roots.add(_root(type(value)))
        else:
            self._owners.append(value)
            for name in _IMPLICIT:
                self._method(value, name)

    def callable(self, value: Any, place: str) -> None:
        """Read what runs when a value is called."""
        if isinstance(value, functools.partial):
            self.callable(value.func, place)
            self._items([*value.args, *value.keywords.values()], place)
            return
        if isinstance(value, types.MethodType):
            if isinstance(value.__func__, types.FunctionType):
                self._function(value.__func__, value.__self__)
            else:
                self.callable(value.__func__, place)
            return
        if isinstance(value, functools._lru_cache_wrapper):
            value = value.__wrapped__
        name, root = getattr(value, "__name__", ""), _root(value)
        module = str(getattr(value, "__module__", ""))
        draws = (name in DRAWS and root in TRUSTED) or is_random(module)
        if root in REFUSED or draws:
            self.refuse(place, f"uses {root}.{name}")
        elif root in TRUSTED and not is_read(module):
            if root == "builtins" and name in REFUSED_BUILTINS:
                self.refuse(place, f"calls {name}()")
            self._roots.add(root)
        elif isinstance(value, type):
            # What it is made with and all that it can do: objects of it are values of unknown origin.
            for method in _own_functions(value):
                self._methods_read.add(method.__name__)
                self._function(method, value)
        elif isinstance(value, types.FunctionType):
            self._function(value, None)
        else:
            self.refuse(place, f"calls {name or type(value).__name__}, whose code cannot be read")

    def _items(self, values: Any, place: str) -> None:
        for value in values:
            if not isinstance(value, PLAIN):
                self.object(value, place)

    def _module(self, module: types.ModuleType, place: str) -> None:
        root = module.__name__.partition(".")[0]
        if root in REFUSED or is_random(module.__name__):
            self.refuse(place, f"uses the module {module.__name__}")
        self._roots.add(root)

    def _method(self, owner: Any, name: str) -> None:
        found = inspect.getattr_static(type(owner), name, None)
        function = getattr(found, "__func__", found)
        if isinstance(found, property | functools.cached_property):
            function = found.fget if isinstance(found, property) else found.func
        if not isinstance(function, types.FunctionType):
            return
        if _root(function) in TRUSTED and not is_read(str(function.__module__)):
            return
        self._methods_read.add(name)
        self._function(function, None if isinstance(found, staticmethod) else owner)

    def _function(self, function: types.FunctionType, owner: Any) -> None:
        if (function.__code__, id(owner)) in self._seen:
            return
        self._seen.add((function.__code__, id(owner)))
        self._alive += [function, owner]
        where = function.__qualname__
        try:
            text = textwrap.dedent(inspect.getsource(function))
            tree = ast.parse(text)
        except (OSError, TypeError, SyntaxError):
            tree, text = None, ""
        if tree is None:
            self.refuse(where, "has code that cannot be read")
            return
        file = Path(function.__code__.co_filename)
        self._texts[f"{file.name}:{where}"] = ast.unparse(tree)
        self._roots.add(_root(function))
        names = _names_of(function)
        first = function.__code__.co_firstlineno
        scope = _Scope(self, names, owner, _self_name(function), f"{where} ({file.name}:", first)
        scope.read(_body_of(function, tree), set(function.__code__.co_varnames))

    def _is_new(self, value: Any) -> bool:
        key = ("object", id(value))
        if key in self._seen:
            return False
        self._seen.add(key)
        # Kept, so that no other object gets its identity.
        self._alive.append(value)
        return True


class _Scope:
    """Reads one function."""

    def __init__(
        self, reader: _Reader, names: Callable[[str], Any], owner: Any, self_name: str, where: str, first: int
    ) -> None:
        self._reader = reader
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
                case ast.Attribute() | ast.Name() if isinstance(node.ctx, ast.Load) and id(node) not in inner:
                    self._chain(node, local, is_called=id(node) in called)
                case ast.Attribute() | ast.Subscript() if not isinstance(node.ctx, ast.Load):
                    base = _root_name(node)
                    if base is not None and (base == self._self or base not in local):
                        self._reason(node, f"changes {ast.unparse(node)}, which outlives the call")
                case _:
                    pass

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
                self._reader.object(self._owner, place)
                return
            value, parts = self._own(parts[0], place), parts[1:]
        elif isinstance(base, ast.Name) and base.id not in local:
            value = self._names(base.id)
            if value is _UNKNOWN:
                self._reader.refuse(place, f"uses {base.id}, which is not known")
                return
        else:
            value = _UNKNOWN
        while parts and value is not _UNKNOWN and isinstance(value, types.ModuleType | type):
            if isinstance(value, types.ModuleType):
                self._reader.object(value, place)
                if value is os and parts[0] not in OS_FINE:
                    self._reader.refuse(place, f"uses os.{parts[0]}")
                    return
            value, parts = getattr(value, parts[0], _UNKNOWN), parts[1:]
        if parts and is_called:
            # A method of a value: of one that is known, or of one that came from anywhere.
            self._reader._methods_asked.setdefault(parts[-1], place)
        elif parts and parts[-1] in DRAWS:
            self._reader.refuse(place, f"uses .{parts[-1]}, which may draw random numbers")
        if value is not _UNKNOWN:
            self._reader.object(value, place)

    def _own(self, name: str, place: str) -> Any:
        """Return what `self.name` is; a method or property of the program is read at once."""
        attributes = getattr(self._owner, "__dict__", {})
        if not isinstance(self._owner, type) and name in attributes:
            return attributes[name]
        kind = self._owner if isinstance(self._owner, type) else type(self._owner)
        found = inspect.getattr_static(kind, name, _UNKNOWN)
        function = getattr(found, "__func__", found)
        if isinstance(found, property | functools.cached_property):
            function = found.fget if isinstance(found, property) else found.func
        if isinstance(function, types.FunctionType):
            if _root(function) in TRUSTED and not is_read(str(function.__module__)):
                return function
            self._reader._methods_read.add(name)
            self._reader._function(function, None if isinstance(found, staticmethod) else self._owner)
            return _UNKNOWN
        if found is _UNKNOWN:
            # Of an object that is only known by its class, or one that modules of torch keep elsewhere.
            return getattr(self._owner, name, _UNKNOWN) if not isinstance(self._owner, type) else _UNKNOWN
        return found

    def _super(self, name: str) -> None:
        kind = self._owner if isinstance(self._owner, type) else type(self._owner)
        for base in kind.__mro__:
            function = base.__dict__.get(name)
            if isinstance(function, types.FunctionType) and _root(function) not in TRUSTED:
                self._reader._function(function, self._owner)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for name in names:
            try:
                module = importlib.import_module(name)
            except (ImportError, ValueError):
                self._reason(node, f"imports {name}, which is not found")
                continue
            self._reader.object(module, self._place(node))
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                self._reader.object(getattr(module, alias.name, None), self._place(node))

    def _reason(self, node: ast.AST, text: str) -> None:
        self._reader.refuse(self._place(node), text)

    def _place(self, node: ast.AST) -> str:
        return f"{self._where}{self._first + getattr(node, 'lineno', 1) - 1})"


_UNKNOWN: Any = object()


def _names_of(function: types.FunctionType) -> Callable[[str], Any]:
    """Return how a function's free names are looked up, as Python does."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))

    def look_up(name: str) -> Any:
        if name in cells:
            try:
                return cells[name].cell_contents
            except ValueError:
                return _UNKNOWN
        if name in function.__globals__:
            return function.__globals__[name]
        return getattr(builtins, name, _UNKNOWN)

    return look_up


def _body_of(function: types.FunctionType, tree: ast.Module) -> list[ast.AST]:
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


def _self_name(function: types.FunctionType) -> str:
    code = function.__code__
    return code.co_varnames[0] if code.co_argcount and "." in function.__qualname__ else ""


def _own_functions(kind: type) -> Iterator[types.FunctionType]:
    for base in kind.__mro__:
        if _root(base) in TRUSTED and not is_read(base.__module__):
            continue
        for found in base.__dict__.values():
            function = getattr(found, "fget", None) or getattr(found, "__func__", found)
            if isinstance(function, types.FunctionType):
                yield function


def _root(value: Any) -> str:
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    if name is None:  # methods of built-in types
        name = type(getattr(value, "__self__", value)).__module__
    # Many modules of Python have a part in C whose name begins with an underscore.
    return str(name).partition(".")[0].lstrip("_")


def _version(root: str) -> str:
    if root in sys.stdlib_module_names:
        return ".".join(map(str, sys.version_info[:2]))
    try:
        return metadata.version(
            {"PIL": "pillow", "cv2": "opencv-python", "sklearn": "scikit-learn"}.get(root, root)
        )
    except metadata.PackageNotFoundError:
        return ""
