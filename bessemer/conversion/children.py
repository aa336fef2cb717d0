"""What a node of LibCST directly holds, found fast: most of what reading a program costs is this question.

`CSTNode.children` makes a new node each time it is asked, to see what is visited on the way. Which fields
a class of nodes visits, and in which order, does not change, so one visit per class is enough.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache

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


def children(node: cst.CSTNode) -> list[cst.CSTNode]:
    """Return what a node directly holds, in source order, as `node.children` does."""
    kind = type(node)
    names = _fields.get(kind)
    if names is None:
        visitor = _Fields()
        node._visit_and_replace_children(visitor)
        # A format that one f-string does not have is visited in another, and comes last there.
        others = [x.name for x in fields(node)]
        names = _fields[kind] = tuple(dict.fromkeys([*visitor.names, *others]))
    found: list[cst.CSTNode] = []
    for name in names:
        value = getattr(node, name)
        if isinstance(value, cst.CSTNode):
            found.append(value)
        elif type(value) in (tuple, list):
            found += value
    return found


@cache
def is_formatting(kind: type[cst.CSTNode]) -> bool:
    """Tell whether nodes of a class are about how code is set: spaces, comments, brackets, commas."""
    return issubclass(kind, _FORMATTING)


@cache
def may_be_formatting(kinds: tuple[type[cst.CSTNode], ...]) -> bool:
    """Tell whether a search for nodes of these classes must look into formatting too."""
    return any(issubclass(x, kinds) or any(issubclass(kind, x) for kind in kinds) for x in _FORMATTING)
