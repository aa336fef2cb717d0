"""Values that are taken from weights or rates before a loop over a loader, in the same turn, and read later.

A restart runs the lines before the loop again, with the model and the optimizer as they were at the start of
the program: their state is put back where the loop goes on. What these lines compute from settings or the
loop variable is right; what they compute from the weights is of other weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.checks.base import Case, Finding, Reading
from bessemer.conversion.hooked import Hooked, Over
from bessemer.conversion.syntax import assigned, walk

RULE = "stale"
_ASKS = frozenset({"get_last_lr", "get_lr", "get_scale"})


def find(reading: Reading) -> Iterator[Finding]:
    """Find what is read in or after a loop over a loader, and was taken from a state before it."""
    told: set[cst.CSTNode] = set()
    for loop in reading.loops.all:
        if loop.over is not Over.LOADER:
            continue
        for statement, target, value in _before(reading, loop):
            taken = _taken(reading, value)
            name = reading.liveness.paths(loop.function).name(target)
            if taken is None or name is None or statement in told:
                continue
            if reading.is_carried(target.value if isinstance(target, cst.Attribute) else target):
                continue
            if reading.liveness.read_after(loop.function, loop.node, name):
                told.add(statement)
                yield _finding(reading, loop, target, taken)


def _before(
    reading: Reading, loop: Hooked
) -> Iterator[tuple[cst.CSTNode, cst.BaseExpression, cst.BaseExpression]]:
    """Yield the assignments before a loop, in the turn of an outer loop that it is in."""
    outer = next((x for x in reading.code.ancestors(loop.node) if reading.loops.is_hooked(x)), None)
    if not isinstance(outer, cst.For):
        return
    inside = (loop.node, *reading.code.ancestors(loop.node))
    for statement in walk(outer.body, cst.SimpleStatementLine):
        pair = assigned(statement)
        if pair is None or loop.node in reading.code.ancestors(statement):
            continue
        if reading.code.before(statement, loop.node) and reading.code.parents[statement] in inside:
            for target in pair[0]:
                yield statement, target, pair[1]


def _taken(reading: Reading, value: cst.BaseExpression) -> cst.BaseExpression | None:
    """Return the object with a state that a value is taken from: a rate, an output, a copy of weights."""
    for node in walk(value, cst.Call, cst.Subscript, cst.Attribute):
        held: cst.BaseExpression | None = None
        if isinstance(node, cst.Call):
            func = node.func
            copies = reading.origins.called(node) in ("copy.deepcopy", "copy.copy") and node.args
            if isinstance(func, cst.Attribute) and func.attr.value in _ASKS:
                held = func.value
            elif copies:
                held = node.args[0].value
                if isinstance(held, cst.Call) and isinstance(held.func, cst.Attribute):
                    held = held.func.value
            elif any(reading.stateful(x) == "model" for x in reading.origins.of(func)):
                held = func
        elif isinstance(node, cst.Subscript) and isinstance(node.value, cst.Subscript):
            inner = node.value.value
            if isinstance(inner, cst.Attribute) and inner.attr.value == "param_groups":
                held = inner.value
        if held is not None and any(reading.stateful(x) for x in reading.origins.of(held)):
            return held
    return None


def _finding(
    reading: Reading, loop: Hooked, target: cst.BaseExpression, taken: cst.BaseExpression
) -> Finding:
    name, source = reading.code.code(target), reading.code.code(taken)
    last = name.rpartition(".")[2]
    return reading.finding(
        RULE,
        target,
        name,
        f"{name} is taken from {source} before the loop at {reading.code.where(loop.node)} and read later; "
        f"a restart in the loop takes it again before the state of {source} is put back",
        f"kept = run.carry({last}=None) before the outer loop, then kept.{last} in place of {name}; or take "
        "it in the loop",
    )


CASES = (
    Case(
        "the rate, an output and a copy of the weights, from before the loop",
        """
        import copy
        import torch
        def main(run, settings):
            loader, model = run.loader(data), run.place(torch.nn.Linear(1, 1))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            run.track(optimizer=optimizer)
            for epoch in run.epochs(9):
                rate = optimizer.param_groups[0]["lr"]  # lost: rate
                old = copy.deepcopy(model.state_dict())  # lost: old
                shown = model(sample)
                run.log({"shown": shown})
                for x in loader:
                    run.log({"rate": rate})
                    optimizer.step()
                compare(model, old)
        """,
    ),
    Case(
        "the same in run.carry, or taken in the loop or behind it",
        """
        import torch
        def main(run, settings):
            loader, model = run.loader(data), run.place(torch.nn.Linear(1, 1))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            run.track(optimizer=optimizer)
            kept = run.carry(rate=0.0)
            for epoch in run.epochs(9):
                kept.rate = optimizer.param_groups[0]["lr"]
                parameters = list(model.parameters())
                for x in loader:
                    rate = optimizer.param_groups[0]["lr"]
                    run.log({"rate": rate - kept.rate, "num": len(parameters)})
                    optimizer.step()
                shown = model(sample)
                run.log({"shown": shown})
        """,
    ),
    Case(
        "before all turns, where a restart finds what was there",
        """
        import torch
        def main(run, settings):
            loader, model = run.loader(data), run.place(torch.nn.Linear(1, 1))
            first = model(sample)
            for epoch in run.epochs(9):
                for x in loader:
                    run.log({"moved": model(sample) - first})
        """,
    ),
)
