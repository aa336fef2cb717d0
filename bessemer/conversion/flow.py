"""Liveness over statements: what a block reads before it has set it, and what is read after it.

All answers err on the same side: a name is called live when it may be. That is safe for every use
the converter makes of it: a value carried needlessly costs nothing, a value forgotten is a wrong
number after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.program import Program
from bessemer.conversion.syntax import statements, walk

Loop = cst.For | cst.While


@dataclass(frozen=True)
class Effect:
    """What running some code does to names.

    `exposed`: may be read before the code has set them. `definite`: surely set when the code ends.
    `leaves`: the code never reaches its end (return, raise, break, continue).
    """

    exposed: frozenset[str] = frozenset()
    definite: frozenset[str] = frozenset()
    leaves: bool = False

    def then(self, following: Effect) -> Effect:
        """Return the effect of this code and then the other."""
        if self.leaves:
            return self
        return Effect(
            self.exposed | unset(following.exposed, self.definite),
            self.definite | following.definite,
            following.leaves,
        )

    def either(self, other: Effect) -> Effect:
        """Return the effect of one or the other."""
        if self.leaves or other.leaves:
            stays = other if self.leaves else self
            definite = stays.definite if not stays.leaves else self.definite & other.definite
        else:
            definite = self.definite & other.definite
        return Effect(self.exposed | other.exposed, definite, self.leaves and other.leaves)


def unset(names: frozenset[str], definite: frozenset[str]) -> frozenset[str]:
    """Return the names that are not among those surely set; who sets `x` sets `x.y` with it."""
    return frozenset(x for x in names if x not in definite and x.partition(".")[0] not in definite)


class Flow:
    """Effects and liveness inside one function of a program."""

    def __init__(self, program: Program, function: cst.FunctionDef) -> None:
        self._program = program
        self._function = function

    def stored(self, *nodes: cst.CSTNode) -> frozenset[str]:
        """Return the names that may be set somewhere in these nodes."""
        names = (name for node in nodes for name in walk(node, cst.Name))
        found = {x.value for x in names if self._program.is_store(x) and not self._program.is_comprehended(x)}
        inner = (x for node in nodes for x in walk(node, cst.FunctionDef, cst.ClassDef))
        return frozenset(found | {x.name.value for x in inner})

    def loaded(self, *nodes: cst.CSTNode) -> frozenset[str]:
        """Return the names that may be read somewhere in these nodes."""
        names = (name for node in nodes for name in walk(node, cst.Name))
        read = {x.value for x in names if self._program.is_load(x) and not self._program.is_comprehended(x)}
        augmented = (x.target for node in nodes for x in walk(node, cst.AugAssign))
        return frozenset(read | {x.value for x in augmented if isinstance(x, cst.Name)})

    def effect(self, block: Sequence[cst.CSTNode]) -> Effect:
        """Return the effect of statements that run one after the other."""
        total = Effect()
        for statement in block:
            total = total.then(self._statement(statement))
        return total

    def body(self, suite: cst.BaseSuite) -> Effect:
        """Return the effect of the body of a compound statement."""
        return self.effect(suite.body if isinstance(suite, cst.BaseSuite) else ())

    def live_after(self, statement: cst.BaseStatement) -> frozenset[str]:
        """Return the names that may be read after a statement has ended, before they are set again."""
        block, index, owner = self._block(statement)
        rest = self.effect(block[index + 1 :])
        if owner is self._function:
            return rest.exposed
        outer = self.live_after(self._program.statement(owner))
        if isinstance(owner, cst.For | cst.While):
            outer |= self._again(owner)
        if isinstance(owner, cst.Try | cst.TryStar):
            outer |= self.loaded(*owner.handlers, *([owner.finalbody] if owner.finalbody else []))
        # `break` and `continue` may skip what follows, so nothing that follows can be counted on
        # to set a name first, unless the rest of the block is straight.
        sure = frozenset() if self._jumps(block[index + 1 :]) else rest.definite
        return rest.exposed | unset(outer, sure)

    def carried(self, loop: Loop) -> frozenset[str]:
        """Return the names whose value crosses from one iteration of a loop into a later one."""
        head = [loop.test] if isinstance(loop, cst.While) else []
        targets = self.stored(loop.target) if isinstance(loop, cst.For) else frozenset()
        exposed = unset(self.effect([*head, *_suite(loop.body)]).exposed, targets)
        return self.stored(loop.body) & exposed

    def set_before(self, statement: cst.BaseStatement) -> frozenset[str]:
        """Return the names that are surely set when a statement begins (parameters included)."""
        block, index, owner = self._block(statement)
        here = self.effect(block[:index]).definite
        if owner is self._function:
            return here | {x.name.value for x in walk(self._function.params, cst.Param)}
        holder = self._program.statement(owner)
        if isinstance(owner, cst.For):
            here |= self.stored(owner.target)
        if isinstance(owner, cst.With):
            here |= self._statement_with_names(owner)
        return here | self.set_before(holder)

    def _statement_with_names(self, block: cst.With) -> frozenset[str]:
        return self.stored(*(item.asname for item in block.items if item.asname is not None))

    def _again(self, loop: Loop) -> frozenset[str]:
        head = [loop.test] if isinstance(loop, cst.While) else []
        targets = self.stored(loop.target) if isinstance(loop, cst.For) else frozenset()
        return unset(self.effect([*head, *_suite(loop.body)]).exposed, targets)

    def _block(self, statement: cst.CSTNode) -> tuple[Sequence[cst.CSTNode], int, cst.CSTNode]:
        """Return the block that a statement is in, its place there, and what the block belongs to."""
        suite = self._program.parent(statement)
        while isinstance(suite, cst.If):  # an `elif` hangs on the `if` before it
            statement, suite = suite, self._program.parent(suite)
        block = _suite(suite)
        index = next(i for i, x in enumerate(block) if x is statement)
        return block, index, self._program.parent(suite)

    def _jumps(self, block: Sequence[cst.CSTNode]) -> bool:
        return any(any(walk(x, cst.Break, cst.Continue)) for x in block)

    def _statement(self, node: cst.CSTNode) -> Effect:
        match node:
            case cst.SimpleStatementLine() | cst.SimpleStatementSuite():
                return self.effect(node.body)
            case cst.If():
                orelse = self._orelse(node.orelse)
                return self._reads(node.test).then(self.body(node.body).either(orelse))
            case cst.For():
                target = Effect(definite=self.stored(node.target))
                inside = target.then(self.body(node.body))
                return self._reads(node.iter).then(self._maybe(inside)).then(self._orelse(node.orelse))
            case cst.While():
                inside = self._reads(node.test).then(self.body(node.body))
                return self._maybe(inside).then(self._orelse(node.orelse))
            case cst.With():
                names = Effect(definite=self._statement_with_names(node))
                return self._reads(*(x.item for x in node.items)).then(names).then(self.body(node.body))
            case cst.Try() | cst.TryStar():
                return self._try(node)
            case cst.FunctionDef() | cst.ClassDef():
                free = self.loaded(node) - self.stored(node.body)
                free |= self._free_of_nested(node)
                return Effect(exposed=free, definite=frozenset({node.name.value}))
            case cst.Return() | cst.Raise() | cst.Break() | cst.Continue():
                return Effect(self.loaded(node), frozenset(), leaves=True)
            case cst.AugAssign() if isinstance(node.target, cst.Name):
                name = frozenset({node.target.value})
                return Effect(self.loaded(node.value) | name, name)
            case cst.Match():
                return Effect(self.loaded(node))
        return Effect(self.loaded(node), self.stored(node))

    def _free_of_nested(self, node: cst.FunctionDef | cst.ClassDef) -> frozenset[str]:
        """A nested function may read a name of the enclosing one that it also sets by nonlocal."""
        return frozenset(x.name.value for y in walk(node, cst.Nonlocal) for x in y.names)

    def _reads(self, *nodes: cst.CSTNode) -> Effect:
        return Effect(self.loaded(*nodes))

    def _maybe(self, inside: Effect) -> Effect:
        return Effect(inside.exposed)

    def _orelse(self, node: cst.CSTNode | None) -> Effect:
        if node is None:
            return Effect()
        if isinstance(node, cst.Else | cst.Finally):
            return self.body(node.body)
        return self._statement(node)

    def _try(self, node: cst.Try | cst.TryStar) -> Effect:
        inside = self.body(node.body).then(self._orelse(node.orelse))
        exposed = inside.exposed
        handlers = [self.body(handler.body) for handler in node.handlers]
        exposed |= frozenset().union(*(effect.exposed for effect in handlers))
        definite = inside.definite
        for effect in handlers:
            definite = definite if effect.leaves else definite & effect.definite
        final = self._orelse(node.finalbody)
        return Effect(exposed, definite).then(final)


def _suite(suite: cst.CSTNode) -> Sequence[cst.CSTNode]:
    body = statements(suite) if isinstance(suite, cst.BaseSuite) else ()
    if body or not isinstance(suite, cst.SimpleStatementSuite):
        return body
    return suite.body
