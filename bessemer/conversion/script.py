"""The shape of a training script: its imports, definitions, constants, options and entry point.

Works on the normal form, in which everything that runs is in one function; that function, or the one that
alone is called in it, is the entry point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeGuard

import libcst as cst

from bessemer.conversion.normal import Normal
from bessemer.conversion.option import Option
from bessemer.conversion.options import Options, find_options
from bessemer.conversion.program import Program, understand
from bessemer.conversion.syntax import (
    Definition,
    assigned,
    expressions,
    literal_text,
    small,
    statements,
    walk,
)
from bessemer.errors import ConversionError

ImportStatement = cst.SimpleStatementLine | cst.Try
"""Imports, or a `try` around imports with another way if they fail."""


@dataclass(frozen=True, eq=False)
class Constant:
    """An assignment of a literal at module level; `name` is what it binds."""

    name: str
    statement: cst.SimpleStatementLine


@dataclass(frozen=True, eq=False)
class Script:
    """A training script, taken apart. `entry` is the function the program starts with."""

    program: Program
    docstring: str | None
    imports: tuple[ImportStatement, ...]
    constants: tuple[Constant, ...]
    definitions: tuple[Definition, ...]
    options: Options
    entry: cst.FunctionDef | None
    made_entry: bool

    @property
    def functions(self) -> tuple[cst.FunctionDef, ...]:
        """The functions at module level, in the order of the file."""
        return tuple(x for x in self.definitions if isinstance(x, cst.FunctionDef))

    @property
    def callables(self) -> tuple[cst.FunctionDef, ...]:
        """The functions at module level and the methods of classes, but for those of data sets.

        What a data set does may happen in a process that has no run.
        """
        found: list[cst.FunctionDef] = []
        for definition in self.definitions:
            if isinstance(definition, cst.FunctionDef):
                found.append(definition)
                continue
            methods = [x for x in definition.body.body if isinstance(x, cst.FunctionDef)]
            if not any(x.name.value in ("__getitem__", "__iter__") for x in methods):
                found += methods
        return tuple(found)

    def definition(self, name: str) -> Definition | None:
        """Return the definition of this name."""
        return next((x for x in self.definitions if x.name.value == name), None)


_OTHER_FRAMEWORKS = frozenset({"tensorflow", "jax", "flax", "keras", "mxnet", "paddle"})
_NOT_YET = {
    "pytorch_lightning": "PyTorch Lightning owns the loop",
    "lightning": "PyTorch Lightning owns the loop",
    "hydra": "options by hydra are not converted yet",
    "accelerate": "accelerate already distributes the program",
    "deepspeed": "deepspeed already distributes the program",
    "horovod": "horovod already distributes the program",
}


def take_apart(normal: Normal, path: str) -> Script:
    """Sort what stands at module level of a program in normal form.

    Raises:
        ConversionError: the program uses something that is not converted yet.
    """
    program = understand(normal.module, path, normal.places.known)
    _refuse_frameworks(program)
    options = _as_written(find_options(program), normal)
    made = _made_entry(program, normal.entry)
    imports: list[ImportStatement] = []
    constants: list[Constant] = []
    definitions: list[Definition] = []
    for statement in statements(program.module):
        if statement in options.building or statement is options.helper:
            continue
        inner = small(statement)
        if isinstance(statement, cst.FunctionDef | cst.ClassDef):
            definitions.append(statement)
        elif isinstance(statement, cst.Try) or _is_import(statement):
            imports.append(_without_star(program, statement))
        elif isinstance(inner, cst.Expr) and literal_text(inner.value) is not None:
            continue
        elif isinstance(statement, cst.SimpleStatementLine):
            targets, _ = assigned(statement) or ((), None)
            constants += [Constant(x.value, statement) for x in targets if isinstance(x, cst.Name)]
        else:
            raise AssertionError(f"{program.where(statement)}: not in normal form")
    kept = tuple(definitions)
    entry = _entry(program, options, kept, made)
    if made is not None and entry is not made:
        kept = tuple(x for x in kept if x is not made)
    return Script(
        program,
        _docstring(program.module),
        tuple(imports),
        tuple(constants),
        kept,
        options,
        entry,
        entry is made and made is not None,
    )


def _as_written(options: Options, normal: Normal) -> Options:
    """Say of options that were none of argparse how the research code has them."""

    def written(option: Option) -> Option:
        restated = normal.restated.get(option.name)
        if restated is None:
            return option
        return replace(option, spelling=restated.spelling, notes=(*restated.notes, *option.notes))

    found = {x: written(x) for x in options.options}
    lines = {node: found[x] for node, x in options.lines.items()}
    return replace(options, options=tuple(found.values()), lines=lines)


def _refuse_frameworks(program: Program) -> None:
    for node in walk(program.module, cst.Import, cst.ImportFrom):
        names = [a.evaluated_name for a in node.names] if isinstance(node, cst.Import) else []
        if isinstance(node, cst.ImportFrom) and node.module is not None:
            names = [program.code(node.module)]
        for top in (name.partition(".")[0] for name in names):
            # A helper may read weights that another framework has written.
            if top in _OTHER_FRAMEWORKS and _is_in_entry(program, node):
                raise ConversionError(
                    f"{program.where(node)}: {program.code(node)}: Bessemer converts PyTorch",
                    "training in PyTorch",
                    "remove the import if it is not needed",
                )
            if top in _NOT_YET:
                raise ConversionError(
                    f"{program.where(node)}: {program.code(node)}: {_NOT_YET[top]}",
                    "a plain PyTorch training loop with argparse, or without options",
                    "write the loop, or the options, in plain Python",
                )


def _is_in_entry(program: Program, node: cst.CSTNode) -> bool:
    return program.where(node).startswith((f"{program.path}:", f"{program.path}["))


def _made_entry(program: Program, name: str | None) -> cst.FunctionDef | None:
    found = (x for x in program.module.body if isinstance(x, cst.FunctionDef) and x.name.value == name)
    return next(found, None)


def _entry(
    program: Program,
    options: Options,
    definitions: tuple[Definition, ...],
    made: cst.FunctionDef | None,
) -> cst.FunctionDef | None:
    """Return the function that the program starts with: the guard's body, or what only it calls."""
    if made is None:
        return None
    rest = [x for x in _lines(made) if x not in options.building]
    inner = small(rest[0]) if len(rest) == 1 else None
    call = inner.value if isinstance(inner, cst.Expr | cst.Assign) else None
    if isinstance(call, cst.Call) and all(_is_options(program, options, x) for x in call.args):
        name = program.defined(call.func)
        for definition in definitions:
            if definition.name.value == name and isinstance(definition, cst.FunctionDef):
                return definition
    return made


def _lines(function: cst.FunctionDef) -> list[cst.BaseStatement]:
    body = function.body
    if isinstance(body, cst.SimpleStatementSuite):
        return [cst.SimpleStatementLine(body=body.body)]
    return list(statements(body))


def _is_options(program: Program, options: Options, arg: cst.Arg) -> bool:
    if arg.value in options.parses:
        return True
    bound = program.bindings(arg.value) if isinstance(arg.value, cst.Name) else ()
    return bool(bound) and all(node in options.bound for node in bound)


def _is_import(statement: cst.BaseStatement) -> TypeGuard[cst.SimpleStatementLine]:
    return isinstance(statement, cst.SimpleStatementLine) and all(
        isinstance(x, cst.Import | cst.ImportFrom) for x in statement.body
    )


def _without_star(program: Program, statement: ImportStatement) -> ImportStatement:
    for node in walk(statement, cst.ImportFrom):
        if isinstance(node, cst.ImportFrom) and isinstance(node.names, cst.ImportStar):
            raise ConversionError(
                f"{program.where(statement)}: {program.code(node)}: nobody can tell which names this brings",
                "imports of modules that are here, or that name what they import",
                "install it, convert the folder that holds it, or write out the names that are used",
            )
    return statement


def is_literal(program: Program, node: cst.BaseExpression) -> bool:
    """Tell whether an expression is built from literals and other constants alone."""
    for part in expressions(node):
        match part:
            case cst.Name() if program.is_load(part):
                builtin = program.imported(part) or ""
                is_plain = builtin in ("builtins.True", "builtins.False", "builtins.None", "math")
                if not (is_plain or part.value in ("True", "False", "None") or _is_capital(program, part)):
                    return False
            case cst.Attribute() if not (program.imported(part) or "").startswith("math."):
                return False
            case (
                cst.Call()
                | cst.Lambda()
                | cst.Await()
                | cst.Yield()
                | cst.NamedExpr()
                | cst.BaseComp()
                | cst.FormattedString()
                | cst.Subscript()
            ):
                return False
    return True


def _is_capital(program: Program, name: cst.Name) -> bool:
    """Tell whether a name is itself a constant of this module."""
    found = program.bindings(name)
    return bool(found) and all(
        isinstance(node, cst.Name)
        and program.function(node) is None
        and (pair := assigned(program.statement(node))) is not None
        and pair[1] is not name
        and is_literal(program, pair[1])
        for node in found
        if node is not name
    )


def _docstring(module: cst.Module) -> str | None:
    first = next(iter(statements(module)), None)
    inner = small(first) if first is not None else None
    return literal_text(inner.value) if isinstance(inner, cst.Expr) else None
