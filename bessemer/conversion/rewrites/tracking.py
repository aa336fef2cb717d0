"""Models, optimizers, schedulers and scalers are tracked: `run.track(model=model, ...)`.

One call, right before the outermost loop that trains. What is tracked goes into checkpoints, and an
optimizer that is tracked sums its gradients over the workers before it steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.flow import Flow
from bessemer.conversion.inference import STATEFUL, Kind, Value
from bessemer.conversion.rewrites.base import Case, LeftStatement, Rewriter, statement
from bessemer.conversion.syntax import parameters, self_parameter, walk


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


def stateful(analysis: Analysis) -> dict[str, Held]:
    """Return what has a state in the function of the training loop: its variables, in order, and in objects
    of the program's own classes their attributes."""
    function = analysis.training.where
    if function is None:
        return {}
    program, kinds = analysis.script.program, analysis.kinds
    surely = _surely(analysis)
    found: dict[str, Held] = {}

    def add(name: str, code: str, value: Value | None, sure: bool, depth: int) -> None:
        if value is None or any(_is_same(value, x.value) for x in found.values()):
            return
        if value.kind in STATEFUL:
            found.setdefault(name, Held(name, code, value, sure))
        if depth and (value.kind is Kind.OBJECT or (value.kind is Kind.MODULE and value.owner)):
            for attribute in kinds.attributes(value):
                inner = kinds.attribute(value, attribute)
                if inner is None or (value.kind is Kind.MODULE and inner.kind is Kind.MODULE):
                    continue
                longer = attribute if name == "self" else f"{name}_{attribute}"
                add(longer, f"{code}.{attribute}", inner, sure, depth - 1)

    nodes: list[tuple[str, cst.CSTNode]] = [(x.name.value, x) for x in parameters(function)]
    nodes += [(x.value, x) for x in walk(function.body, cst.Name) if program.is_store(x)]
    own = self_parameter(function) if program.enclosing(function, cst.ClassDef) is not None else None
    for name, node in nodes:
        if name not in found and program.is_local(name, function) and _is_before(analysis, node):
            add("self" if name == own else name, name, kinds.of(node), name in surely, 2)
    return found


def _is_same(one: Value, other: Value) -> bool:
    return one.kind is other.kind and one.origins == other.origins and bool(one.origins)


def _is_before(analysis: Analysis, node: cst.CSTNode) -> bool:
    top = analysis.training.top
    return top is None or analysis.script.program.before(node, top)


def _surely(analysis: Analysis) -> frozenset[str]:
    training = analysis.training
    if training.where is None or not isinstance(training.top, cst.BaseStatement):
        return frozenset()
    return Flow(analysis.script.program, training.where).set_before(training.top)


def tracked(analysis: Analysis) -> tuple[Held, ...]:
    """Return what to track: what surely is there when training begins."""
    return tuple(x for x in stateful(analysis).values() if x.surely)


class TrackingRewriter(Rewriter):
    """Puts `run.track(...)` in front of the training loop."""

    kind = "tracking"
    TITLE = "What survives a crash"

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """The outermost loop that trains."""
        top = self.analysis.training.top
        return [top] if top is not None and tracked(self.analysis) else []

    def _before(self, original: cst.BaseStatement, updated: cst.BaseStatement) -> LeftStatement:
        names = tracked(self.analysis)
        if original is not self.analysis.training.top or not names:
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
