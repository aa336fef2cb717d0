"""What a script does when it is run moves into one function; what it defines stays at module level.

Statements keep their order. At module level remain imports, functions, classes, constants, and the statements
that build an `argparse` parser; everything else, and the body of the main guard, becomes the body of a
function without parameters. A definition that needs a value at the moment it is made (a default, a base
class, the body of a class), or whose name is bound twice, goes into that function with the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.children import children
from bessemer.conversion.normal.guards import is_guard
from bessemer.conversion.normal.names import Names, find_names, innermost
from bessemer.conversion.normal.places import Places
from bessemer.conversion.syntax import assigned, code_of, every, fresh_name, literal_text, small, walk

_ENTRY_NAMES = ("main", "entry", "run_training")
_LITERALS = (
    cst.Integer,
    cst.Float,
    cst.Imaginary,
    cst.SimpleString,
    cst.ConcatenatedString,
    cst.UnaryOperation,
    cst.BinaryOperation,
    cst.Tuple,
    cst.List,
    cst.Dict,
    cst.Set,
)
_SAYING = frozenset({"print", "warnings.warn"})
_EXITS = frozenset({"exit", "quit", "sys.exit"})
_PARSER = "ArgumentParser"
_PARSER_METHODS = frozenset({"add_argument", "add_argument_group", "add_mutually_exclusive_group"})


@dataclass(frozen=True, eq=False)
class Hoisted:
    """A module whose code that runs is in one function; `entry` is that function's name, if there is code."""

    module: cst.Module
    entry: str | None


def hoist(module: cst.Module, places: Places) -> Hoisted:
    """Move what a module does when it is run into a function."""
    return _Hoister(module, places).hoisted()


class _Hoister:
    def __init__(self, module: cst.Module, places: Places) -> None:
        self.module = module
        self.places = places
        self.body = list(_unguarded(module.body, places))
        self.names: Names = find_names(module)
        self.declared = {item.name.value for x in walk(module, cst.Global) for item in x.names}
        self.parsers = {
            name
            for statement in self.body
            if _builds_parser(statement, frozenset())
            for name in _targets(statement)
        }

    def hoisted(self) -> Hoisted:
        kept = [x for x in self.body if self._may_stay(x)]
        while True:
            moved = self._bound_by(x for x in self.body if x not in kept)
            held = [x for x in kept if not self._needs(x, moved)]
            if len(held) == len(kept):
                break
            kept = held
        rest = [x for x in self.body if x not in kept and not _is_text(x)]
        outside = [x for x in self.body if x in kept]
        if not rest:
            return Hoisted(self.module.with_changes(body=outside), None)
        taken = {x.value for x in walk(self.module, cst.Name)}
        name = fresh_name(_ENTRY_NAMES, taken)
        entry = cst.FunctionDef(
            name=cst.Name(name), params=cst.Parameters(), body=cst.IndentedBlock(body=rest)
        )
        self.places.put(entry, rest[0])
        return Hoisted(self.module.with_changes(body=[*outside, entry]), name)

    def _may_stay(self, statement: cst.BaseStatement) -> bool:
        """Tell whether a statement may stand at module level, as far as it is seen alone."""
        if _is_docstring(self.module, statement) or _is_import(statement):
            return True
        if isinstance(statement, cst.FunctionDef | cst.ClassDef):
            return self._is_bound_once(statement.name.value)
        if _builds_parser(statement, self.parsers):
            return True
        pair = assigned(statement)
        names = [x.value for x in (pair[0] if pair else ()) if isinstance(x, cst.Name)]
        return (
            pair is not None
            and len(names) == len(pair[0])
            and all(map(self._is_bound_once, names))
            and self._is_constant(pair[1])
        )

    def _is_constant(self, node: cst.BaseExpression) -> bool:
        match node:
            case cst.Name():
                is_word = node.value in ("True", "False", "None")
                return is_word or self._is_constant_name(node.value)
            case cst.List() | cst.Dict() | cst.Set():
                return False  # it may be changed in place; the function makes its own
            case cst.Attribute():
                return self._is_of_module(node)  # `torch.float32`, `torch.tanh`
        parts = [x for x in children(node) if isinstance(x, cst.BaseExpression | cst.BaseElement)]
        return isinstance(node, _LITERALS) and all(
            self._is_constant(x if isinstance(x, cst.BaseExpression) else x.value) for x in parts
        )

    def _is_of_module(self, node: cst.Attribute) -> bool:
        """Tell whether a dotted name is of something that is imported, whatever happens."""
        first = innermost(node)
        return first in self.names.imported and first not in self.names.mixed

    def _is_constant_name(self, name: str) -> bool:
        if not self._is_bound_once(name):
            return False
        for statement in self.body:
            pair = assigned(statement)
            if pair is not None and any(isinstance(x, cst.Name) and x.value == name for x in pair[0]):
                return self._is_constant(pair[1])
        return False

    def _is_bound_once(self, name: str) -> bool:
        return len(self.names.bound.get(name, ())) == 1 and name not in self.declared

    def _bound_by(self, statements: Iterator[cst.BaseStatement]) -> frozenset[str]:
        inside = {x for statement in statements for x in every(statement)}
        found = {
            name
            for name, nodes in self.names.bound.items()
            if any(node in inside or innermost(node) in inside for node in nodes)
        }
        return frozenset(found | self.declared)

    def _needs(self, statement: cst.BaseStatement, moved: frozenset[str]) -> bool:
        """Tell whether running a statement reads a name that is bound in the function."""
        if _builds_parser(statement, self.parsers):
            return False  # its place is taken by the settings
        return any(x.value in moved and self._means_global(x) for x in immediate(statement))

    def _means_global(self, name: cst.Name) -> bool:
        return any(name is x for x in self.names.uses.get(name.value, ()))


def immediate(statement: cst.CSTNode) -> Iterator[cst.Name]:
    """Yield the names that are read when a statement runs, without those in bodies of functions."""
    if isinstance(statement, cst.FunctionDef | cst.Lambda):
        parts: list[cst.CSTNode] = [x.default for x in walk(statement.params, cst.Param) if x.default]
        if isinstance(statement, cst.FunctionDef):
            parts += [x.decorator for x in statement.decorators]
            parts += [x.annotation for x in walk(statement.params, cst.Annotation)]
            parts += [statement.returns] if statement.returns is not None else []
        for part in parts:
            yield from immediate(part)
        return
    if isinstance(statement, cst.Name):
        yield statement
    for child in children(statement):
        yield from immediate(child)


def _unguarded(body: Sequence[cst.BaseStatement], places: Places) -> Iterator[cst.BaseStatement]:
    """Yield statements, with those under a main guard in the place of the guard."""
    for statement in body:
        if not is_guard(statement) or statement.orelse is not None:
            yield statement
        elif isinstance(statement.body, cst.IndentedBlock):
            first, *others = statement.body.body
            lines = [*statement.leading_lines, *getattr(first, "leading_lines", ())]
            changed = first.with_changes(leading_lines=lines) if statement.leading_lines else first
            places.put(changed, first)
            yield changed
            yield from others
        else:
            line = cst.SimpleStatementLine(
                body=cst.ensure_type(statement.body, cst.SimpleStatementSuite).body,
                leading_lines=statement.leading_lines,
            )
            places.put(line, statement)
            yield line


def _builds_parser(statement: cst.BaseStatement, parsers: frozenset[str] | set[str]) -> bool:
    pair = assigned(statement)
    inner = small(statement)
    value = pair[1] if pair is not None else inner.value if isinstance(inner, cst.Expr) else None
    if not isinstance(value, cst.Call):
        return False
    func = value.func
    last = func.attr if isinstance(func, cst.Attribute) else func
    if isinstance(last, cst.Name) and last.value == _PARSER:
        return pair is not None
    return (
        isinstance(func, cst.Attribute)
        and isinstance(func.value, cst.Name)
        and func.value.value in parsers
        and func.attr.value in _PARSER_METHODS
    )


def _targets(statement: cst.BaseStatement) -> list[str]:
    pair = assigned(statement)
    return [x.value for x in (pair[0] if pair else ()) if isinstance(x, cst.Name)]


def _is_import(statement: cst.BaseStatement) -> bool:
    """Tell whether a statement only imports, perhaps with another way, or a message, if that fails."""
    if isinstance(statement, cst.SimpleStatementLine):
        return all(isinstance(x, cst.Import | cst.ImportFrom) for x in statement.body)
    if not isinstance(statement, cst.Try) or statement.finalbody is not None:
        return False
    tried = [statement.body, *([statement.orelse.body] if statement.orelse is not None else [])]
    first = next(_parts(statement.body), None)
    return (
        (isinstance(first, cst.Import | cst.ImportFrom) or _is_tried_import(first))
        and all(_tries(x) for suite in tried for x in _parts(suite))
        and all(_copes(list(_parts(other.body))) for other in statement.handlers)
    )


def _parts(suite: cst.BaseSuite) -> Iterator[cst.CSTNode]:
    """Yield what a suite does: its small statements, and its compound ones."""
    for statement in suite.body:
        if isinstance(statement, cst.SimpleStatementLine):
            yield from statement.body
        else:
            yield statement


def _tries(part: cst.CSTNode) -> bool:
    """Tell whether a part of a `try` imports, or notes that it did."""
    if isinstance(part, cst.Assign):
        return isinstance(part.value, cst.Name) and part.value.value in ("True", "False", "None")
    return isinstance(part, cst.Import | cst.ImportFrom | cst.Pass) or _is_tried_import(part)


def _is_tried_import(part: cst.CSTNode | None) -> bool:
    return isinstance(part, cst.Try) and _is_import(part)


def _copes(parts: Sequence[cst.CSTNode]) -> bool:
    """Tell whether a handler imports or notes something else, or ends the program; it may also say so."""
    settled = [x for x in parts if _called(x) not in _SAYING]
    return bool(settled) and all(
        _tries(x) or isinstance(x, cst.Raise) or _called(x) in _EXITS for x in settled
    )


def _called(part: cst.CSTNode) -> str:
    """Return what a statement calls, if that is all that it does."""
    call = part.value if isinstance(part, cst.Expr) else None
    return code_of(call.func) if isinstance(call, cst.Call) else ""


def _is_text(statement: cst.BaseStatement) -> bool:
    inner = small(statement)
    return isinstance(inner, cst.Expr) and literal_text(inner.value) is not None


def _is_docstring(module: cst.Module, statement: cst.BaseStatement) -> bool:
    return _is_text(statement) and bool(module.body) and module.body[0] is statement
