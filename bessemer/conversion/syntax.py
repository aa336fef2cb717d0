"""Questions about syntax trees that need nothing but the tree: walks, statements, parameters, literals."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar, overload

import libcst as cst

from bessemer.conversion.children import children, code_children, kinds_of, may_be_formatting
from bessemer.conversion.scoping import scopes_in

NodeT = TypeVar("NodeT", bound=cst.CSTNode)
OtherT = TypeVar("OtherT", bound=cst.CSTNode)
ThirdT = TypeVar("ThirdT", bound=cst.CSTNode)
DefinitionT = TypeVar("DefinitionT", cst.FunctionDef, cst.ClassDef)
Definition = cst.FunctionDef | cst.ClassDef


def parents_in(module: cst.Module) -> dict[cst.CSTNode, cst.CSTNode]:
    """Return what directly holds each node of a module."""
    parents: dict[cst.CSTNode, cst.CSTNode] = {}
    waiting: list[cst.CSTNode] = [module]
    while waiting:
        node = waiting.pop()
        held = children(node)
        waiting += held
        for child in held:
            parents[child] = node
    return parents


@overload
def walk(node: cst.CSTNode, kind: type[NodeT], /) -> Iterator[NodeT]: ...
@overload
def walk(node: cst.CSTNode, kind: type[NodeT], other: type[OtherT], /) -> Iterator[NodeT | OtherT]: ...
@overload
def walk(
    node: cst.CSTNode, kind: type[NodeT], other: type[OtherT], third: type[ThirdT], /, *more: type[ThirdT]
) -> Iterator[NodeT | OtherT | ThirdT]: ...
def walk(node: cst.CSTNode, /, *kinds: type[cst.CSTNode]) -> Iterator[cst.CSTNode]:
    """Yield `node` and everything below it that is of one of these kinds, in source order."""
    inside = children if may_be_formatting(kinds) else code_children
    wanted = kinds_of(kinds)
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if wanted[type(current)]:
            yield current
        waiting += reversed(inside(current))


def every(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Yield a node and everything below it, in the same order for each copy of it."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting += children(current)


def free_names(body: Sequence[cst.SimpleStatementLine | cst.BaseCompoundStatement]) -> list[str]:
    """Return the names that statements read and neither define nor find among the builtins."""
    scopes = {x for x in scopes_in(cst.Module(body=body).deep_clone())[0].values() if x is not None}
    missing: dict[str, None] = {}
    for scope in scopes:
        for access in scope.accesses:
            node: cst.CSTNode = access.node
            while isinstance(node, cst.Attribute):
                node = node.value
            if isinstance(node, cst.Name) and not access.referents:
                missing[node.value] = None
    return sorted(missing)


def expressions(node: cst.CSTNode) -> Iterator[cst.BaseExpression]:
    """Yield every expression in a node, itself included, in source order."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, cst.BaseExpression):
            yield current
        waiting += reversed(children(current))


@overload
def walk_own(function: cst.FunctionDef, kind: type[NodeT], /) -> Iterator[NodeT]: ...
@overload
def walk_own(
    function: cst.FunctionDef, kind: type[NodeT], other: type[OtherT], /
) -> Iterator[NodeT | OtherT]: ...
@overload
def walk_own(
    function: cst.FunctionDef, kind: type[NodeT], other: type[OtherT], third: type[ThirdT], /
) -> Iterator[NodeT | OtherT | ThirdT]: ...
def walk_own(function: cst.FunctionDef, /, *kinds: type[cst.CSTNode]) -> Iterator[cst.CSTNode]:
    """Like `walk` over a function's body, but not into functions and classes defined inside it."""

    wanted, closed = kinds_of(kinds), kinds_of((cst.FunctionDef, cst.ClassDef, cst.Lambda))
    waiting: list[cst.CSTNode] = [function.body]
    while waiting:
        current = waiting.pop()
        if wanted[type(current)]:
            yield current
        if not closed[type(current)]:
            waiting += reversed(code_children(current))


def statements(body: cst.BaseSuite | cst.Module) -> Sequence[cst.BaseStatement]:
    """Return the statements of an indented block; a one-line suite (`if x: y`) has none of its own."""
    if isinstance(body, cst.IndentedBlock | cst.Module):
        return body.body
    return ()


def small(statement: cst.CSTNode) -> cst.BaseSmallStatement | None:
    """Return the one small statement of a line, or None if it is a compound or has several."""
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        return statement.body[0]
    return None


def assigned(statement: cst.CSTNode) -> tuple[tuple[cst.BaseExpression, ...], cst.BaseExpression] | None:
    """Return the targets and the value of a plain assignment (`a = b = value`, `a: int = value`)."""
    inner = small(statement)
    if isinstance(inner, cst.Assign):
        return tuple(target.target for target in inner.targets), inner.value
    if isinstance(inner, cst.AnnAssign) and inner.value is not None:
        return (inner.target,), inner.value
    return None


def code_of(node: cst.CSTNode) -> str:
    """Return the source text of a node that belongs to no module, without what is around it."""
    return cst.Module([]).code_for_node(node).strip()


def bound_name(alias: cst.ImportAlias) -> str:
    """Return the name that a part of an import binds: `c` of `a.b as c`, `a` of `a.b`."""
    return alias.evaluated_alias or alias.evaluated_name.partition(".")[0]


def source_module(node: cst.ImportFrom) -> str:
    """Return what `from ... import` names, without the dots of a relative import; may be empty."""
    return code_of(node.module) if node.module is not None else ""


def method_named(owner: cst.ClassDef, name: str) -> cst.FunctionDef | None:
    """Return a method that a class defines itself, in its own block."""
    for statement in owner.body.body:
        if isinstance(statement, cst.FunctionDef) and statement.name.value == name:
            return statement
    return None


def is_method(function: cst.FunctionDef, owner: cst.ClassDef) -> bool:
    """Tell whether a function stands in the block of a class."""
    return any(statement is function for statement in owner.body.body)


def self_parameter(function: cst.FunctionDef) -> str | None:
    """Return what a method calls its own object; None if it has none."""
    own = parameters(function)
    bare = is_decorated(function, "staticmethod", "classmethod")
    return own[0].name.value if own and not bare else None


def is_decorated(function: cst.FunctionDef, *names: str) -> bool:
    """Tell whether one of these plain names is among a function's decorators."""
    return any(isinstance(x.decorator, cst.Name) and x.decorator.value in names for x in function.decorators)


def with_statements(
    definition: DefinitionT, added: Sequence[cst.SimpleStatementLine | cst.BaseCompoundStatement]
) -> DefinitionT:
    """Return a definition with statements at its beginning, behind its docstring."""
    block: cst.BaseSuite = definition.body
    if not added or not isinstance(block, cst.IndentedBlock):
        return definition
    num_before: int = 1 if definition.get_docstring() is not None else 0
    body = [*block.body[:num_before], *added, *block.body[num_before:]]
    return definition.with_changes(body=block.with_changes(body=body))


def parameters(function: cst.FunctionDef) -> tuple[cst.Param, ...]:
    """Return the named parameters of a function, in order, without `*args` and `**kwargs`."""
    held = function.params
    return (*held.posonly_params, *held.params, *held.kwonly_params)


def argument(call: cst.Call, keyword: str, position: int | None = None) -> cst.BaseExpression | None:
    """Return what a call passes as `keyword`, or at `position`, if it passes it in plain sight."""
    for index, arg in enumerate(call.args):
        if arg.star:
            continue
        if arg.keyword is not None and arg.keyword.value == keyword:
            return arg.value
        if arg.keyword is None and index == position:
            return arg.value
    return None


def literal_text(node: cst.BaseExpression | None) -> str | None:
    """Return the value of a string literal, else None."""
    if isinstance(node, cst.SimpleString | cst.ConcatenatedString):
        value = node.evaluated_value
        return value if isinstance(value, str) else None
    return None


def fresh_name(wanted: Sequence[str], taken: Collection[str]) -> str:
    """Return the first of the wanted names that is free, or the last one with a number."""
    for name in wanted:
        if name not in taken:
            return name
    number = 2
    while f"{wanted[-1]}_{number}" in taken:
        number += 1
    return f"{wanted[-1]}_{number}"


def passed(call: cst.Call, name: str, index: int) -> cst.BaseExpression | None:
    """Return what a call gives the parameter of this name and place; None if that cannot be said."""
    positional = 0
    for arg in call.args:
        if arg.star:
            return None
        if arg.keyword is not None:
            if arg.keyword.value == name:
                return arg.value
        else:
            if positional == index:
                return arg.value
            positional += 1
    return None
