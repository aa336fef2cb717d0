"""Read the command line options of research code: what `argparse` was told, as plain values.

Finds the parser wherever it stands (in a function, under the main guard, at module level, in a
function of its own), the statements that build it, the name that holds the parsed options, and for
each option what a typed settings field needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import libcst as cst
from libcst import matchers as m

from bessemer.conversion.option import Option, OptionReader
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import argument, assigned, literal_text, small, statements, walk
from bessemer.errors import ConversionError

_PARSER = "argparse.ArgumentParser"
_GROUPS = frozenset({"add_argument_group", "add_mutually_exclusive_group"})
_NOT_YET = frozenset({"add_subparsers", "set_defaults", "parse_known_args", "add_parser"})
_KEYWORDS_READ = frozenset(
    {"type", "default", "help", "choices", "action", "dest", "required", "nargs", "metavar", "const"}
)


@dataclass(frozen=True, eq=False)
class Options:
    """The options of a program.

    `building` are the statements that make the parser and parse; they have no place in a project.
    `bound` are the names that hold the result. `helper` is a function that did nothing else. `lines` are the
    statements that add an option each.
    """

    options: tuple[Option, ...] = ()
    description: str = ""
    name: str = "settings"
    building: frozenset[cst.CSTNode] = frozenset()
    bound: frozenset[cst.CSTNode] = frozenset()
    parses: frozenset[cst.Call] = frozenset()
    helper: cst.FunctionDef | None = None
    lines: Mapping[cst.CSTNode, Option] = field(default_factory=dict)

    @property
    def renamed(self) -> dict[str, str]:
        """Options whose name is taken in the settings, and what they are called there."""
        return {option.name: option.field for option in self.options if option.name != option.field}


def find_options(program: Program) -> Options:
    """Find the one parser of a program and read it; a program without one has no options."""
    made = [x for x in walk(program.module, cst.Call) if program.imported(x.func) == _PARSER]
    if not made:
        return Options()
    if len(made) > 1:
        raise ConversionError(
            f"{program.where(made[1])}: a second argparse.ArgumentParser",
            "one parser a program",
            "merge the parsers, or convert the programs one at a time",
        )
    return _Reader(program, made[0]).read()


class _Reader:
    """Follows one parser from its construction to the name of the parsed options."""

    def __init__(self, program: Program, made: cst.Call) -> None:
        self.program = program
        self.made = made
        self.function = program.function(made)
        self.parsers: set[str] = set()
        self.building: set[cst.CSTNode] = set()
        self.adds: list[cst.Call] = []
        self.parses: list[cst.Call] = []

    def read(self) -> Options:
        scope = statements(self.function.body if self.function else self.program.module)
        for statement in scope:
            self._statement(statement)
        self._refuse_unread()
        helper = self._helper(scope)
        parses = frozenset(self._helper_calls(helper) if helper else self.parses)
        bound, name = self._bound(parses)
        description = literal_text(argument(self.made, "description")) or ""
        lines: dict[cst.CSTNode, Option] = {
            self.program.statement(x): y for x in self.adds if (y := self._option(x)) is not None
        }
        options = tuple(lines.values())
        seen: dict[str, Option] = {}
        for option in options:
            if seen.setdefault(option.name, option) is not option:
                raise ConversionError(
                    f"{option.where}: option {option.name} is defined twice, "
                    f"first at {seen[option.name].where}",
                    "one option a name",
                    "remove or rename one of them",
                )
        return Options(
            options,
            description,
            name,
            frozenset(self.building),
            frozenset(bound),
            parses,
            helper,
            lines,
        )

    def _statement(self, statement: cst.BaseStatement) -> None:
        assignment = assigned(statement)
        value = assignment[1] if assignment else _expression(statement)
        if not isinstance(value, cst.Call):
            return
        method = self._method(value)
        if value is self.made or method in _GROUPS:
            for target in assignment[0] if assignment else ():
                if isinstance(target, cst.Name):
                    self.parsers.add(target.value)
            self.building.add(statement)
        elif method == "add_argument":
            self.adds.append(value)
            self.building.add(statement)

    def _method(self, call: cst.Call) -> str | None:
        func = call.func
        if not isinstance(func, cst.Attribute) or not isinstance(func.value, cst.Name):
            return None
        same = self.program.function(call) is self.function
        return func.attr.value if same and func.value.value in self.parsers else None

    def _refuse_unread(self) -> None:
        """Every use of the parser must be one that was read; a lost option would be an error later."""
        known = {id(call) for call in self.adds}
        for name in walk(self.program.module, cst.Name):
            if name.value not in self.parsers or not self.program.is_load(name):
                continue
            if not self._names_parser(name):
                continue
            call = self.program.parent(self.program.parent(name))
            method = self._method_anywhere(call, name)
            if method == "parse_args" and isinstance(call, cst.Call):
                if call.args and not m.matches(call.args[0].value, m.List(elements=[])):
                    raise self._refuse(call, "parse_args with arguments of its own")
                self.parses.append(call)
            elif method in _GROUPS or method in ("print_help", "print_usage", "error"):
                if method not in _GROUPS:
                    raise self._refuse(call, f"a call of parser.{method}")
            elif id(call) not in known:
                what = f"parser.{method}" if method else "the parser passed around or stored"
                raise self._refuse(name, what)

    def _names_parser(self, name: cst.Name) -> bool:
        return any(self.program.statement(found) in self.building for found in self.program.bindings(name))

    def _method_anywhere(self, call: cst.CSTNode, name: cst.Name) -> str | None:
        func = call.func if isinstance(call, cst.Call) else None
        if isinstance(func, cst.Attribute) and func.value is name:
            return func.attr.value
        return None

    def _refuse(self, node: cst.CSTNode, what: str) -> ConversionError:
        return ConversionError(
            f"{self.program.where(node)}: {what} cannot be turned into settings",
            "argparse used as parser.add_argument(...) statements, one after the other, "
            "and one parser.parse_args()",
            "write the options out as plain add_argument statements",
        )

    def _helper(self, scope: tuple[cst.BaseStatement, ...] | object) -> cst.FunctionDef | None:
        """Return the function that holds the parser if it does nothing but parse."""
        function = self.function
        if function is None or not self.parses:
            return None
        rest = [x for x in statements(function.body) if x not in self.building]
        rest = [x for x in rest if not _is_docstring(x)]
        parse = self.parses[0]
        if len(rest) == 1 and _returned(rest[0]) is parse:
            return function
        if len(rest) == 2 and (pair := assigned(rest[0])) is not None and pair[1] is parse:
            back, target = _returned(rest[1]), pair[0][0]
            if isinstance(back, cst.Name) and isinstance(target, cst.Name):
                return function if back.value == target.value else None
        return None

    def _helper_calls(self, helper: cst.FunctionDef) -> Iterator[cst.Call]:
        for call in walk(self.program.module, cst.Call):
            if self.program.defined(call.func) == helper.name.value:
                yield call

    def _bound(self, parses: frozenset[cst.Call]) -> tuple[set[cst.CSTNode], str]:
        if len(parses) != 1:
            place = self.program.where(sorted(parses, key=self.program.line)[1]) if parses else ""
            where = place or self.program.where(self.made)
            raise ConversionError(
                f"{where}: the options are parsed {len(parses)} times",
                "one parser.parse_args()",
                "parse once, and pass the result to the functions that need it",
            )
        (call,) = parses
        statement = self.program.statement(call)
        pair = assigned(statement)
        if pair is not None and pair[1] is call and isinstance(pair[0][0], cst.Name):
            self.building.add(statement)
            return {pair[0][0]}, pair[0][0].value
        if isinstance(self.program.parent(call), cst.Arg):
            return {call}, "args"
        raise self._refuse(call, "parse_args whose result is not given a name")

    def _option(self, call: cst.Call) -> Option | None:
        where = self.program.where(call)
        flags = [literal_text(arg.value) for arg in call.args if arg.keyword is None and not arg.star]
        given = {arg.keyword.value: arg.value for arg in call.args if arg.keyword is not None}
        unknown = set(given) - _KEYWORDS_READ
        if None in flags or any(arg.star for arg in call.args) or unknown or not flags:
            raise self._refuse(call, "an option that is not written out in plain literals")
        return OptionReader(self.program, call, [x for x in flags if x], given, where).read()


def _expression(statement: cst.BaseStatement) -> cst.BaseExpression | None:
    inner = small(statement)
    return inner.value if isinstance(inner, cst.Expr) else None


def _returned(statement: cst.BaseStatement) -> cst.BaseExpression | None:
    inner = small(statement)
    return inner.value if isinstance(inner, cst.Return) else None


def _is_docstring(statement: cst.BaseStatement) -> bool:
    return literal_text(_expression(statement)) is not None
