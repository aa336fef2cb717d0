"""What a node of LibCST directly holds, found fast: most of what reading a program costs is this question.

`CSTNode.children` makes a new node each time it is asked, to see what is visited on the way. Which fields
a class of nodes visits, and in which order, does not change, so one visit per class is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import get_args, get_type_hints

import libcst as cst

_FORMATTING = (
    cst.BaseParenthesizableWhitespace,
    cst.TrailingWhitespace,
    cst.EmptyLine,
    cst.Newline,
    cst.Comment,
    cst.LeftParen,
    cst.RightParen,
    cst.LeftSquareBracket,
    cst.RightSquareBracket,
    cst.LeftCurlyBrace,
    cst.RightCurlyBrace,
    cst.Comma,
    cst.Dot,
    cst.Semicolon,
    cst.Colon,
    cst.AssignEqual,
)


class _Fields(cst.CSTVisitor):
    """Notes the fields of one node in the order in which they are visited, and goes no deeper."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def on_visit_attribute(self, node: cst.CSTNode, attribute: str) -> None:
        self.names.append(attribute)

    def on_visit(self, node: cst.CSTNode) -> bool:
        return False


_fields: dict[type[cst.CSTNode], tuple[str, ...]] = {}
_code_fields: dict[type[cst.CSTNode], tuple[str, ...]] = {}


def children(node: cst.CSTNode) -> list[cst.CSTNode]:
    """Return what a node directly holds, in source order, as `node.children` does."""
    names = _fields.get(type(node))
    return _held(node, _learn(node)[0] if names is None else names)


def code_children(node: cst.CSTNode) -> list[cst.CSTNode]:
    """Return what a node directly holds, in source order, without most of the formatting."""
    names = _code_fields.get(type(node))
    return _held(node, _learn(node)[1] if names is None else names)


def _held(node: cst.CSTNode, names: tuple[str, ...]) -> list[cst.CSTNode]:
    found: list[cst.CSTNode] = []
    for name in names:
        value = getattr(node, name)
        if type(value) in (tuple, list):
            found += value
        elif value is not None and type(value) is not cst.MaybeSentinel:
            found.append(value)
    return found


def _learn(node: cst.CSTNode) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find out which fields of a class hold nodes, and which of them hold code."""
    kind = type(node)
    visitor = _Fields()
    node._visit_and_replace_children(visitor)
    # A format that one f-string does not have is visited in another, and comes last there.
    names = tuple(dict.fromkeys([*visitor.names, *(x.name for x in fields(node))]))
    hints = get_type_hints(kind)
    classes = {name: set(_classes(hints.get(name, cst.CSTNode))) for name in names}
    _fields[kind] = tuple(x for x in names if classes[x])
    _code_fields[kind] = tuple(x for x in names if not all(map(is_formatting, classes[x])))
    return _fields[kind], _code_fields[kind]


def _classes(hint: object) -> Iterator[type[cst.CSTNode]]:
    """Yield the classes of nodes that a type allows."""
    if isinstance(hint, type) and issubclass(hint, cst.CSTNode):
        yield hint
    for inner in get_args(hint):
        yield from _classes(inner)


class Kinds(dict[type[cst.CSTNode], bool]):
    """Tells of each class whether it is one of some, faster than `isinstance` does for abstract classes."""

    def __init__(self, kinds: tuple[type[cst.CSTNode], ...]) -> None:
        super().__init__()
        self.kinds = kinds

    def __missing__(self, kind: type[cst.CSTNode]) -> bool:
        self[kind] = issubclass(kind, self.kinds)
        return self[kind]


@cache
def kinds_of(kinds: tuple[type[cst.CSTNode], ...]) -> Kinds:
    """Return what tells whether a node is of one of these classes: `kinds_of((cst.Name,))[type(node)]`."""
    return Kinds(kinds)


@cache
def is_formatting(kind: type[cst.CSTNode]) -> bool:
    """Tell whether nodes of a class are about how code is set: spaces, comments, brackets, commas."""
    return issubclass(kind, _FORMATTING)


@cache
def may_be_formatting(kinds: tuple[type[cst.CSTNode], ...]) -> bool:
    """Tell whether a search for nodes of these classes must look into formatting too."""
    return any(issubclass(x, kinds) or any(issubclass(kind, x) for kind in kinds) for x in _FORMATTING)
