"""Where the values that a loop carries are held: one object for each loop, and what goes into it.

A variable moves into its holder from where it got its first value. If that was a plain literal, the
holder takes the line over; else it is made in front of the loop, with the value of that moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.flow import Loop
from bessemer.conversion.program import Program
from bessemer.conversion.script import is_literal
from bessemer.conversion.syntax import assigned, statements

_PLAIN_MAKERS = frozenset(f"builtins.{name}" for name in ("float", "int", "list", "dict", "set")) | {
    "collections.defaultdict",
    "collections.deque",
    "collections.Counter",
}


@dataclass(frozen=True, eq=False)
class Variable:
    """One variable that becomes an attribute: where it is used, and the value it starts with."""

    name: str
    initial: cst.BaseExpression
    occurrences: frozenset[cst.Name]
    removed: cst.BaseStatement | None


@dataclass(frozen=True, eq=False)
class Holder:
    """One `run.totals(...)`, `run.carry(...)` or `run.last(...)`: its name, its variables, where it is made.

    It replaces the statement `at` if that is one of the removed ones, else it goes in front of it.
    """

    kind: str
    name: str
    function: cst.FunctionDef
    at: cst.BaseStatement
    variables: tuple[Variable, ...]
    loop: Loop


@dataclass(frozen=True, eq=False)
class Wish:
    """A variable, the outermost loop that carries it, and the holder it should go to."""

    name: str
    loop: Loop
    kind: str


class Placer:
    """Places holders in the functions of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def place(
        self,
        function: cst.FunctionDef,
        kind: str,
        name: str,
        loop: Loop,
        members: Sequence[Wish],
        wishes: Sequence[Wish],
    ) -> Holder:
        """Decide where a holder is made, and which uses of its variables it takes."""
        starts, at = self._starts(function, loop, members)
        variables = []
        for wish in members:
            uses = self.program.occurrences(wish.name, function)
            start = starts[wish.name]
            end = self._next_start(function, wish, wishes)
            initial = _first_values(start)[wish.name] if start is not None else None
            kept = start if start is not None else at
            taken = [
                use
                for use in uses
                if not (start is not None and within(self.program, use, start))
                and (self.program.before(kept, use) or (start is None and within(self.program, use, at)))
                and (end is None or self.program.before(use, end))
            ]
            value = initial if initial is not None else cst.Name("None" if kind == "last" else wish.name)
            variables.append(Variable(wish.name, value, frozenset(taken), start))
        first = {x.name: self.program.occurrences(x.name, function)[0] for x in members}
        variables.sort(key=lambda x: self.program.place(first[x.name]))
        return Holder(kind, name, function, at, tuple(variables), loop)

    def _starts(
        self, function: cst.FunctionDef, loop: Loop, members: Sequence[Wish]
    ) -> tuple[dict[str, cst.BaseStatement | None], cst.BaseStatement]:
        """Decide which first assignments a holder takes over, and where it is made."""
        starts = {wish.name: self.start(function, loop, wish.name) for wish in members}
        while True:
            plain = [start for start in starts.values() if start is not None]
            whole = len(plain) == len(members)
            at = max(plain, key=self.program.line) if whole and plain else loop
            for name, start in starts.items():
                if start is None:
                    continue
                uses = self.program.occurrences(name, function)
                # A line that sets several variables can only go when all of them do.
                together = {other for other, x in starts.items() if x is start}
                is_shared = not set(_first_values(start)) <= together
                if is_shared or self._used_between(uses, start, at):
                    starts[name] = None
                    break
            else:
                return starts, at

    def start(self, function: cst.FunctionDef, loop: Loop, name: str) -> cst.BaseStatement | None:
        """Return the one plain `name = literal` before a loop, in a block around the loop."""
        stores = [
            x
            for x in self.program.occurrences(name, function)
            if self.program.is_store(x) and self.program.before(x, loop)
        ]
        if not stores:
            return None
        statement = self.program.statement(stores[-1])
        value = _first_values(statement).get(name)
        around = list(self._blocks(loop))
        if statement not in around or value is None or not _is_start(self.program, value):
            return None
        return statement

    def _blocks(self, loop: Loop) -> Iterator[cst.BaseStatement]:
        """Yield the statements of all blocks that a loop is in."""
        for outer in (loop, *self.program.ancestors(loop)):
            suite = self.program.parents.get(outer)
            if isinstance(outer, cst.BaseStatement) and isinstance(suite, cst.BaseSuite):
                yield from statements(suite)
            if isinstance(outer, cst.FunctionDef):
                return

    def _used_between(self, uses: list[cst.Name], start: cst.BaseStatement, at: cst.BaseStatement) -> bool:
        return start is not at and any(
            not within(self.program, use, start)
            and self.program.before(start, use)
            and self.program.before(use, at)
            for use in uses
        )

    def _next_start(
        self, function: cst.FunctionDef, wish: Wish, wishes: Sequence[Wish]
    ) -> cst.BaseStatement | None:
        """Return where the same name begins a new life, for a later loop that stands beside."""
        later = [
            other.loop
            for other in wishes
            if other.name == wish.name and self.program.before(wish.loop, other.loop)
        ]
        starts = [x for loop in later if (x := self.start(function, loop, wish.name)) is not None]
        beyond = [x for x in starts if self.program.before(wish.loop, x)]
        return min(beyond, key=self.program.line) if beyond else None


def _is_start(program: Program, node: cst.BaseExpression) -> bool:
    """Tell whether an initial value may be computed a few lines later without a difference."""
    if isinstance(node, cst.Call):
        is_plain = program.imported(node.func) in _PLAIN_MAKERS
        return is_plain and all(_is_start(program, arg.value) for arg in node.args)
    if isinstance(node, cst.Name) and program.imported(node) in _PLAIN_MAKERS:
        return True
    return is_literal(program, node)


def _first_values(statement: cst.BaseStatement) -> dict[str, cst.BaseExpression]:
    """Return what an assignment gives each name: `a = 0`, `a = b = 0`, `a, b = 0, 0.0`.

    Empty if it sets anything else as well.
    """
    pair = assigned(statement)
    if pair is None:
        return {}
    targets, value = pair
    if all(isinstance(target, cst.Name) for target in targets):
        return {x.value: value for x in targets if isinstance(x, cst.Name)}
    (target, *others) = targets
    if others or not isinstance(target, cst.Tuple) or not isinstance(value, cst.Tuple):
        return {}
    names = [x.value.value for x in target.elements if isinstance(x.value, cst.Name)]
    if not len(names) == len(target.elements) == len(value.elements):
        return {}
    return dict(zip(names, (x.value for x in value.elements), strict=True))


def within(program: Program, node: cst.CSTNode, outer: cst.CSTNode) -> bool:
    """Tell whether a node is another one, or inside it."""
    return node is outer or outer in program.ancestors(node)
