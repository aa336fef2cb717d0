"""The shape of a training script: its imports, definitions, constants, options and entry point.

A script that is converted has nothing at module level but imports, definitions, literal constants,
the parsing of options and the guard `if __name__ == "__main__":`. Whatever is done under the guard is first
made a function, on the same lines, so that everything after this module sees functions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst import matchers as m

from bessemer.conversion.options import Options, find_options
from bessemer.conversion.sources import Source, Sources
from bessemer.conversion.syntax import (
    Definition,
    Program,
    assigned,
    expressions,
    fresh_name,
    literal_text,
    small,
    statements,
    understand,
    walk,
)
from bessemer.errors import ConversionError, SourceError

_GUARD = m.If(
    test=m.Comparison(
        left=m.Name("__name__"),
        comparisons=[m.ComparisonTarget(operator=m.Equal(), comparator=m.SimpleString())],
    )
)
_ENTRY_NAMES = ("main", "entry", "run_training")


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
    imports: tuple[cst.SimpleStatementLine, ...]
    constants: tuple[Constant, ...]
    definitions: tuple[Definition, ...]
    options: Options
    entry: cst.FunctionDef | None
    made_entry: bool

    @property
    def functions(self) -> tuple[cst.FunctionDef, ...]:
        """The functions at module level, in the order of the file."""
        return tuple(x for x in self.definitions if isinstance(x, cst.FunctionDef))

    def definition(self, name: str) -> Definition | None:
        """Return the definition of this name."""
        return next((x for x in self.definitions if x.name.value == name), None)


_OTHER_FRAMEWORKS = frozenset({"tensorflow", "jax", "flax", "keras", "mxnet", "paddle"})
_NOT_YET = {
    "pytorch_lightning": "PyTorch Lightning owns the loop",
    "lightning": "PyTorch Lightning owns the loop",
    "hydra": "options by hydra are not converted yet",
    "click": "options by click are not converted yet",
    "fire": "options by fire are not converted yet",
    "absl": "options by absl are not converted yet",
    "accelerate": "accelerate already distributes the program",
    "deepspeed": "deepspeed already distributes the program",
    "horovod": "horovod already distributes the program",
}


def pick_script(read: Sources) -> Source:
    """Return the one script that is converted; refuse what is spread over several files."""
    if len(read.files) == 1:
        _refuse_local_modules(read.files[0], read.root)
        return read.files[0]
    starting = [x for x in read.files if any(map(_starts, statements(x.module)))]
    if len(starting) > 1:
        raise SourceError(
            f"{read.root}: several entry points: {', '.join(x.path for x in starting)}",
            "one training script",
            f"give the script itself, for example {read.root / starting[0].path}",
        )
    others = [x.path for x in read.files if x not in starting]
    raise ConversionError(
        f"{read.root}: several files: {', '.join(x.path for x in read.files)}; local modules are not "
        "converted yet",
        "one script that holds the whole program",
        f"merge {', '.join(others[:3])} into the script, or move away what it does not use",
    )


def _refuse_local_modules(source: Source, root: Path) -> None:
    """A script that was given alone may still need the files beside it."""
    for node in walk(source.module, cst.Import, cst.ImportFrom):
        names = [a.evaluated_name for a in node.names] if isinstance(node, cst.Import) else []
        if isinstance(node, cst.ImportFrom):
            names = [source.module.code_for_node(node.module)] if node.module is not None else [""]
        for name in names:
            top = name.partition(".")[0]
            is_relative = isinstance(node, cst.ImportFrom) and bool(node.relative)
            if is_relative or (root / f"{top}.py").is_file() or (root / top / "__init__.py").is_file():
                raise ConversionError(
                    f"{source.path}: {source.module.code_for_node(node).strip()}: "
                    "local modules are not converted yet",
                    "one script that holds the whole program",
                    f"copy what it uses of {top or 'its package'} into {source.path}",
                )


def _starts(statement: cst.BaseStatement) -> bool:
    return isinstance(statement, cst.If) and _is_guard(statement)


def take_apart(module: cst.Module, path: str) -> Script:
    """Sort what stands at module level; refuse what a project has no place for.

    Raises:
        ConversionError: something at module level runs when the file is imported.
    """
    changed, made_names = _with_entry(module)
    program = understand(changed, path)
    _refuse_frameworks(program)
    options = find_options(program)
    made = _made_entry(program, made_names)
    imports: list[cst.SimpleStatementLine] = []
    constants: list[Constant] = []
    definitions: list[Definition] = []
    for statement in statements(program.module):
        if statement in options.building or statement is options.helper:
            continue
        inner = small(statement)
        if isinstance(statement, cst.FunctionDef | cst.ClassDef):
            definitions.append(statement)
        elif isinstance(statement, cst.SimpleStatementLine) and _is_import(statement):
            _refuse_star(program, statement)
            imports.append(statement)
        elif isinstance(inner, cst.Expr) and literal_text(inner.value) is not None:
            continue
        elif isinstance(statement, cst.SimpleStatementLine) and _is_constant(program, statement):
            targets, _ = assigned(statement) or ((), None)
            constants += [Constant(x.value, statement) for x in targets if isinstance(x, cst.Name)]
        else:
            raise _refuse_statement(program, statement)
    _refuse_redefinitions(program, definitions, constants)
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


def _refuse_frameworks(program: Program) -> None:
    for node in walk(program.module, cst.Import, cst.ImportFrom):
        names = [a.evaluated_name for a in node.names] if isinstance(node, cst.Import) else []
        if isinstance(node, cst.ImportFrom) and node.module is not None:
            names = [program.code(node.module)]
        for top in (name.partition(".")[0] for name in names):
            if top in _OTHER_FRAMEWORKS:
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


def _with_entry(module: cst.Module) -> tuple[cst.Module, list[str]]:
    """Make a function of what stands under the main guard, line by line where it is.

    Returns the module and the name of the function that was made, or several names if the program
    starts in several places.
    """
    taken = {x.name.value for x in module.body if isinstance(x, cst.FunctionDef | cst.ClassDef)}
    functions = frozenset(taken)
    body: list[cst.BaseStatement] = []
    made: list[str] = []
    for statement in statements(module):
        suite: cst.BaseSuite | None = None
        if isinstance(statement, cst.If) and _is_guard(statement) and statement.orelse is None:
            suite = statement.body
        elif isinstance(statement, cst.SimpleStatementLine) and _is_bare_call(statement, functions):
            suite = cst.SimpleStatementSuite(body=statement.body)
        if suite is None:
            body.append(statement)
            continue
        made.append(fresh_name(_ENTRY_NAMES, taken))
        taken.add(made[-1])
        leading = getattr(statement, "leading_lines", ())
        body.append(
            cst.FunctionDef(
                name=cst.Name(made[-1]),
                params=cst.Parameters(),
                body=suite,
                leading_lines=leading,
            )
        )
    return module.with_changes(body=body), made


def _is_guard(statement: cst.If) -> bool:
    if not m.matches(statement, _GUARD):
        return False
    test = cst.ensure_type(statement.test, cst.Comparison)
    return literal_text(test.comparisons[0].comparator) == "__main__"


def _is_bare_call(statement: cst.BaseStatement, functions: frozenset[str]) -> bool:
    """Recognise `main()` without a guard, the last line of many scripts."""
    inner = small(statement)
    if not (isinstance(inner, cst.Expr) and isinstance(inner.value, cst.Call)):
        return False
    func = inner.value.func
    return isinstance(func, cst.Name) and func.value in functions


def _made_entry(program: Program, made: list[str]) -> cst.FunctionDef | None:
    found = [x for x in program.module.body if isinstance(x, cst.FunctionDef) and x.name.value in made]
    if len(found) > 1:
        raise ConversionError(
            f"{program.where(found[1])}: the program starts in two places, "
            f"the other is {program.where(found[0])}",
            "one main guard that calls one function",
            "keep one of them",
        )
    return found[0] if found else None


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


def _is_import(statement: cst.SimpleStatementLine) -> bool:
    return all(isinstance(x, cst.Import | cst.ImportFrom) for x in statement.body)


def _refuse_star(program: Program, statement: cst.SimpleStatementLine) -> None:
    for node in statement.body:
        if isinstance(node, cst.ImportFrom) and isinstance(node.names, cst.ImportStar):
            raise ConversionError(
                f"{program.where(statement)}: {program.code(node)}: nobody can tell which names this brings",
                "imports that name what they import",
                "write out the names that are used",
            )


def _is_constant(program: Program, statement: cst.SimpleStatementLine) -> bool:
    pair = assigned(statement)
    return (
        pair is not None
        and all(isinstance(target, cst.Name) for target in pair[0])
        and is_literal(program, pair[1])
    )


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


def _refuse_statement(program: Program, statement: cst.BaseStatement) -> ConversionError:
    text = program.code(statement).splitlines()
    shown = next((line for line in text if line and not line.lstrip().startswith("#")), "")
    trains = any(x.attr.value == "backward" for x in walk(statement, cst.Attribute))
    what = "training at module level" if trains else "this runs when the file is imported"
    return ConversionError(
        f"{program.where(statement)}: {what}: {shown.strip()}",
        "imports, definitions and literal constants at module level, and a main guard",
        "move it into the function that the program starts with, and pass what it makes to the "
        "functions that use it",
    )


def _refuse_redefinitions(program: Program, definitions: list[Definition], constants: list[Constant]) -> None:
    seen: dict[str, cst.CSTNode] = {}
    named = [(x.name.value, x) for x in definitions] + [(x.name, x.statement) for x in constants]
    for name, node in named:
        if name in seen:
            raise ConversionError(
                f"{program.where(node)}: {name} is defined again, first at {program.where(seen[name])}",
                "one definition a name",
                "remove or rename one of them",
            )
        seen[name] = node


def _docstring(module: cst.Module) -> str | None:
    first = next(iter(statements(module)), None)
    inner = small(first) if first is not None else None
    return literal_text(inner.value) if isinstance(inner, cst.Expr) else None
