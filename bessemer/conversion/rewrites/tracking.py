"""Models, optimizers, schedulers and scalers are tracked: `run.track(model=model, ...)`.

One call, right before the outermost loop that trains. What is tracked goes into checkpoints, and an
optimizer that is tracked sums its gradients over the workers before it steps.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.flow import Flow
from bessemer.conversion.inference import STATEFUL, Value
from bessemer.conversion.rewrites.base import Case, LeftStatement, Rewriter, statement
from bessemer.conversion.syntax import parameters, walk


def stateful(analysis: Analysis) -> dict[str, Value]:
    """Return the variables with a state in the function of the training loop, in order."""
    function = analysis.training.where
    if function is None:
        return {}
    program = analysis.script.program
    found: dict[str, Value] = {}
    nodes: list[tuple[str, cst.CSTNode]] = [(x.name.value, x) for x in parameters(function)]
    nodes += [(x.value, x) for x in walk(function.body, cst.Name) if program.is_store(x)]
    for name, node in nodes:
        value = analysis.kinds.of(node)
        known = any(value == other for other in found.values())
        if value is None or value.kind not in STATEFUL or name in found or known:
            continue
        if program.is_local(name, function) and _is_before(analysis, node):
            found[name] = value
    return found


def _is_before(analysis: Analysis, node: cst.CSTNode) -> bool:
    top = analysis.training.top
    return top is None or analysis.script.program.before(node, top)


def tracked(analysis: Analysis) -> tuple[str, ...]:
    """Return the names to track: those that surely hold something when training begins."""
    training = analysis.training
    if training.where is None or not isinstance(training.top, cst.BaseStatement):
        return ()
    surely = Flow(analysis.script.program, training.where).set_before(training.top)
    return tuple(name for name in stateful(analysis) if name in surely)


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
        held = stateful(self.analysis)
        given = ", ".join(f"{name}={name}" for name in names if not held[name].optional)
        track = f"{self.analysis.run}.track"
        calls = [f"{track}({given})"] if given else []
        calls += [
            f"if {name} is not None:\n    {track}({name}={name})" for name in names if held[name].optional
        ]
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
