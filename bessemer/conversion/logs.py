"""Where metrics are logged: one decision for each `print` that shows some.

In a training loop a loss that is only shown now and then is logged after every step; everything
else is logged next to the line that prints it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst
from libcst import matchers as m

from bessemer.conversion.holders import within
from bessemer.conversion.inference import Kinds, call_of
from bessemer.conversion.loops import LoaderLoop, Training
from bessemer.conversion.metrics import (
    COUNTERS,
    PrintedField,
    is_pair,
    label_words,
    metric_name,
    phase_in,
    printed_fields,
    words_of,
)
from bessemer.conversion.plan import Unconverted
from bessemer.conversion.program import Program
from bessemer.conversion.reductions import Reduction
from bessemer.conversion.script import Script
from bessemer.conversion.shown import Shown
from bessemer.conversion.state import State
from bessemer.conversion.syntax import assigned, small, statements, walk


@dataclass(frozen=True, eq=False)
class Metric:
    """One logged value; `detach` when it is a tensor that still holds its graph."""

    name: str
    value: cst.BaseExpression
    over: cst.BaseExpression | None = None
    detach: bool = False


@dataclass(frozen=True, eq=False)
class Log:
    """One `run.log(...)`, to stand behind the statement `after`.

    `shown` is the `print`, or the call of `backward` where nothing prints the loss.
    """

    after: cst.BaseStatement
    function: cst.FunctionDef
    shown: cst.Call
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, eq=False)
class Logs:
    """All logging of a program, what is printed but not logged, and what a checkpoint is judged by."""

    logs: tuple[Log, ...]
    unconverted: tuple[Unconverted, ...]
    best_metric: str
    best_mode: str


def find_logs(script: Script, kinds: Kinds, training: Training, state: State) -> Logs:
    """Read every `print` in the functions of a program."""
    finder = _Finder(script, kinds, training, state)
    for function in script.callables:
        for call in walk(function, cst.Call):
            if script.program.imported(call.func) == "builtins.print":
                finder.visit(function, call)
    if not any(finder.is_of_training(log) for log in finder.logs):
        finder.losses()
    metric, mode = _best(list(finder.names))
    return Logs(tuple(finder.logs), tuple(finder.unconverted), metric, mode)


def _best(names: list[str]) -> tuple[str, str]:
    """Choose what the best checkpoint is: evaluation before training, loss before accuracy."""
    held_out = [name for name in names if not name.startswith("train/")]
    for candidates, words, mode in (
        (held_out, {"loss", "nll", "perplexity"}, "min"),
        (held_out, {"accuracy", "acc"}, "max"),
        (names, {"loss"}, "min"),
    ):
        for name in candidates:
            if words & set(words_of(name)):
                return name, mode
    return (names[0], "min") if names else ("", "min")


class _Finder:
    def __init__(self, script: Script, kinds: Kinds, training: Training, state: State) -> None:
        self.script = script
        self.program: Program = script.program
        self.training = training
        self.shown = Shown(script, kinds, state)
        self.logs: list[Log] = []
        self.names: dict[str, None] = {}
        self.unconverted: list[Unconverted] = []

    def visit(self, function: cst.FunctionDef, call: cst.Call) -> None:
        """Turn the metrics of one `print` into a log."""
        if not isinstance(small(self.program.statement(call)), cst.Expr):
            return
        loop = self.training.around(self.program, call)
        metrics = list(self._metrics(function, call, loop))
        if not metrics:
            return
        if loop is not None and not loop.trains:
            self.unconverted.append(
                Unconverted(
                    self.program.where(call),
                    self.program.code(call),
                    "printed in the middle of an evaluation; a metric is logged when it is complete",
                )
            )
            return
        new = [metric for metric in metrics if metric.name not in self.names]
        self.names.update(dict.fromkeys(metric.name for metric in new))
        statement = self.program.statement(call)
        trained = self._trained_before(function, statement) if loop is None else loop
        inside = loop is not None and not self._is_conditional(statement, loop)
        for place, group in self._places(statement, None if inside else trained, new):
            if isinstance(self.program.parent(place), cst.IndentedBlock):
                self.logs.append(Log(place, function, call, tuple(group)))

    def is_of_training(self, log: Log) -> bool:
        """Tell whether a log says how training goes, while it goes on."""
        around = set(self.program.ancestors(log.after))
        inside = any(top.loop in around for top in self.training.tops)
        called = all(log.function is not top.where for top in self.training.tops)
        return (inside or called) and any(x.name.startswith("train/") for x in log.metrics)

    def losses(self) -> None:
        """Log what is minimised, where the program prints no number of its training as it goes on."""
        found: dict[str, cst.Call] = {}
        for function in self.script.callables:
            for call in walk(function, cst.Call) if function in self.training.stepping else ():
                method = call_of(call, "backward")
                is_plain = method is not None and isinstance(method.value, cst.Name)
                own = self.program.enclosing(call, cst.FunctionDef) is function
                if is_plain and own and isinstance(small(self.program.statement(call)), cst.Expr):
                    assert method is not None
                    found.setdefault(self.program.code(method.value), call)
        for name, call in found.items():
            around = self.program.function(call)
            assert around is not None
            method = cst.ensure_type(call.func, cst.Attribute)
            metric = Metric("train/loss" if len(found) == 1 else f"train/{name}", method.value, detach=True)
            self.names[metric.name] = None
            self.logs.append(Log(self._step_behind(call), around, call, (metric,)))

    def _step_behind(self, backward: cst.Call) -> cst.BaseStatement:
        """Return the optimizer's step behind a `backward` in the same block, or the `backward` itself."""
        here = self.program.statement(backward)
        block = self.program.parent(here)
        for step in self.training.steps:
            statement = self.program.statement(step)
            if self.program.parent(statement) is block and self.program.before(here, statement):
                return statement
        return here

    def _places(
        self, shown: cst.BaseStatement, loop: LoaderLoop | None, metrics: list[Metric]
    ) -> Iterator[tuple[cst.BaseStatement, list[Metric]]]:
        """Yield where metrics are logged: behind the step, or else behind the line that shows them."""
        rest: list[Metric] = []
        stepped: dict[cst.BaseStatement, list[Metric]] = {}
        together = self._after_step(loop, metrics) if loop is not None else None
        if together is not None:
            stepped[together[0]] = together[1]
        else:
            for metric in metrics:
                found = self._after_step(loop, [metric]) if loop is not None else None
                if found is None:
                    rest.append(metric)
                else:
                    stepped.setdefault(found[0], []).extend(found[1])
        yield from stepped.items()
        if rest:
            yield shown, rest

    def _trained_before(self, function: cst.FunctionDef, statement: cst.BaseStatement) -> LoaderLoop | None:
        """Return the last training loop of a function before a line, which may show what it left."""
        loops = [
            loop
            for loop in self.training.loader_loops
            if loop.function is function and loop.trains and self.program.before(loop.node, statement)
        ]
        return loops[-1] if loops else None

    def _metrics(
        self, function: cst.FunctionDef, call: cst.Call, loop: LoaderLoop | None
    ) -> Iterator[Metric]:
        fields = printed_fields(self.program, call)
        text = " ".join(part for field in fields for part in (field.before, field.after))
        skipped: set[int] = set()
        seen: dict[str, None] = {}
        for index, field in enumerate(fields):
            if index in skipped or self.shown.is_collection(field.value):
                continue
            if not self.shown.is_metric(field.value):
                continue
            words = label_words(field.before)
            if words and COUNTERS.issuperset(words):
                continue
            if not words and index > 0 and not _is_first_on_its_own(field, fields[index - 1]):
                continue
            over = None
            if is_pair(field) and index + 1 < len(fields):
                divisor = fields[index + 1].value
                is_ratio = not self.shown.is_metric(divisor) or self._is_count(divisor)
                if is_ratio and (field.after.strip() == "/" or self._is_sum(field.value)):
                    over = divisor
                    skipped.add(index + 1)
            phase = self._phase(function, words, text, loop, field.value)
            name = metric_name(words, phase, self._fallback(field.value))
            if over is not None and name.endswith("/correct"):
                name = f"{phase}/accuracy"
            if name in seen:
                name = f"{name}_{sum(x == name or x.startswith(name + '_') for x in seen) + 1}"
            seen[name] = None
            yield Metric(name, field.value, over)

    def _phase(
        self,
        function: cst.FunctionDef,
        words: tuple[str, ...],
        text: str,
        loop: LoaderLoop | None,
        value: cst.BaseExpression,
    ) -> str:
        named = phase_in(words)
        if named is not None:
            return named
        if loop is not None and loop.trains:
            return "train"
        measured = self._measured_by(value)
        said = phase_in(words_of(text)) or phase_in(words_of(function.name.value))
        direct = any(self.program.function(step) is function for step in self.training.steps)
        inline = any(x.function is function and not x.trains for x in self.training.loader_loops)
        if measured == "train" or (direct and measured is None and not (inline and said)):
            return "train"
        from_loops = "train" if function in self.training.stepping else "eval"
        return said or measured or from_loops

    def _measured_by(self, value: cst.CSTNode, asked: set[cst.CSTNode] | None = None) -> str | None:
        """Return the phase of the function, one that iterates a loader, that returned a value."""
        asked = set() if asked is None else asked
        for call in walk(value, cst.Call):
            function = self.script.definition(self.program.defined(call.func) or "")
            if function is None:
                continue
            if function in self.training.stepping:
                return "train"
            if any(loop.function is function for loop in self.training.loader_loops):
                return phase_in(words_of(function.name.value)) or "eval"
        for use in walk(value, cst.Name):
            for node in self.program.bindings(use) if self.program.is_load(use) else ():
                if node in asked or not isinstance(node, cst.Name):
                    continue
                asked.add(node)
                pair = assigned(self.program.statement(node))
                phase = self._measured_by(pair[1], asked) if pair is not None else None
                if phase is not None:
                    return phase
        return None

    def _fallback(self, value: cst.BaseExpression) -> str:
        for name in walk(value, cst.Name):
            if self.program.contexts.get(name) is not None and self.program.imported(name) is None:
                return name.value
        return "value"

    def _is_count(self, node: cst.BaseExpression) -> bool:
        return self._reduction(node) in (Reduction.SIZE, Reduction.SAME)

    def _is_sum(self, node: cst.BaseExpression) -> bool:
        return self._reduction(node) is Reduction.SUM

    def _reduction(self, node: cst.BaseExpression) -> Reduction | None:
        if isinstance(node, cst.Name):
            return self.shown.accumulated(node, self.program.function(node))
        return None

    def _is_conditional(self, statement: cst.BaseStatement, loop: LoaderLoop) -> bool:
        suite = self.program.parent(statement)
        return self.program.parent(suite) is not loop.node

    def _after_step(
        self, loop: LoaderLoop, metrics: list[Metric]
    ) -> tuple[cst.BaseStatement, list[Metric]] | None:
        """Return the place in the loop's own block behind the last step, if the values exist there."""
        block = list(statements(loop.node.body))
        steps = [
            index
            for index, statement in enumerate(block)
            if any(call in self.training.steps for call in walk(statement, cst.Call))
        ]
        if not steps:
            return None
        place, detached = steps[-1], []
        for metric in metrics:
            found = self._loop_level(loop, block, metric.value)
            if metric.over is not None or found is None:
                return None
            index, is_tensor = found
            place = max(place, index)
            value = metric.value
            if isinstance(value, cst.Call):
                value = cst.ensure_type(value.func, cst.Attribute).value
            detached.append(Metric(metric.name, value, None, is_tensor))
        return block[place], detached

    def _loop_level(
        self, loop: LoaderLoop, block: list[cst.BaseStatement], value: cst.BaseExpression
    ) -> tuple[int, bool] | None:
        """Return where in a loop's block a plain name gets its value, and whether it holds a tensor."""
        is_item = m.matches(value, m.Call(func=m.Attribute(value=m.Name(), attr=m.Name("item"))))
        name = value
        if is_item:
            name = cst.ensure_type(cst.ensure_type(value, cst.Call).func, cst.Attribute).value
        if not isinstance(name, cst.Name) or self.shown.accumulated(name, loop.function) is not None:
            return None
        elsewhere = (
            node
            for node in self.program.bindings(name)
            if self.program.before(loop.node, node) and not within(self.program, node, loop.node)
        )
        if any(elsewhere):
            return None
        found = None
        for index, statement in enumerate(block):
            pair = assigned(statement)
            for target in pair[0] if pair is not None else ():
                if isinstance(target, cst.Name) and target.value == name.value and pair is not None:
                    is_number = call_of(pair[1], "item", "tolist") is not None
                    found = (index, not is_number)
        return found


def _is_first_on_its_own(field: PrintedField, previous: PrintedField) -> bool:
    """Tell whether a field without words is a value of its own, not a second view of the one before."""
    return field.before.strip() in ("", ",") and "(" not in field.before and previous.after == " "
