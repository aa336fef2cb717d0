"""Training loops that Bessemer knows nothing of: no checkpoint can be taken inside.

An optimizer that steps under `while True` or `for _ in range(...)` alone, or over a plain `DataLoader`,
trains as it should, and all of it is done again after a death.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.checks.base import Case, Finding, Reading
from bessemer.conversion.syntax import literal_text

RULE = "unhooked"
_COUNTERS = frozenset(
    {"builtins.range", "itertools.count", "tqdm.trange", "torch.utils.data.DataLoader", "numpy.arange"}
)
_Loop = cst.For | cst.While


def find(reading: Reading) -> Iterator[Finding]:
    """Find the outermost loops in which optimizers step and no checkpoint can be taken."""
    told: set[cst.CSTNode] = set()
    for call in reading.code.calls():
        if not _steps(reading, call) or reading.loops.are_around(call):
            continue
        loop = _outermost(reading, call, frozenset())
        if loop is None or loop in told:
            continue
        told.add(loop)
        head = f"while {reading.code.code(loop.test)}" if isinstance(loop, cst.While) else ""
        if isinstance(loop, cst.For):
            head = f"for {reading.code.code(loop.target)} in {reading.code.code(loop.iter)}"
        yield reading.finding(
            RULE,
            loop,
            head,
            f"`{head}`: {reading.code.code(call)} at {reading.code.where(call)} trains in it, and no "
            "checkpoint can be taken inside; a restart begins the loop again",
            _todo(reading, loop),
        )


def _steps(reading: Reading, call: cst.Call) -> bool:
    func = call.func
    if not isinstance(func, cst.Attribute) or func.attr.value != "step":
        return False
    found = reading.origins.of(func.value)
    if any(reading.stateful(x) == "optimizer" for x in found):
        return True
    last = func.value.attr if isinstance(func.value, cst.Attribute) else func.value
    own = reading.origins.classes(func.value)
    return not own and isinstance(last, cst.Name) and "optim" in last.value.lower()


def _outermost(reading: Reading, node: cst.CSTNode, seen: frozenset[cst.CSTNode]) -> _Loop | None:
    """Return the outermost loop around a node that only counts, here or where its function is called."""
    function = reading.code.around(node)
    if function is not None and function not in seen:
        for call in reading.origins.callers(function):
            outer = _outermost(reading, call, seen | {function})
            if outer is not None:
                return outer
    loops = [x for x in reading.code.ancestors(node) if isinstance(x, cst.For | cst.While)]
    loops = [x for x in loops if reading.code.around(x) is function and _only_counts(reading, x)]
    return loops[-1] if loops else None


def _only_counts(reading: Reading, loop: _Loop) -> bool:
    if isinstance(loop, cst.While):
        return True
    source = reading.loops.source(loop.iter)
    if (
        isinstance(source, cst.Call)
        and reading.code.imported(source.func) == "builtins.enumerate"
        and source.args
    ):
        source = reading.loops.source(source.args[0].value)
    return any(reading.origins.called(x) in _COUNTERS for x in reading.origins.of(source))


def _todo(reading: Reading, loop: _Loop) -> str:
    if isinstance(loop, cst.While):
        endless = reading.code.code(loop.test) in ("True", "1") or literal_text(loop.test)
        leaving = "" if endless else f", and break unless {reading.code.code(loop.test)}"
        return f"for step in run.steps(){leaving}"
    source = reading.loops.source(loop.iter)
    if any(reading.origins.called(x) == "torch.utils.data.DataLoader" for x in reading.origins.of(source)):
        return "make the loader by run.loader(...), which takes the arguments of DataLoader"
    target, inside = reading.code.code(loop.target), reading.code.code(source)
    inside = inside.removeprefix("range(").removesuffix(")") if inside.startswith("range(") else inside
    first, second = ("epochs", "steps") if "epoch" in target.lower() else ("steps", "epochs")
    return f"for {target} in run.{first}({inside}); run.{second}({inside}) if its turns are {second}"


CASES = (
    Case(
        "an endless loop",
        """
        def main(run, settings):
            optimizer = make()
            while True:  # lost: while True
                optimizer.zero_grad()
                optimizer.step()
        """,
    ),
    Case(
        "the run's own iterators, and a loader under a plain range",
        """
        import torch
        def main(run, settings):
            optimizer = torch.optim.SGD(parameters, lr=0.1)
            for step in run.steps():
                optimizer.step()
            for epoch in run.epochs(9):
                for part in range(4):
                    optimizer.step()
            loader = run.loader(data)
            for epoch in range(9):
                for x in loader:
                    optimizer.step()
        """,
    ),
    Case(
        "a range, with the step in another function",
        """
        import torch
        def main(run, settings):
            optimizer = torch.optim.SGD(parameters, lr=0.1)
            for epoch in range(9):  # lost: for epoch in range(9)
                for part in range(4):
                    update(optimizer)
        def update(opt):
            opt.step()
        """,
    ),
    Case(
        "a plain loader of torch",
        """
        import torch
        from torch.utils.data import DataLoader
        def main(run, settings):
            loader = DataLoader(data)
            optimizer = torch.optim.SGD(parameters, lr=0.1)
            for x in loader:  # lost: for x in loader
                optimizer.step()
        """,
    ),
    Case(
        "what steps and is no optimizer, and one step alone",
        """
        import torch
        def main(run, settings):
            optimizer = torch.optim.SGD(parameters, lr=0.1)
            optimizer.step()
            while True:
                env.step()
                scheduler.step()
        """,
    ),
)
