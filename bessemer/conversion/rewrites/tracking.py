"""Models, optimizers, schedulers and scalers are tracked: `run.track(model=model, ...)`.

One call, right before each outermost loop that trains. What is tracked goes into checkpoints, and an
optimizer that is tracked sums its gradients over the workers before it steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.copies import copied_in
from bessemer.conversion.flow import Flow
from bessemer.conversion.kinds import STATEFUL, Kind
from bessemer.conversion.loops import Top
from bessemer.conversion.reachable import Reached, reached
from bessemer.conversion.rewrites.base import Case, Left, LeftStatement, LoopRewriter, statement
from bessemer.conversion.sameness import is_among
from bessemer.conversion.syntax import fresh_name


@dataclass(frozen=True, eq=False)
class Held:
    """Something with a state: its name among what is tracked, and how it is reached."""

    name: str
    reached: Reached

    @property
    def code(self) -> str:
        """The expression that reaches it."""
        return self.reached.code

    @property
    def variable(self) -> str:
        """The variable that it is, or is reached from."""
        return re.split(r"[.\[]", self.code)[0]

    @property
    def asked(self) -> str:
        """What may be None where training begins: itself, or the variable it is reached from; else empty."""
        if self.reached.value.optional:
            return self.code
        return "" if self.reached.surely else self.variable


@lru_cache(maxsize=1)
def stateful(analysis: Analysis) -> dict[Top, list[Held]]:
    """Return what has a state where each outermost training loop begins and was not there before.

    These are variables of the loop's function, in order, and attributes of objects of the program's classes.
    """
    found: dict[Top, list[Held]] = {}
    known: list[Held] = []
    script = analysis.script
    for top in analysis.training.tops:
        found[top] = []
        for there in _with_state(analysis, top):
            values = [x.reached.value for x in known]
            if not is_among(script.program, analysis.kinds, script.entry, there.value, values):
                held = Held(fresh_name((there.name,), {x.name for x in known}), there)
                known.append(held)
                found[top].append(held)
    return found


def _with_state(analysis: Analysis, top: Top) -> Iterator[Reached]:
    program = analysis.script.program
    rebound = Flow(program, top.where).stored(top.loop.body)
    for found in reached(program, analysis.kinds, top.where, top.loop):
        value = found.value.items[0] if found.value.kind is Kind.SEVERAL else found.value
        # Parameters that the loop binds anew, and copies that it makes, are carried by it.
        is_carried = found.code in rebound and (
            (value is not None and value.kind is Kind.PARAMETER)
            or copied_in(program, top.where, top.loop, found.code)
        )
        if value is not None and value.kind in STATEFUL | {Kind.PARAMETER} and not is_carried:
            yield found


def tracked(analysis: Analysis, loop: cst.CSTNode) -> tuple[Held, ...]:
    """Return what to track in front of a loop."""
    top = analysis.training.top(loop)
    return tuple(stateful(analysis)[top]) if top is not None else ()


def _first_set(analysis: Analysis) -> dict[cst.CSTNode, list[str]]:
    """Return the variables that may not be there when training begins, by the statement that may set them.

    It is the first one that does, in the outermost block of their function.
    """
    found: dict[cst.CSTNode, list[str]] = {}
    program = analysis.script.program
    for top, several in stateful(analysis).items():
        flow = Flow(program, top.where)
        for name in dict.fromkeys(x.variable for x in several if not x.reached.surely):
            first = next(x for x in top.where.body.body if name in flow.stored(x))
            if name not in found.setdefault(first, []):
                found[first].append(name)
    return found


class TrackingRewriter(LoopRewriter):
    """Puts `run.track(...)` in front of the training loop."""

    kind = "tracking"
    TITLE = "What survives a crash"

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        self._first_set = _first_set(analysis)

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """The outermost loops that train."""
        return [x.loop for x in self.analysis.training.tops if tracked(self.analysis, x.loop)]

    def in_front(self, original: cst.BaseStatement, updated: cst.BaseStatement) -> LeftStatement:
        """Track what is not tracked yet."""
        names = tracked(self.analysis, original)
        given = ", ".join(f"{x.name}={x.code}" for x in names if not x.asked)
        track = f"{self.analysis.run}.track"
        calls = [f"{track}({given})"] if given else []
        calls += [f"if {x.asked} is not None:\n    {track}({x.name}={x.code})" for x in names if x.asked]
        return self.put_in_front(
            original, updated, calls, "in front of the training loop: kept over restarts"
        )

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Left:  # type: ignore[override]
        """Give a variable that only some runs set a value in any case."""
        result: Left = super().on_leave(original_node, updated_node)
        names = self._first_set.get(original_node)
        if not names:
            return result
        lines = [f"{name} = None" for name in names]
        self.note(
            original_node,
            "\n".join(lines),
            f"made under a condition: {', '.join(names)}; None tells that it is not there",
            before=self.program.code(original_node).splitlines()[0],
        )
        nodes = result.nodes if isinstance(result, cst.FlattenSentinel) else (updated_node,)
        return cst.FlattenSentinel([*(statement(x) for x in lines), *nodes])


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
        "lists of models and optimizers, whatever their length",
        """
        import torch
        def main(sizes):
            nets = [torch.nn.Linear(2, 1), torch.nn.Linear(2, 2)]
            opts = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets]
            heads = []
            for size in sizes:
                heads.append(torch.nn.Linear(2, size))
            decays = {name: torch.optim.lr_scheduler.StepLR(opt, 1) for name, opt in zip("ab", opts)}
            for epoch in range(3):
                for net, opt in zip(nets, opts):
                    opt.step()
                for decay in decays.values():
                    decay.step()
        """,
        """
        import torch
        def main(sizes):
            nets = [torch.nn.Linear(2, 1), torch.nn.Linear(2, 2)]
            opts = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets]
            heads = []
            for size in sizes:
                heads.append(torch.nn.Linear(2, size))
            decays = {name: torch.optim.lr_scheduler.StepLR(opt, 1) for name, opt in zip("ab", opts)}
            run.track(nets_0=nets[0], nets_1=nets[1], opts=opts, heads=heads, decays=decays)
            for epoch in range(3):
                for net, opt in zip(nets, opts):
                    opt.step()
                for decay in decays.values():
                    decay.step()
        """,
    ),
    Case(
        "an optimizer whose class is looked up by its name",
        """
        import torch
        from torch import optim
        def main(name):
            opt = getattr(optim, name)(model.parameters(), lr=0.1)
            decay = optim.lr_scheduler.__dict__[name](opt)
            for epoch in range(3):
                opt.step()
        """,
        """
        import torch
        from torch import optim
        def main(name):
            opt = getattr(optim, name)(model.parameters(), lr=0.1)
            decay = optim.lr_scheduler.__dict__[name](opt)
            run.track(opt=opt, decay=decay)
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
    Case(
        "what is made under a condition is None where that does not hold",
        """
        import torch
        def main(tuned):
            opt = torch.optim.SGD(net.parameters(), lr=0.1)
            if tuned:
                heat = torch.zeros(1, requires_grad=True)
                heat_opt = torch.optim.SGD([heat], lr=0.1)
            for epoch in range(3):
                opt.step()
                if tuned:
                    heat_opt.step()
        """,
        """
        import torch
        def main(tuned):
            opt = torch.optim.SGD(net.parameters(), lr=0.1)
            heat = None
            heat_opt = None
            if tuned:
                heat = torch.zeros(1, requires_grad=True)
                heat_opt = torch.optim.SGD([heat], lr=0.1)
            run.track(opt=opt)
            if heat is not None:
                run.track(heat=heat)
            if heat_opt is not None:
                run.track(heat_opt=heat_opt)
            for epoch in range(3):
                opt.step()
                if tuned:
                    heat_opt.step()
        """,
    ),
)
