"""Is what a data set returns for an index always the same? Proved by reading the code that would run.

Starting at `__getitem__` of the live data set, every function is read that it can come to: names are looked
up where Python would find them, `self.transform` in the object that is there, so a transform that was not
given counts for nothing. The proof fails, with file, line and reason, at anything that draws random
numbers, asks the clock, changes what outlives the call, or cannot be read. Trusted are the libraries in
`trusted.TRUSTED`, except for what draws. Methods of values whose origin is unknown count as those that
strings, containers, arrays, tensors, images, paths and files have.

What is not proved is not wrong: such samples are made anew in each pass, as the research code has it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bessemer.data.prepared.functions_read import (
    UNKNOWN,
    FunctionReader,
    body_of,
    module_of,
    names_of,
    root_of,
    self_name,
)
from bessemer.data.prepared.trusted import (
    GENERATORS,
    KNOWN_METHODS,
    PLAIN,
    REFUSED,
    REFUSED_BUILTINS,
    TRUSTED,
    draws,
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
# More is a library of its own, which nobody trusts because of a proof that long.
_MAX_FUNCTIONS = 1000
_BUILT_IN = (
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.MethodWrapperType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.ClassMethodDescriptorType,
)


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
    try:
        if inspect.isroutine(subject) or isinstance(subject, functools.partial):
            reader.callable(subject, getattr(subject, "__qualname__", "the function"))
        else:
            reader.object(subject, type(subject).__qualname__)
        reader.finish()
    except RecursionError:
        reader.refuse("all", "is nested deeper than is followed")
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
        self.methods_asked: dict[str, str] = {}
        self.methods_read: set[str] = set()
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
                for name in list(self.methods_asked):
                    self._method(owner, name)
        for name, place in self.methods_asked.items():
            if draws(name) and name not in self.methods_read:
                self.refuse(place, f"calls .{name}(), which may draw random numbers")
            elif name not in KNOWN_METHODS and name not in self.methods_read:
                self.refuse(place, f"calls .{name}() of something that is not known")

    def digest(self) -> str:
        """Hash the code that was read."""
        parts = sorted(self._texts.items())
        versions = sorted((root, _version(root)) for root in self._roots)
        return hashlib.sha256(repr((parts, versions)).encode()).hexdigest()

    def object(self, value: Any, place: str) -> None:
        """Read what a value can do when it is used."""
        if value is UNKNOWN:
            return
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
        elif root_of(type(value)) in TRUSTED and not is_read(type(value).__module__):
            if isinstance(value, torch.nn.Module):
                self.refuse(place, f"is a model ({type(value).__qualname__})")
            self._roots.add(root_of(type(value)))
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
        if isinstance(value, types.MethodType) and not isinstance(value.__self__, GENERATORS):
            if isinstance(value.__func__, types.FunctionType):
                self.function(value.__func__, value.__self__)
            else:
                self.callable(value.__func__, place)
            return
        if isinstance(value, functools._lru_cache_wrapper):
            value = value.__wrapped__
        name, root = getattr(value, "__name__", ""), root_of(value)
        module = module_of(value)
        is_drawn = draws(name) or isinstance(getattr(value, "__self__", None), GENERATORS)
        if root in REFUSED or (is_drawn and root in TRUSTED) or is_random(module):
            self.refuse(place, f"uses {root}.{name}")
        elif root in TRUSTED and not is_read(module):
            if root == "builtins" and name in REFUSED_BUILTINS:
                self.refuse(place, f"calls {name}()")
            self._roots.add(root)
        elif isinstance(value, type):
            # What it is made with and all that it can do: objects of it are values of unknown origin.
            for method in _own_functions(value):
                self.methods_read.add(method.__name__)
                self.function(method, value)
        elif isinstance(value, types.FunctionType):
            self.function(value, None)
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
            # A slot of a built-in type, nothing at all, or something with a code of its own.
            if found is not None and not isinstance(found, _BUILT_IN):
                self.callable(found, f"{type(owner).__qualname__}.{name}")
            return
        if root_of(function) in TRUSTED and not is_read(module_of(function)):
            return
        self.methods_read.add(name)
        self.function(function, None if isinstance(found, staticmethod) else owner)

    def function(self, function: types.FunctionType, owner: Any) -> None:
        """Read a function of an owner, once."""
        if (function.__code__, id(owner)) in self._seen:
            return
        self._seen.add((function.__code__, id(owner)))
        self._alive += [function, owner]
        where = function.__qualname__
        file = Path(function.__code__.co_filename)
        first = function.__code__.co_firstlineno
        try:
            # Of the code, not of the function: a decorated one would show what it wraps.
            text = textwrap.dedent(inspect.getsource(function.__code__))
            tree = ast.parse(text)
        except (OSError, TypeError, SyntaxError):
            tree, text = None, ""
        if tree is None:
            self.refuse(where, "has code that cannot be read")
            return
        if len(self._texts) >= _MAX_FUNCTIONS:
            self.refuse("all", f"comes to more than {_MAX_FUNCTIONS} functions")
            return
        self._texts[f"{file.name}:{where}"] = ast.unparse(tree)
        self._roots.add(root_of(function))
        names = names_of(function)
        scope = FunctionReader(self, names, owner, self_name(function), f"{where} ({file.name}:", first)
        place = f"{where} ({file.name}:{first})"
        self._items([*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()], place)
        scope.read(body_of(function, tree), set(function.__code__.co_varnames))

    def _is_new(self, value: Any) -> bool:
        key = ("object", id(value))
        if key in self._seen:
            return False
        self._seen.add(key)
        # Kept, so that no other object gets its identity.
        self._alive.append(value)
        return True


def _own_functions(kind: type) -> Iterator[types.FunctionType]:
    for base in kind.__mro__:
        if root_of(base) in TRUSTED and not is_read(base.__module__):
            continue
        for found in base.__dict__.values():
            function = getattr(found, "fget", None) or getattr(found, "__func__", found)
            if isinstance(function, types.FunctionType):
                yield function


def _version(root: str) -> str:
    if root in sys.stdlib_module_names:
        return ".".join(map(str, sys.version_info[:2]))
    try:
        return metadata.version(
            {"PIL": "pillow", "cv2": "opencv-python", "sklearn": "scikit-learn"}.get(root, root)
        )
    except metadata.PackageNotFoundError:
        return ""
