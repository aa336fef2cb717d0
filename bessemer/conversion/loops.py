"""The loops that Bessemer takes hold of: those over loaders, and the outermost one that trains.

A loop trains when an optimizer takes a step in it, directly or in a function that it calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.flow import Loop
from bessemer.conversion.inference import Kinds, call_of
from bessemer.conversion.kinds import Kind
from bessemer.conversion.program import Program
from bessemer.conversion.script import Script
from bessemer.conversion.syntax import walk, walk_own


@dataclass(frozen=True, eq=False)
class LoaderLoop:
    """A `for` over a loader: `loader` is the expression iterated, without `enumerate` and bars."""

    node: cst.For
    function: cst.FunctionDef
    loader: cst.BaseExpression
    origins: frozenset[cst.Call]
    trains: bool
    counter: cst.Call | None
    bar: cst.Call | None


@dataclass(frozen=True, eq=False)
class Top:
    """An outermost loop that trains, and the function that it is in."""

    loop: Loop
    where: cst.FunctionDef


@dataclass(frozen=True, eq=False)
class Training:
    """How a program trains.

    `steps` are the calls in which an optimizer steps, `stepping` the functions and methods in which one
    does, directly or through calls. `tops` are the outermost loops that train, in the order in which the
    program comes to them, each with the function that it is in. `rounds` are loops around those that make
    the optimizers anew, as cross validation does: each round is a training of its own. `by_hand` says that
    no optimizer steps anywhere, so that `steps` are calls of `backward`.
    """

    steps: tuple[cst.Call, ...]
    stepping: frozenset[cst.FunctionDef]
    loader_loops: tuple[LoaderLoop, ...]
    tops: tuple[Top, ...]
    rounds: tuple[Top, ...] = ()
    by_hand: bool = False

    @property
    def outers(self) -> frozenset[Loop]:
        """The outermost loops that train and are not themselves over a loader."""
        over_loader = {loop.node for loop in self.loader_loops}
        return frozenset(x.loop for x in self.tops if x.loop not in over_loader)

    def top(self, loop: cst.CSTNode) -> Top | None:
        """Return the outermost loop that a node is."""
        return next((x for x in self.tops if x.loop is loop), None)

    @property
    def is_data_parallel(self) -> bool:
        """Whether training draws its batches from a loader, so that workers can share them."""
        return any(loop.trains for loop in self.loader_loops)

    def of(self, node: cst.CSTNode) -> LoaderLoop | None:
        """Return the loader loop that a `for` statement is."""
        return next((loop for loop in self.loader_loops if loop.node is node), None)

    def around(self, program: Program, node: cst.CSTNode) -> LoaderLoop | None:
        """Return the nearest loader loop around a node."""
        return next((x for y in program.ancestors(node) if (x := self.of(y)) is not None), None)


def call_graph(script: Script) -> Mapping[str, frozenset[str]]:
    """Return, for each definition, the other definitions that its code refers to."""
    program = script.program
    names = {definition.name.value for definition in script.definitions}
    graph: dict[str, frozenset[str]] = {}
    for definition in script.definitions:
        used = (
            program.defined(node)
            for node in walk(definition, cst.Name)
            if program.is_load(node) and node.value in names
        )
        graph[definition.name.value] = frozenset(x for x in used if x is not None) & names
    return graph


def find_training(script: Script, kinds: Kinds) -> Training:
    """Find the optimizer's steps and the loops around them."""
    program = script.program
    calls = list(walk(program.module, cst.Call))
    steps = tuple(call for call in calls if _is_step(kinds, call))
    by_hand = not steps
    if by_hand:
        steps = tuple(call for call in calls if call_of(call, "backward") is not None)
    direct = {f for call in steps if (f := program.function(call)) is not None}
    stepping = _callers(script, kinds, direct)
    loops = tuple(
        found
        for function in script.callables
        for node in walk(function, cst.For)
        if (found := _loader_loop(program, kinds, stepping, steps, function, node)) is not None
    )
    finder = _TopFinder(program, kinds, steps, stepping)
    tops: list[Top] = []
    if script.entry is not None and steps:
        tops = finder.of(script.entry)
    return Training(steps, stepping, loops, tuple(tops), tuple(finder.rounds), by_hand)


def contains_step(
    kinds: Kinds,
    steps: tuple[cst.Call, ...],
    stepping: frozenset[cst.FunctionDef],
    node: cst.CSTNode,
) -> bool:
    """Tell whether running a node may let an optimizer step."""
    return any(call in steps or kinds.callee(call) in stepping for call in walk(node, cst.Call))


def loader_in(
    program: Program, kinds: Kinds, source: cst.BaseExpression
) -> tuple[cst.BaseExpression, cst.Call | None, cst.Call | None] | None:
    """Take an iterable apart: the loader in it, `enumerate(...)` and the progress bar around it."""
    counter: cst.Call | None = None
    bar: cst.Call | None = None
    while isinstance(source, cst.Call) and source.args:
        name = program.imported(source.func)
        if name == "builtins.enumerate" and counter is None:
            counter = source
        elif kinds.is_a(source, Kind.BAR) and bar is None:
            bar = source
        else:
            break
        source = source.args[0].value
    return (source, counter, bar) if kinds.is_a(source, Kind.LOADER) else None


def _loader_loop(
    program: Program,
    kinds: Kinds,
    stepping: frozenset[cst.FunctionDef],
    steps: tuple[cst.Call, ...],
    function: cst.FunctionDef,
    node: cst.For,
) -> LoaderLoop | None:
    found = loader_in(program, kinds, node.iter)
    if found is None:
        return None
    loader, counter, bar = found
    value = kinds.of(loader)
    trains = contains_step(kinds, steps, stepping, node.body)
    origins = value.origins if value is not None else frozenset()
    return LoaderLoop(node, function, loader, origins, trains, counter, bar)


def _is_step(kinds: Kinds, call: cst.Call) -> bool:
    method = call_of(call, "step")
    return method is not None and kinds.is_a(method.value, Kind.OPTIMIZER, Kind.SCALER)


def _callers(script: Script, kinds: Kinds, direct: set[cst.FunctionDef]) -> frozenset[cst.FunctionDef]:
    """Return functions, and all functions that call them or hand them around."""
    program = script.program
    reached = set(direct)
    waiting = list(direct)
    while waiting:
        function = waiting.pop()
        named = [x for x in walk(program.module, cst.Name) if program.defined(x) == function.name.value]
        uses: list[cst.CSTNode] = [*kinds.callers(function)]
        if program.definition(function) is function:
            uses += [x for x in named if program.is_load(x)]
        for use in uses:
            caller = program.function(use)
            if caller is not None and caller not in reached:
                reached.add(caller)
                waiting.append(caller)
    return frozenset(reached)


class _TopFinder:
    """Goes down from the entry point to the first loops that train, on every way."""

    def __init__(
        self,
        program: Program,
        kinds: Kinds,
        steps: tuple[cst.Call, ...],
        stepping: frozenset[cst.FunctionDef],
    ) -> None:
        self.program = program
        self.kinds = kinds
        self.steps = steps
        self.stepping = stepping
        self.rounds: list[Top] = []
        self._seen: set[cst.FunctionDef] = set()
        values = (kinds.of(x.func.value) for x in steps if isinstance(x.func, cst.Attribute))
        self._made = frozenset[cst.Call]().union(*(x.origins for x in values if x is not None))

    def of(self, function: cst.FunctionDef) -> list[Top]:
        """Return the loops of a function, or of what it calls."""
        if function in self._seen:
            return []
        self._seen.add(function)
        return self._in(function, walk_own(function, cst.For, cst.While, cst.Call))

    def _in(self, function: cst.FunctionDef, nodes: Iterable[cst.For | cst.While | cst.Call]) -> list[Top]:
        found: list[Top] = []
        done: set[cst.CSTNode] = set()
        for node in nodes:
            if any(x in done for x in self.program.ancestors(node)):
                continue
            if isinstance(node, cst.Call):
                target = self.kinds.callee(node)
                if target is not None and target in self.stepping:
                    found += self.of(target)
            elif contains_step(self.kinds, self.steps, self.stepping, node):
                done.add(node)
                found += self._rounds_of(function, node) or [Top(node, function)]
        return found

    def _rounds_of(self, function: cst.FunctionDef, loop: Loop) -> list[Top]:
        """Return the trainings in a loop whose rounds make optimizers of their own; of another, none."""
        if not self._makes_optimizers(loop):
            return []
        seen, rounds = set(self._seen), list(self.rounds)
        self.rounds.append(Top(loop, function))
        inner = self._in(function, walk(loop.body, cst.For, cst.While, cst.Call))
        over_loader = (
            isinstance(x.loop, cst.For) and loader_in(self.program, self.kinds, x.loop.iter) is not None
            for x in inner
        )
        if not inner or any(over_loader):
            self._seen, self.rounds = seen, rounds
            return []
        return inner

    def _makes_optimizers(self, loop: Loop) -> bool:
        """Tell whether running a loop makes an optimizer that steps, itself or in what it calls."""
        seen: set[cst.FunctionDef] = set()
        waiting: list[cst.CSTNode] = [loop.body]
        while waiting:
            for call in walk(waiting.pop(), cst.Call):
                if call in self._made:
                    return True
                target = self.kinds.callee(call)
                if target is not None and target not in seen:
                    seen.add(target)
                    waiting.append(target.body)
        return False
