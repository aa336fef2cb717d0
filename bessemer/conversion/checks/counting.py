"""Loaders inside of something that counts or collects for itself.

`enumerate`, `islice`, `cycle`, a `zip` or a generator around a loader remember how far they are, and nobody
can put that back; Bessemer then takes checkpoints between turns of the outer loop only. A list that is made
of a loader's batches in one expression is worse: a restart goes on in its middle, with an empty list.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.checks.base import Case, Finding, Reading
from bessemer.conversion.syntax import parameters, walk, walk_own

RULE = "counting"
_LATER = "checkpoints are taken between turns of the outer loop only here"
_WRAPPERS = {
    "builtins.enumerate": "write `for i, batch in {loader}.enumerate()`, whose count survives a restart",
    "itertools.islice": "write `for i, batch in {loader}.enumerate()` and break when i is large enough",
    "itertools.cycle": "write an outer loop, `for turn in run.steps()`, around `for batch in {loader}`",
    "builtins.zip": "iterate one loader by `for`, or by {loader}.enumerate() if it is counted, and take "
    "the other's batches by next(...)",
    "itertools.chain": "write one loop after the other",
    "builtins.map": "call the function in the loop's body",
    "builtins.reversed": "give the loader a sampler with this order",
}
_COLLECTORS = frozenset({"builtins.list", "builtins.tuple", "builtins.sum", "builtins.max", "builtins.min"})
_COLLECTORS |= {"builtins.sorted", "builtins.set", "builtins.dict"}


def find(reading: Reading) -> Iterator[Finding]:
    """Find loaders that are iterated by something else than a `for` statement."""
    for call in reading.code.calls():
        yield from _wrapped(reading, call)
    for node in reading.code.every(cst.CompFor):
        assert isinstance(node, cst.CompFor)
        source = reading.loops.source(node.iter)
        if reading.loops.loader_in(source):
            yield _collected(reading, node, source)


def _wrapped(reading: Reading, call: cst.Call) -> Iterator[Finding]:
    called = reading.origins.called(call) or ""
    loaders = [x.value for x in call.args if reading.loops.loader_in(reading.loops.source(x.value))]
    if not loaders:
        return
    name = reading.code.code(loaders[0])
    if called in _COLLECTORS and loaders[0] is call.args[0].value:
        yield _collected(reading, call, loaders[0])
        return
    shown = reading.code.code(call)
    if called in _WRAPPERS:
        yield reading.finding(
            RULE,
            call,
            shown,
            f"{shown} remembers how far it is; {_LATER}",
            _WRAPPERS[called].format(loader=name),
            loses=False,
        )
    function = reading.origins.function(call)
    if function is not None and reading.code.is_generator(function) and _iterates(reading, function, call):
        yield reading.finding(
            RULE,
            call,
            shown,
            f"{shown} is a generator around {name}, which keeps its own place; {_LATER}",
            f"iterate {name} by a `for` statement, and do in its body what {function.name.value} does",
            loses=False,
        )


def _iterates(reading: Reading, function: cst.FunctionDef, call: cst.Call) -> bool:
    """Tell whether a generator function loops over a loader that it is given."""
    names = {x.name.value for x in parameters(function)}
    given = {
        name
        for name, value in reading.origins.arguments(function, call)
        if name in names and reading.loops.loader_in(value)
    }
    return any(x.value in given for loop in walk_own(function, cst.For) for x in walk(loop.iter, cst.Name))


def _collected(reading: Reading, node: cst.CSTNode, loader: cst.BaseExpression) -> Finding:
    name = reading.code.code(loader)
    whole = reading.code.parents[node] if isinstance(node, cst.CompFor) else node
    shown = reading.code.code(whole)
    return reading.finding(
        RULE,
        whole,
        shown,
        f"{shown} collects what comes from {name}; a restart in its middle begins with nothing",
        f"write `for batch in {name}:` and collect in run.totals(...) or run.carry(...)",
    )


CASES = (
    Case(
        "counted by Python",
        """
        def train(run, loader):
            for i, x in enumerate(loader):  # lost: enumerate(loader)
                print(i, x)
        """,
    ),
    Case(
        "counted by the loader, and enumerate of something else",
        """
        def train(run, loader, rows):
            for i, x in loader.enumerate():
                print(i, x)
            for i, row in enumerate(rows):
                print(i, row)
        """,
    ),
    Case(
        "a part of a loader, and a loader without end, behind a bar",
        """
        from itertools import cycle, islice
        from tqdm import tqdm
        def train(run, settings):
            loader = run.loader(data)
            for x in tqdm(islice(loader, 9)):  # lost: islice(loader, 9)
                print(x)
            for x in cycle(tqdm(loader)):  # lost: cycle(tqdm(loader))
                print(x)
        """,
    ),
    Case(
        "two loaders at once",
        """
        def train(run, settings):
            first, second = make(run)
            for a, b in zip(first, second):  # lost: zip(first, second)
                print(a, b)
        def make(run):
            return run.loader(data), run.loader(other)
        """,
    ),
    Case(
        "a generator around a loader",
        """
        def batches(source, device):
            for x in source:
                yield x.to(device)
        def train(run, loader):
            for x in batches(loader, run.device):  # lost: batches(loader, run.device)
                print(x)
        """,
    ),
    Case(
        "a list of batches, and a sum over them",
        """
        def evaluate(run, model, loader):
            all = torch.cat([model(x) for x in loader])  # lost: [model(x) for x in loader]
            return sum(f(x) for x in loader)  # lost: f(x) for x in loader
        """,
    ),
    Case(
        "what only asks a loader something, or hands it on",
        """
        def train(run, loader):
            print(len(loader), [x for x in loader.dataset], zip([1], [2]))
            it = iter(loader)
            step(it, loader)
        def step(it, loader):
            return next(it)
        """,
    ),
)
