"""What a loop keeps for itself: values that must survive a restart in the middle of the loop.

A position restored inside a loop is not enough when the program counts along: a sum so far, a best
value, a counter. This module finds such variables by liveness and decides where each one goes:
`run.totals` for sums over batches (added up over workers), `run.carry` for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.attributes import Attributes, Keeping
from bessemer.conversion.copies import copied_in
from bessemer.conversion.filling import Filling
from bessemer.conversion.flow import Flow, Loop
from bessemer.conversion.holders import Holder, Placer, Wish, within
from bessemer.conversion.inference import Kinds
from bessemer.conversion.kinds import NEVER_CARRIED, Kind
from bessemer.conversion.loops import LoaderLoop, Training
from bessemer.conversion.plan import Question
from bessemer.conversion.program import Program
from bessemer.conversion.reductions import Reduction, Reductions
from bessemer.conversion.script import Script
from bessemer.conversion.syntax import argument, fresh_name, walk

_ADDED = (Reduction.SUM, Reduction.SIZE, Reduction.MEAN)


@dataclass(frozen=True, eq=False)
class State:
    """Every decision about loop-carried values.

    `weighted` are the added expressions that must be multiplied by the worker's share; `whole` the
    loaders whose batches every worker must see whole, with the reason; `alone` says why training
    cannot be shared, if it cannot; `by_hand` where it takes its batches in a way that is not followed.
    """

    holders: tuple[Holder, ...]
    keepings: tuple[Keeping, ...]
    weighted: frozenset[cst.BaseExpression]
    reductions: Mapping[cst.FunctionDef, Mapping[str, Reduction]]
    whole: Mapping[cst.Call, str]
    questions: tuple[Question, ...]
    alone: str = ""
    by_hand: str = ""


def find_state(script: Script, kinds: Kinds, training: Training, taken: frozenset[str]) -> State:
    """Find what every hooked loop carries, and decide how it is kept."""
    finder = _Finder(script, kinds, training, taken)
    for function in script.callables:
        finder.visit(function)
    finder.unfollowed()
    keepings = tuple(finder.keepings())
    return State(
        tuple(finder.holders),
        keepings,
        frozenset(finder.weighted),
        finder.reductions,
        finder.whole,
        tuple(finder.questions),
        finder.alone,
        finder.by_hand,
    )


class _Finder:
    def __init__(self, script: Script, kinds: Kinds, training: Training, taken: frozenset[str]) -> None:
        self.program: Program = script.program
        self.kinds = kinds
        self.training = training
        self.placer = Placer(script.program)
        self.filling = Filling(script.program, kinds)
        self.rules = Reductions(script.program, kinds)
        self.taken = set(taken)
        self.holders: list[Holder] = []
        self.weighted: set[cst.BaseExpression] = set()
        self.reductions: dict[cst.FunctionDef, dict[str, Reduction]] = {}
        self.whole: dict[cst.Call, str] = {}
        self.questions: list[Question] = []
        self.alone = ""
        self.by_hand = ""

    def visit(self, function: cst.FunctionDef) -> None:
        """Handle one function: its loops from the outside to the inside."""
        flow = Flow(self.program, function)
        hooked: list[Loop] = [x.node for x in self.training.loader_loops if x.function is function]
        outers = self.training.outers
        hooked += [x.loop for x in self.training.tops if x.where is function and x.loop in outers]
        hooked += [x.loop for x in self.training.rounds if x.where is function]
        hooked.sort(key=self.program.line)
        wishes: list[Wish] = []
        for loop in hooked:
            over = self.training.of(loop)
            if over is not None:
                self._ways_part(over)
                self._counts_on_size(over)
            kinds = dict.fromkeys(self._collected(flow, function, loop), "carry")
            for name in sorted(self._candidates(flow, function, loop)):
                kinds[name] = self._kind(flow, function, loop, over, name)
            for name, kind in kinds.items():
                outer = next(
                    (w for w in wishes if w.name == name and w.loop in self.program.ancestors(loop)),
                    None,
                )
                if outer is None:
                    wishes.append(Wish(name, loop, kind))
                elif kind == "totals" and outer.kind != "totals":
                    wishes[wishes.index(outer)] = Wish(name, outer.loop, kind)
        self._place(function, [*wishes, *self._left_behind(flow, function, wishes)])

    def _left_behind(self, flow: Flow, function: cst.FunctionDef, wishes: list[Wish]) -> Iterator[Wish]:
        """Yield what trainings in rounds leave behind: a restart passes over those that were complete."""
        known = {x.name for x in wishes}
        tops = [x.loop for x in self.training.tops if x.where is function and self.training.rounds]
        for loop in tops:
            for name in sorted(self._lost(flow, loop) - known):
                if self.program.is_local(name, function) and not self._is_tracked(name, function):
                    yield Wish(name, loop, "last")

    def _lost(self, flow: Flow, loop: Loop) -> frozenset[str]:
        return (flow.stored(loop.body) - flow.set_before(loop)) & flow.live_after(loop)

    def _ways_part(self, over: LoaderLoop) -> None:
        """Find where the course of a loop hangs on a worker's own part of the batch.

        Workers that go different ways would wait for each other for ever.
        """
        for node in walk(over.node.body, cst.If):
            parts = (node.body, *([node.orelse] if node.orelse is not None else []))
            turns = any(any(walk(x, cst.Break, cst.Continue, cst.Return)) for x in parts)
            steps = any(call in self.training.steps for x in parts for call in walk(x, cst.Call))
            if not (turns or steps) or self.rules.in_loop(node.test, over.node) is Reduction.SAME:
                continue
            where, test = self.program.where(node), self.program.code(node.test)
            reason = f"the course of the loop hangs on `{test}` at {where}, which workers may see differently"
            if not over.trains:
                self._see_whole(over, reason)
                continue
            self.alone = self.alone or reason
            todo = "decide by something that all workers know, to train on several"
            self.questions.append(Question(where, reason, todo))

    def _counts_on_size(self, over: LoaderLoop) -> None:
        """Find where a loop takes the batch size that its loader was given for that of the batch it has.

        A worker's own part of a batch is smaller.
        """
        given = {
            self.program.code(size)
            for origin in over.origins
            if (size := argument(origin, "batch_size", 1)) is not None
            and isinstance(size, cst.Name | cst.Attribute)
        }
        for node in walk(over.node.body, cst.Name, cst.Attribute):
            if self.program.code(node) not in given or not self.program.is_load(node):
                continue
            call = self.program.enclosing(node, cst.Call)
            if call is None or over.node not in self.program.ancestors(call) or self._only_shows(call):
                continue
            reason = f"{self.program.code(call)} at {self.program.where(call)} counts on whole batches"
            if not over.trains:
                self._see_whole(over, reason)
            else:
                self.alone = self.alone or reason

    def _only_shows(self, call: cst.Call) -> bool:
        """Tell whether a call is part of what is printed."""
        calls = (x for x in (call, *self.program.ancestors(call)) if isinstance(x, cst.Call))
        return any(self.program.imported(x.func) == "builtins.print" for x in calls)

    def keepings(self) -> Iterator[Keeping]:
        """Yield what loops change in objects, the outermost loops first, then what is called back."""
        attributes = Attributes(self.program, self.kinds)
        tops = [(x.where, x.loop) for x in (*self.training.rounds, *self.training.tops)]
        inner = [
            (x.function, x.node) for x in self.training.loader_loops if self.training.top(x.node) is None
        ]
        for function, loop in [*tops, *inner]:
            over = self.training.of(loop)
            changed = attributes.first_change(loop)
            if changed is not None and over is not None:
                self._changes_objects(over, changed)
            if self._innermost(loop) is function:
                yield from attributes.of(function, loop)
        if tops:
            yield from attributes.rest()

    def _changes_objects(self, over: LoaderLoop, changed: cst.CSTNode) -> None:
        where, code = self.program.where(changed), self.program.code(changed)
        if not over.trains:
            self._see_whole(over, f"{code} at {where} keeps values of all batches")
            return
        todo = "nothing, if it is only shown; else train with scaling.num_workers = 1"
        reason = f"{code} is kept from batch to batch; with several workers each one has its own"
        self.questions.append(Question(where, reason, todo))

    def _innermost(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        return self.program.enclosing(node, cst.FunctionDef)

    def unfollowed(self) -> None:
        """Find loaders that something else than a `for` statement iterates.

        Sums over their batches are not followed, so they are only right where each worker sees all of them.
        """
        training = {x for loop in self.training.loader_loops if loop.trains for x in loop.origins}
        for node in walk(self.program.module, cst.Name, cst.Attribute, cst.Call):
            value = self.kinds.of(node)
            if value is None or value.kind is not Kind.LOADER or self.program.is_store(node):
                continue
            if not self._is_unfollowed(node):
                continue
            where = self.program.where(node)
            function = self.program.function(node)
            reason = f"its batches are not taken by a for statement at {where}"
            for origin in value.origins - training:
                self.whole.setdefault(origin, reason)
                if function in self.training.stepping:
                    self.by_hand = self.by_hand or reason

    def _is_unfollowed(self, node: cst.CSTNode) -> bool:
        arg = self.program.parent(node)
        call = self.program.parents.get(arg)
        if isinstance(arg, cst.CompFor):
            return True
        if not (isinstance(arg, cst.Arg) and isinstance(call, cst.Call)):
            return False
        name = self.program.imported(call.func)
        if name in ("builtins.len", "builtins.print", "builtins.isinstance"):
            return False
        if name == "builtins.enumerate" or self.kinds.is_a(call, Kind.BAR):
            outer: cst.CSTNode = self.program.parent(call)
            while isinstance(outer, cst.Arg):
                outer = self.program.parent(self.program.parent(outer))
            return not (isinstance(outer, cst.For) and self.training.of(outer) is not None)
        return self.kinds.callee(call) is None and name is not None

    def _candidates(self, flow: Flow, function: cst.FunctionDef, loop: Loop) -> frozenset[str]:
        stored = flow.stored(loop.body)
        before = flow.set_before(loop)
        after = flow.live_after(loop)
        is_left = bool(self.training.rounds) and self.training.top(loop) is not None
        for name in sorted(self._lost(flow, loop) if not is_left else ()):
            first = next(iter(self.program.occurrences(name, function)), loop)
            self.questions.append(
                Question(
                    self.program.where(first),
                    f"{name} gets its value inside the loop at {self.program.where(loop)} and is "
                    "read after it; a restart exactly at the loop's end finds it unset",
                    f"give {name} a value before the loop, and it is carried over restarts",
                )
            )
        found = stored & before & (after | flow.carried(loop))
        return frozenset(
            name
            for name in found
            if self.program.is_local(name, function)
            if not self._is_tracked(name, function) or copied_in(self.program, function, loop, name)
        )

    def _is_tracked(self, name: str, function: cst.FunctionDef) -> bool:
        first = self.program.occurrences(name, function)[0]
        return self.kinds.is_a(first, *NEVER_CARRIED)

    def _kind(
        self,
        flow: Flow,
        function: cst.FunctionDef,
        loop: Loop,
        over: LoaderLoop | None,
        name: str,
    ) -> str:
        """Decide between totals and carry for a variable of a loop."""
        if over is None:
            return "carry"
        uses = [x for x in self.program.occurrences(name, function) if within(self.program, x, loop)]
        stores = [x for x in uses if self.program.is_store(x)]
        added = [self.filling.added(store) for store in stores]
        own = {x for value in added if value is not None for x in value[1]}
        reads = [x for x in uses if x not in own and x not in stores]
        kinds = {self.rules.in_loop(value[0], over.node) for value in added if value is not None}
        remembered = self.reductions.setdefault(function, {})
        if None in added or not kinds:
            return self._other(over, name, stores[0] if stores else loop, kinds)
        if kinds == {Reduction.SAME}:
            remembered[name] = Reduction.SAME
            return "carry"
        if not kinds <= set(_ADDED):
            return self._other(over, name, stores[0], kinds)
        remembered[name] = next(iter(kinds)) if len(kinds) == 1 else Reduction.SUM
        if name not in flow.live_after(loop):
            # Never read after the loop: what is shown inside it stays this worker's own.
            return "carry"
        for value in added:
            if value is not None and self.rules.in_loop(value[0], over.node) is Reduction.MEAN:
                self.weighted.add(value[0])
        if reads:
            self._partial(over, name, reads[0])
        return "totals"

    def _partial(self, over: LoaderLoop, name: str, read: cst.Name) -> None:
        reason = f"{name} is read at {self.program.where(read)}, before all workers have added to it"
        if over.trains:
            self.questions.append(
                Question(
                    self.program.where(read),
                    f"{name} is read inside the loop, where it holds this worker's part only",
                    "read it after the loop, or accept that this line shows a part",
                )
            )
        else:
            self._see_whole(over, reason)

    def _other(self, over: LoaderLoop, name: str, node: cst.CSTNode, kinds: set[Reduction]) -> str:
        """A value that slices of a batch cannot be put together to."""
        reason = f"{name} at {self.program.where(node)} is neither a sum nor a mean over samples"
        if not over.trains:
            self._see_whole(over, reason)
        elif kinds != {Reduction.SAME}:
            self.questions.append(
                Question(
                    self.program.where(node),
                    f"{name} is carried from batch to batch; with several workers each one has "
                    "its own, from its own part of every batch",
                    "nothing, if it is only shown; else train with scaling.num_workers = 1",
                )
            )
        return "carry"

    def _see_whole(self, over: LoaderLoop, reason: str) -> None:
        for origin in over.origins:
            self.whole.setdefault(origin, reason)

    def _collected(self, flow: Flow, function: cst.FunctionDef, loop: Loop) -> Iterator[str]:
        """Yield the lists and the like that a loop fills, and that must be carried with it."""
        over = self.training.of(loop)
        seen: dict[str, cst.CSTNode] = {}
        nested = self._innermost(loop) is not function
        stored = flow.stored(loop.body)
        for node in walk(loop.body, cst.Call, cst.Subscript):
            receiver = self.filling.filled(node)
            if receiver is None:
                continue
            if receiver.value in flow.set_before(loop) or (nested and receiver.value not in stored):
                seen.setdefault(receiver.value, node)
        for name, first in seen.items():
            where = self.program.where(first)
            if over is not None and not over.trains:
                self._see_whole(over, f"{name} at {where} collects values of all batches")
            elif over is not None:
                self.questions.append(
                    Question(
                        where,
                        f"{name} collects values inside the training loop; with several workers "
                        "each one collects its own",
                        "nothing, if it is only shown or plotted",
                    )
                )
            if self.placer.start(function, loop, name) is not None or self.filling.is_array(
                function, loop, name
            ):
                yield name
            elif not self.program.is_parameter(name, function) and not self.filling.is_own(first):
                self.questions.append(
                    Question(
                        where,
                        f"{name} is changed by the loop at {self.program.where(loop)}; a restart "
                        "finds it as it was made before the loop",
                        "keep what it collects in plain variables, lists or dictionaries",
                    )
                )

    def _place(self, function: cst.FunctionDef, wishes: list[Wish]) -> None:
        """Group the variables by loop and kind, and place a holder for each group."""
        groups: dict[tuple[str, Loop], list[Wish]] = {}
        for wish in wishes:
            if self._escapes(function, wish):
                self.questions.append(
                    Question(
                        self.program.where(wish.loop),
                        f"{wish.name} is carried by this loop and also set by a nested function",
                        "keep it in an argument or a return value",
                    )
                )
                continue
            groups.setdefault((wish.kind, wish.loop), []).append(wish)
        several = {kind: sum(key[0] == kind for key in groups) > 1 for kind in ("totals", "carry", "last")}
        taken = set(self.taken)
        for (kind, loop), members in groups.items():
            over = self.training.of(loop)
            wanted = kind
            if several[kind] and over is not None:
                wanted = f"train_{kind}" if over.trains else f"eval_{kind}"
            name = fresh_name((wanted,), taken)
            taken.add(name)
            self.holders.append(self.placer.place(function, kind, name, loop, members, wishes))

    def _escapes(self, function: cst.FunctionDef, wish: Wish) -> bool:
        declared = walk(function, cst.Nonlocal, cst.Global)
        return any(x.name.value == wish.name for node in declared for x in node.names)
