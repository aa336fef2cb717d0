"""The training runs of a notebook: more than one is the rule rather than the exception.

A run is an outermost loop at cell level, or a call at cell level, in which `backward` is called, by itself or
by the functions and methods of the notebook that are called in it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bessemer.conversion.notebooks.cells import Cell, place
from bessemer.conversion.notebooks.names import body_of
from bessemer.conversion.plan import Question

_Loop = ast.For | ast.AsyncFor | ast.While
_Function = ast.FunctionDef | ast.AsyncFunctionDef


# Methods of modules and optimizers, with at most one argument.
_OF_TORCH = frozenset({"train", "eval", "step", "zero_grad", "backward", "forward"})


@dataclass(frozen=True)
class TrainingRun:
    """A place of a notebook that trains.

    Attributes:
        number: what `--run` calls it, from 1, in the order of the program.
        cell: the number of its cell.
        line: the line in the cell, from 1.
        program_line: the line of the program that it begins on, from 1.
        code: its first line.
        models: names whose parameters its optimizers were given, if that is clear.
        optimizers: names of optimizers that it uses, if that is clear.
        heading: the markdown heading above its cell, or "".
    """

    number: int
    cell: int
    line: int
    program_line: int
    code: str
    models: tuple[str, ...]
    optimizers: tuple[str, ...]
    heading: str


def find_runs(
    tree: ast.Module, text: str, places: Sequence[tuple[int, int]], cells: Sequence[Cell]
) -> tuple[TrainingRun, ...]:
    """Return the training runs of a program, in its order.

    Args:
        tree: what the program parses to.
        text: the program.
        places: for each line the number of its cell and its line there.
        cells: the notebook's cells.
    """
    table = _Table()
    headings = {x.number: x.heading for x in cells}
    lines = text.split("\n")
    found: list[TrainingRun] = []
    for statement in _at_cell_level(tree.body):
        defines = isinstance(statement, _Function | ast.ClassDef)
        uses = None if defines else table.reached(statement)
        if uses is not None and _can_be_a_run(statement, uses):
            cell, line = places[statement.lineno - 1]
            optimizers = sorted(uses.names & set(table.optimizers))
            models = sorted({table.optimizers[x] for x in optimizers} - {""})
            code = lines[statement.lineno - 1].strip()
            found.append(
                TrainingRun(
                    len(found) + 1,
                    cell,
                    line,
                    statement.lineno,
                    code,
                    tuple(models),
                    tuple(optimizers),
                    headings.get(cell, ""),
                )
            )
        table.note(statement)
    return tuple(found)


def described(run: TrainingRun, shown: str) -> str:
    """Say in one line what a run is."""
    parts = [f"run {run.number}: {place(shown, run.cell, run.line)}: {run.code}"]
    if run.optimizers:
        trained = ", ".join(run.models) or "something"
        parts.append(f"trains {trained} with {', '.join(run.optimizers)}")
    if run.heading:
        parts.append(f"under {run.heading!r}")
    return "; ".join(parts)


def question(runs: Sequence[TrainingRun], chosen: int | None, shown: str) -> Question | None:
    """Say what was done with several runs."""
    if len(runs) < 2:
        return None
    listed = "; ".join(f"run {x.number} in cell {x.cell}, {x.code}" for x in runs)
    if chosen is None:
        reason = f"{len(runs)} training runs, which are one program, one after the other: {listed}"
        return Question(place(shown, runs[0].cell, runs[0].line), reason, "choose one with --run")
    run = runs[chosen - 1]
    reason = f"run {chosen} of {len(runs)} is chosen"
    if chosen < len(runs):
        reason += "; what follows it is left out"
    if chosen > 1:
        reason += "; the runs before it stay, since they draw random numbers and may make what it uses"
    todo = "nothing; or take the cells of the other runs out of the notebook, and convert again"
    return Question(place(shown, run.cell, run.line), reason, todo)


@dataclass(frozen=True)
class _Uses:
    """What code reaches: the names that it uses, and whether it goes backward in a function."""

    names: frozenset[str]
    in_function: bool


@dataclass
class _Table:
    """What is known of the notebook's names at a place of the program."""

    functions: dict[str, _Function] = field(default_factory=dict)
    classes: dict[str, dict[str, _Function]] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    optimizers: dict[str, str] = field(default_factory=dict)

    def note(self, statement: ast.stmt) -> None:
        if isinstance(statement, _Function):
            self.functions[statement.name] = statement
        elif isinstance(statement, ast.ClassDef):
            inherited = [self.classes.get(x.id, {}) for x in statement.bases if isinstance(x, ast.Name)]
            methods = {name: x for base in reversed(inherited) for name, x in base.items()}
            methods |= {x.name: x for x in statement.body if isinstance(x, _Function)}
            self.classes[statement.name] = methods
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            call = statement.value
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    self._note_object(target.id, call)

    def _note_object(self, name: str, call: ast.Call) -> None:
        self.objects.pop(name, None)
        self.optimizers.pop(name, None)
        made: ast.expr = call
        while isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute):
            made = made.func.value  # Net().to(device)
        if isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id in self.classes:
            self.objects[name] = made.func.id
        if ast.unparse(call.func).split(".")[-2:-1] == ["optim"]:
            self.optimizers[name] = ""
        for argument in (*call.args, *(x.value for x in call.keywords)):
            for inner in ast.walk(argument):
                if isinstance(inner, ast.Call) and _method(inner) == "parameters":
                    owner = inner.func.value  # type: ignore[attr-defined]
                    model = owner.id if isinstance(owner, ast.Name) else ""
                    self.optimizers[name] = self.optimizers.get(name) or model

    def reached(self, node: ast.AST) -> _Uses | None:
        """Return what running code uses if `backward` is called in it, else None."""
        names = {x.id for x in _run_now(node) if isinstance(x, ast.Name)}
        seen: set[ast.AST] = set()
        waiting: list[tuple[ast.AST, str]] = [(node, "")]
        direct = deep = False
        while waiting:
            part, owner = waiting.pop()
            for call in _run_now(part):
                if not isinstance(call, ast.Call):
                    continue
                if _method(call) == "backward":
                    direct, deep = direct or part is node, deep or part is not node
                function, its_class = self._called(call, owner)
                if function is not None and function not in seen:
                    seen.add(function)
                    names |= body_of(function).reads
                    waiting.append((function, its_class))
        return _Uses(frozenset(names), deep) if direct or deep else None

    def _called(self, call: ast.Call, owner: str) -> tuple[_Function | None, str]:
        """Return the function that a call in a method of `owner` runs, and the class if it is a method."""
        if isinstance(call.func, ast.Name):
            if call.func.id in self.classes:
                return self.classes[call.func.id].get("__init__"), call.func.id
            return self.functions.get(call.func.id), ""
        if not isinstance(call.func, ast.Attribute):
            return None, ""
        held, name = call.func.value, call.func.attr
        known = ""
        if isinstance(held, ast.Call) and isinstance(held.func, ast.Name):
            known = held.func.id
        elif isinstance(held, ast.Name):
            known = owner if held.id == "self" and owner else self.objects.get(held.id, "")
        if known in self.classes:
            return self.classes[known].get(name), known
        # Of what object is not known: a method of this name, unless it may be that of every module.
        if name in _OF_TORCH and len(call.args) + len(call.keywords) < 2:
            return None, ""
        having = [x for x in self.classes if name in self.classes[x]]
        return (self.classes[having[-1]][name], having[-1]) if having else (None, "")


def _can_be_a_run(statement: ast.stmt, uses: _Uses) -> bool:
    """A single `loss.backward()` at cell level shows how gradients work, and trains nothing."""
    return isinstance(statement, _Loop) or uses.in_function


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _run_now(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when code runs: not the bodies of the functions and classes that it defines."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            # A closure is run by the function that makes it (LBFGS), as far as anybody can see.
            if isinstance(node, _Function):
                yield from _run_now(child)
            continue
        yield child
        yield from _run_now(child)


def _at_cell_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements at cell level; of `if`, `with` and `try` what is inside of them."""
    for statement in body:
        if isinstance(statement, ast.If | ast.With | ast.AsyncWith | ast.Try | ast.TryStar):
            for name in ("body", "orelse", "finalbody"):
                yield from _at_cell_level(getattr(statement, name, []))
            for handler in getattr(statement, "handlers", []):
                yield from _at_cell_level(handler.body)
        else:
            yield statement
