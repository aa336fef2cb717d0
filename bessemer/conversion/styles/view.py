"""A linked program as styles look at it: where it starts, what runs once, and who reads a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import libcst as cst
from libcst import metadata

from bessemer.conversion.normal.guards import is_guard
from bessemer.conversion.normal.places import Places
from bessemer.conversion.program import Program
from bessemer.conversion.styles.edits import Edits
from bessemer.conversion.styles.setting import Setting
from bessemer.conversion.syntax import assigned, fresh_name, parameters, small, statements, walk
from bessemer.errors import ConversionError

_PARSER = "argparse.ArgumentParser"
_REFLECTING = frozenset({"globals", "locals", "vars", "eval", "exec", "dir"})


class View:
    """A program, what styles have found in it so far, and the changes that they want.

    Attributes:
        program: the program.
        settings: what becomes options, in order.
        edits: what is to be changed.
        started: the function that a library for command lines calls, if there is one.
        name: the variable that holds the options; it may be one that the program has.
    """

    def __init__(self, program: Program, places: Places) -> None:
        self.program = program
        self.places = places
        self.settings: list[Setting] = []
        self.edits = Edits()
        self.started: cst.FunctionDef | None = None
        self.remarks: list[tuple[str, str, str]] = []
        taken = {x.value for x in walk(program.module, cst.Name)}
        self._named: dict[str, list[cst.Name]] = {}
        for node in walk(program.module, cst.Name):
            if program.contexts.get(node) is not None:
                self._named.setdefault(node.value, []).append(node)
        self._declared = {
            x.name.value for y in walk(program.module, cst.Global, cst.Nonlocal) for x in y.names
        }
        self._main: tuple[cst.FunctionDef | None] | None = None
        self._parse = self._own_parse()
        self.name = fresh_name(("settings", "run_settings"), taken)
        self.has_parser = any(program.imported(x.func) == _PARSER for x in walk(program.module, cst.Call))
        if self._parse is not None:
            self.name = self._parse[1].value

    # Where things are

    def lines(self) -> Iterator[cst.BaseStatement]:
        """Yield the statements at module level, with those under a main guard."""
        for statement in self.program.module.body:
            if is_guard(statement) and statement.orelse is None:
                yield from statements(statement.body)
            else:
                yield statement

    def main(self) -> cst.FunctionDef | None:
        """Return the function without parameters that alone, and once, is called at module level."""
        if self.started is not None:
            return self.started
        if self._main is None:
            self._main = (self._find_main(),)
        return self._main[0]

    def _find_main(self) -> cst.FunctionDef | None:
        calls: list[cst.Call] = []
        for statement in self.lines():
            inner = small(statement)
            call = inner.value if isinstance(inner, cst.Expr) else None
            if isinstance(call, cst.Call) and self.program.imported(call.func) == "sys.exit" and call.args:
                call = call.args[0].value
            if isinstance(call, cst.Call) and self.function(call.func) is not None:
                calls.append(call)
        if len(calls) != 1:
            return None
        function = self.function(calls[0].func)
        assert function is not None
        is_alone = not parameters(function) and not function.decorators and not calls[0].args
        return function if is_alone and len(self.uses(function)) == 1 else None

    def function(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        """Return the function at module level that an expression names."""
        found = self.program.bindings(node) if isinstance(node, cst.Name) else ()
        match found:
            case (cst.FunctionDef() as function,) if function in self.program.module.body:
                return function
        return None

    def owner(self, node: cst.CSTNode) -> cst.ClassDef | None:
        """Return the class at module level that an expression names."""
        match self.program.bindings(node) if isinstance(node, cst.Name) else ():
            case (cst.ClassDef() as owner,) if owner in self.program.module.body:
                return owner
        return None

    def uses(self, node: cst.FunctionDef | cst.ClassDef) -> list[cst.Name]:
        """Return where a definition is named."""
        found = (x for x in self.named(node.name.value) if x is not node.name)
        return [x for x in found if self.program.bindings(x) == (node,)]

    def named(self, name: str) -> list[cst.Name]:
        """Return every name of this text that is read or written."""
        return self._named.get(name, [])

    # Who reads what

    def reads(self, target: cst.Name | cst.Param) -> list[cst.Name] | None:
        """Return where a variable is read that is set in one place only; None if it is not only read.

        A name that is shown with itself (`f"{lr=}"`), deleted, or declared global is more than read.
        """
        name = target.value if isinstance(target, cst.Name) else target.name.value
        where = target if isinstance(target, cst.Name) else target.name
        program = self.program
        found = []
        for use in self.named(name):
            bound = program.bindings(use)
            if use is where or target not in bound:
                continue
            outer = program.parent(use)
            shown = isinstance(outer, cst.FormattedStringExpression) and outer.equal is not None
            if bound != (target,) or not program.is_load(use) or shown or isinstance(outer, cst.Del):
                return None
            found.append(use)
        scope = program.scopes.get(where)
        assignments = [x.node for x in scope[name] if isinstance(x, metadata.Assignment)] if scope else []
        return found if assignments == [target] and name not in self._declared else None

    def reflects(self) -> bool:
        """Tell whether the program looks at its own variables by their names."""
        for call in walk(self.program.module, cst.Call):
            name = call.func.value if isinstance(call.func, cst.Name) else ""
            if name in _REFLECTING and (not call.args or name in ("eval", "exec")):
                return True
        return False

    # The options

    def can_read(self, node: cst.CSTNode) -> bool:
        """Tell whether the options can be read where a node stands."""
        if self._parse is None:
            return not self.has_parser
        statement, target = self._parse
        scope = self.program.scopes.get(node)
        found = [x.node for x in scope[target.value] if isinstance(x, metadata.Assignment)] if scope else []
        if found != [target]:
            return False
        inside = self.program.function(node)
        return inside is not self.program.function(statement) or self.program.before(statement, node)

    def read(self, name: str) -> cst.Attribute:
        """Return the expression that reads an option."""
        return cst.Attribute(cst.Name(self.name), cst.Name(name))

    def add(self, setting: Setting) -> None:
        """Make something an option."""
        self.settings.append(setting)

    def remark(self, node: cst.CSTNode, reason: str, todo: str) -> None:
        """Say what a person should know."""
        self.remarks.append((self.program.where(node), reason, todo))

    def refuse(self, node: cst.CSTNode, what: str, todo: str) -> ConversionError:
        """Return the refusal of a program whose options cannot be converted."""
        return ConversionError(
            f"{self.program.where(node)}: {what}", "options that can be turned into typed settings", todo
        )

    def taken(self) -> set[str]:
        """Return the names of options, in lower case: variables of the environment have no case."""
        return {x.name.lower() for x in self.settings} | self._own_names()

    def _own_names(self) -> set[str]:
        found = set()
        for call in walk(self.program.module, cst.Call):
            if isinstance(call.func, cst.Attribute) and call.func.attr.value == "add_argument":
                for arg in call.args:
                    if isinstance(arg.value, cst.SimpleString):
                        found.add(str(arg.value.evaluated_value).lstrip("-").replace("-", "_").lower())
        return found

    def _own_parse(self) -> tuple[cst.BaseStatement, cst.Name] | None:
        """Return the one `args = parser.parse_args()` of the program, if it stands where all can read it."""
        program = self.program
        made = [x for x in walk(program.module, cst.Call) if program.imported(x.func) == _PARSER]
        found = []
        for call in walk(program.module, cst.Call):
            if (
                isinstance(call.func, cst.Attribute)
                and call.func.attr.value == "parse_args"
                and not call.args
            ):
                found.append(call)
        if len(made) != 1 or len(found) != 1:
            return None
        statement = program.statement(found[0])
        pair = assigned(statement)
        plain = pair is not None and pair[1] is found[0] and len(pair[0]) == 1
        if not plain or pair is None or not isinstance(pair[0][0], cst.Name):
            return None
        function = program.function(statement)
        lines: Sequence[cst.BaseStatement] = list(self.lines())
        if function is not None:
            if function is not self.main():
                return None
            lines = statements(function.body)
        return (statement, pair[0][0]) if statement in lines else None

    @property
    def own_parse(self) -> cst.BaseStatement | None:
        """The statement that parses the program's own options."""
        return self._parse[0] if self._parse is not None else None

    @property
    def own_parser(self) -> str:
        """The name of the program's own parser."""
        assert self._parse is not None
        pair = assigned(self._parse[0])
        assert pair is not None
        func = cst.ensure_type(cst.ensure_type(pair[1], cst.Call).func, cst.Attribute)
        return cst.ensure_type(func.value, cst.Name).value
