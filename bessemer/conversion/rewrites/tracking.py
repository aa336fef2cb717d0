"""Models, optimizers, schedulers and scalers are tracked: `run.track(model=model, ...)`.

One call, right before each outermost loop that trains. What is tracked goes into checkpoints, and an
optimizer that is tracked sums its gradients over the workers before it steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.flow import Flow
from bessemer.conversion.inference import STATEFUL, Kind, Value
from bessemer.conversion.loops import Top
from bessemer.conversion.rewrites.base import Case, LeftStatement, Rewriter, statement
from bessemer.conversion.syntax import fresh_name, parameters, self_parameter, walk

_MOST_ITEMS = 20


@dataclass(frozen=True, eq=False)
class Held:
    """Something with a state: its name among what is tracked, how it is reached, and what it is.

    `surely` says that it is there whenever training begins.
    """

    name: str
    code: str
    value: Value
    surely: bool = True

    @property
    def optional(self) -> bool:
        """Whether it may be None."""
        return self.value.optional


def stateful(analysis: Analysis) -> dict[Top, list[Held]]:
    """Return what has a state where each outermost training loop begins and was not there before.

    These are variables of the loop's function, in order, and attributes of objects of the program's classes.
    """
    found: dict[Top, list[Held]] = {}
    for top in analysis.training.tops:
        known = [x for others in found.values() for x in others]
        found[top] = _Finder(analysis, top, known).found
    return found


class _Finder:
    def __init__(self, analysis: Analysis, top: Top, known: Sequence[Held]) -> None:
        program, function = analysis.script.program, top.where
        self.kinds = analysis.kinds
        self.found: list[Held] = []
        self.known = known
        flow = Flow(program, function)
        surely = flow.set_before(top.loop)
        self.rebound = flow.stored(top.loop.body)
        nodes: list[tuple[str, cst.CSTNode]] = [(x.name.value, x) for x in parameters(function)]
        nodes += [(x.value, x) for x in walk(function.body, cst.Name) if program.is_store(x)]
        own = self_parameter(function) if program.enclosing(function, cst.ClassDef) is not None else None
        for name, node in nodes:
            if program.is_local(name, function) and program.before(node, top.loop):
                shown = "self" if name == own else name
                self._add(shown, name, self.kinds.variable(node), name in surely, 2)

    def _add(self, name: str, code: str, value: Value | None, surely: bool, depth: int) -> None:
        known = [*self.known, *self.found]
        if value is None or any(_is_same(value, x.value) for x in known):
            return
        if any(x.code == code for x in self.found):
            return
        if value.kind is Kind.PARAMETER and code in self.rebound:
            return  # carried by the loop
        if value.kind in STATEFUL or value.kind is Kind.PARAMETER:
            free = fresh_name((name,), {x.name for x in known})
            self.found.append(Held(free, code, value, surely))
        if value.kind is Kind.TUPLE and len(value.items) < _MOST_ITEMS:
            for index, item in enumerate(value.items):
                self._add(f"{name}_{index}", f"{code}[{index}]", item, surely, depth)
        if depth and (value.kind is Kind.OBJECT or (value.kind is Kind.MODULE and value.owner)):
            for attribute in self.kinds.attributes(value):
                inner = self.kinds.attribute(value, attribute)
                if inner is None or (value.kind is Kind.MODULE and inner.kind is Kind.MODULE):
                    continue
                longer = attribute if name == "self" else f"{name}_{attribute}"
                self._add(longer, f"{code}.{attribute}", inner, surely, depth - 1)


def _is_same(one: Value, other: Value) -> bool:
    return one.kind is other.kind and one.origins == other.origins and bool(one.origins)


def tracked(analysis: Analysis, loop: cst.CSTNode) -> tuple[Held, ...]:
    """Return what to track in front of a loop: what surely is there when training begins."""
    top = analysis.training.top(loop)
    return tuple(x for x in stateful(analysis)[top] if x.surely) if top is not None else ()


class TrackingRewriter(Rewriter):
    """Puts `run.track(...)` in front of the training loop."""

    kind = "tracking"
    TITLE = "What survives a crash"

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """The outermost loops that train."""
        return [x.loop for x in self.analysis.training.tops if tracked(self.analysis, x.loop)]

    def _before(self, original: cst.BaseStatement, updated: cst.BaseStatement) -> LeftStatement:
        names = tracked(self.analysis, original)
        if not names:
            return updated
        given = ", ".join(f"{x.name}={x.code}" for x in names if not x.optional)
        track = f"{self.analysis.run}.track"
        calls = [f"{track}({given})"] if given else []
        calls += [f"if {x.code} is not None:\n    {track}({x.name}={x.code})" for x in names if x.optional]
        call = "\n".join(calls)
        header = self.program.code(original).splitlines()[0]
        reason = "in front of the training loop: kept over restarts"
        self.note(original, f"{call}\n{header}", reason, before=header)
        return cst.FlattenSentinel([*(statement(x) for x in calls), updated])

    def leave_For(self, original_node: cst.For, updated_node: cst.For) -> LeftStatement:
        """Track in front of a `for`."""
        return self._before(original_node, updated_node)

    def leave_While(self, original_node: cst.While, updated_node: cst.BaseStatement) -> LeftStatement:
        """Track in front of a `while`."""
        return self._before(original_node, updated_node)


CASES = (
    Case(
        "everything with a state, once",
        """
        import torch
        from torch.optim.lr_scheduler import StepLR
        def main():
            net = torch.nn.Linear(2, 1)
            criterion = torch.nn.MSELoss()
            opt = torch.optim.SGD(net.parameters(), lr=0.1)
            decay = StepLR(opt, 1)

            for epoch in range(3):
                opt.step()
        """,
        """
        import torch
        from torch.optim.lr_scheduler import StepLR
        def main():
            net = torch.nn.Linear(2, 1)
            criterion = torch.nn.MSELoss()
            opt = torch.optim.SGD(net.parameters(), lr=0.1)
            decay = StepLR(opt, 1)
            run.track(net=net, opt=opt, decay=decay)

            for epoch in range(3):
                opt.step()
        """,
    ),
    Case(
        "what may be None is tracked if it is not",
        """
        import torch
        from torch.optim.lr_scheduler import StepLR
        def main(decays):
            opt = torch.optim.SGD(net.parameters(), lr=0.1)
            decay = StepLR(opt, 1) if decays else None
            for epoch in range(3):
                opt.step()
        """,
        """
        import torch
        from torch.optim.lr_scheduler import StepLR
        def main(decays):
            opt = torch.optim.SGD(net.parameters(), lr=0.1)
            decay = StepLR(opt, 1) if decays else None
            run.track(opt=opt)
            if decay is not None:
                run.track(decay=decay)
            for epoch in range(3):
                opt.step()
        """,
    ),
)
