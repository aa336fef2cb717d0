"""Which names a cell reads, and which it makes, in the order in which it does so when it is run.

What a function reads counts when the function is used, not where it is defined. Branches and loops are read
as if all of them ran, so a name counts as made if it may be.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

GIVEN = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__", "__builtins__"}


@dataclass(frozen=True)
class Body:
    """What a function or class uses of the names outside.

    `reads` and `sets` are what happens when it is called; `later` are the names that the methods of a class
    read, at a time that cannot be seen here.
    """

    reads: frozenset[str] = frozenset()
    sets: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Read:
    """A name is read; `line` is the line in the program's text, from 1."""

    name: str
    line: int


@dataclass(frozen=True)
class Make:
    """A name gets a value; `body` if that is a function or a class."""

    name: str
    line: int
    body: Body | None = None


@dataclass(frozen=True)
class Star:
    """Names come from a module, and which ones cannot be seen."""

    line: int


Event = Read | Make | Star


def events(statement: ast.stmt) -> Iterator[Event]:
    """Yield what a statement does to names, in order."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            held = statement.args
            yield from _reads(*statement.decorator_list, *held.defaults, *(x for x in held.kw_defaults if x))
            yield Make(statement.name, statement.lineno, body_of(statement))
        case ast.ClassDef():
            yield from _reads(
                *statement.decorator_list, *statement.bases, *(x.value for x in statement.keywords)
            )
            yield from _class_level(statement)
            yield Make(statement.name, statement.lineno, body_of(statement))
        case ast.Assign():
            yield from _reads(statement.value)
            yield from _targets(statement.targets, statement.value)
        case ast.AnnAssign():
            if statement.value is not None:
                yield from _reads(statement.value)
                yield from _targets([statement.target], statement.value)
        case ast.AugAssign():
            if isinstance(statement.target, ast.Name):
                yield Read(statement.target.id, statement.lineno)
            yield from _reads(statement.value)
            yield from _targets([statement.target])
        case ast.For() | ast.AsyncFor():
            yield from _reads(statement.iter)
            yield from _targets([statement.target])
            yield from _block(statement.body, statement.orelse)
        case ast.While() | ast.If():
            yield from _reads(statement.test)
            yield from _block(statement.body, statement.orelse)
        case ast.With() | ast.AsyncWith():
            for item in statement.items:
                yield from _reads(item.context_expr)
                yield from _targets([item.optional_vars] if item.optional_vars else [])
            yield from _block(statement.body)
        case ast.Try() | ast.TryStar():
            yield from _tried(statement)
        case ast.Import() | ast.ImportFrom():
            for alias in statement.names:
                if alias.name == "*":
                    yield Star(statement.lineno)
                else:
                    yield Make(alias.asname or alias.name.partition(".")[0], statement.lineno)
        case ast.Delete():
            yield from _reads(*(x for x in statement.targets if not isinstance(x, ast.Name)))
        case _:
            yield from _reads(statement)


def body_of(node: ast.AST) -> Body:
    """Return the names outside of a function or class that its code reads and sets."""
    own = list(_own(node))
    declared = {name for x in own if isinstance(x, ast.Global) for name in x.names}
    stored = {name for x in own for name in _stored(x)}
    inner = [body_of(x) for x in own if isinstance(x, _Scope) and x is not node]
    reads = {x.id for x in own if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load)}
    reads |= {name for body in inner for name in body.reads}
    sets = (stored & declared) | {name for body in inner for name in body.sets}
    if isinstance(node, ast.ClassDef):
        # Methods do not see the names of their class, and only this one runs when it is called.
        first = [x for x in node.body if isinstance(x, ast.FunctionDef) and x.name == "__init__"]
        now = body_of(first[0]) if first else Body()
        later = {name for body in inner for name in body.reads | body.later}
        return Body(now.reads, frozenset(sets), frozenset(later - now.reads - GIVEN))
    later = {name for body in inner for name in body.later}
    local = stored - declared
    return Body(frozenset(reads - local - GIVEN), frozenset(sets), frozenset(later - local - GIVEN))


def _class_level(node: ast.ClassDef) -> Iterator[Event]:
    made: set[str] = set()
    for statement in node.body:
        for event in events(statement):
            if isinstance(event, Read) and event.name not in made:
                yield event
            elif isinstance(event, Make):
                made.add(event.name)


def _block(*blocks: Iterable[ast.stmt]) -> Iterator[Event]:
    for block in blocks:
        for statement in block:
            yield from events(statement)


def _tried(statement: ast.Try | ast.TryStar) -> Iterator[Event]:
    # What fails in a `try` is perhaps meant to: only what it makes counts.
    tried = _block(statement.body)
    caught = bool(statement.handlers)
    yield from (x for x in tried if not (caught and isinstance(x, Read)))
    for handler in statement.handlers:
        if handler.name:
            yield Make(handler.name, handler.lineno)
        yield from _block(handler.body)
    yield from _block(statement.orelse, statement.finalbody)


def _reads(*nodes: ast.AST) -> Iterator[Event]:
    for node in nodes:
        yield from _read(node, frozenset())


def _read(node: ast.AST, local: frozenset[str]) -> Iterator[Event]:
    if isinstance(node, ast.Lambda):
        return  # when it runs, if ever, is not known
    if isinstance(node, _Comprehension):
        targets = {x.id for g in node.generators for x in ast.walk(g.target) if isinstance(x, ast.Name)}
        local |= targets
    if isinstance(node, ast.Name) and node.id not in local:
        if isinstance(node.ctx, ast.Load):
            yield Read(node.id, node.lineno)
        elif isinstance(node.ctx, ast.Store):
            yield Make(node.id, node.lineno)
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.NamedExpr) and child is node.target:
            continue
        yield from _read(child, local)
    if isinstance(node, ast.NamedExpr):
        yield Make(node.target.id, node.lineno)


def _targets(targets: Iterable[ast.expr], value: ast.expr | None = None) -> Iterator[Event]:
    for target in targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield Read(node.id, node.lineno)
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                body = body_of(value) if isinstance(value, ast.Lambda) else None
                yield Make(node.id, node.lineno, body)


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope, nested scopes as one node each."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, _Scope):
            waiting += getattr(node, "decorator_list", [])
            waiting += getattr(node, "bases", [])
        else:
            waiting += list(ast.iter_child_nodes(node))


def _stored(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (x.asname or x.name.partition(".")[0] for x in node.names)
    elif isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name


@dataclass
class Known:
    """The names that exist at a place of the program, and what those that are functions use.

    `later` are the names that methods of classes read that were used so far, each with its class.
    """

    made: set[str] = field(default_factory=set)
    bodies: dict[str, Body] = field(default_factory=dict)
    starred: bool = False
    later: dict[str, str] = field(default_factory=dict)

    def do(self, event: Event) -> list[tuple[str, str]]:
        """Take note of an event; return the names that it needs and that do not exist.

        Each comes with the function that reads it, or "" if it is read at the place itself.
        """
        if isinstance(event, Star):
            self.starred = True
            return []
        if isinstance(event, Make):
            self.made.add(event.name)
            self.bodies.pop(event.name, None)
            if event.body is not None:
                self.bodies[event.name] = event.body
            return []
        return self._needed(event.name, "", set())

    def _needed(self, name: str, through: str, seen: set[str]) -> list[tuple[str, str]]:
        if name in seen or name in GIVEN:
            return []
        seen.add(name)
        if name not in self.made:
            return [(name, through)]
        body = self.bodies.get(name, Body())
        for read in sorted(body.later):
            self.later.setdefault(read, name)
        missing = [x for read in sorted(body.reads) for x in self._needed(read, name, seen)]
        self.made |= body.sets
        return missing
