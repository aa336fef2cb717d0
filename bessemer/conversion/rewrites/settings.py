"""The parsing of options goes; `args` becomes a parameter of the entry point, with typed fields.

Where the program changes its options, it gets a copy that can be changed; where it parses them outside of
its entry point, it asks the run for them.

The fields keep the names of the options. One that would hide a section of Bessemer's settings, such as
`--data`, gets `_arg` at its end, and so does every place that reads it.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.kinds import Kind
from bessemer.conversion.rewrites.base import Case, LeftStatement, Rewriter
from bessemer.conversion.settings_module import field_line
from bessemer.conversion.syntax import code_of, parameters, with_statements

_CHANGED = "the program changes its options; it gets a copy that can be changed"


class SettingsRewriter(Rewriter):
    """Removes the parser and follows renamed options."""

    kind = "settings"
    TITLE = "Options"

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """Where options are parsed outside of the entry point."""
        parsing = self.analysis.parsing
        return [] if parsing is None or self._in_entry(parsing) else [parsing]

    def _in_entry(self, node: cst.CSTNode) -> bool:
        return self.program.function(node) is self.analysis.script.entry

    def _own(self, parsing: cst.CSTNode) -> cst.BaseExpression:
        """Return the options that a program works with, in the place where they were parsed."""
        in_entry = self._in_entry(parsing)
        value: cst.BaseExpression = cst.Name(self.analysis.settings) if in_entry else self.on_run("settings")
        if not self.analysis.changes_options:
            return value
        return cst.Call(cst.Attribute(value, cst.Name("as_namespace")))

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """Give an entry point that took the options a copy of its own, if it changes them."""
        given = parameters(original_node)
        is_entry = original_node is self.analysis.script.entry and bool(self.analysis.script.options.parses)
        if not (is_entry and given and self.analysis.changes_options):
            return updated_node
        name = given[0].name.value
        self.note(given[0], f"{name} = {code_of(self._own(original_node))}", _CHANGED)
        made = cst.Assign([cst.AssignTarget(cst.Name(name))], self._own(original_node))
        return with_statements(updated_node, [cst.SimpleStatementLine([made])])

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> LeftStatement:
        """Remove the lines that build the parser and parse."""
        options = self.analysis.script.options
        if original_node is self.analysis.parsing:
            target = next(x for x in options.bound if isinstance(x, cst.Name))
            inner = cst.Assign([cst.AssignTarget(cst.Name(target.value))], self._own(original_node))
            changed = updated_node.with_changes(body=[inner])
            reason = _CHANGED if self.analysis.changes_options else "options come as settings"
            self.note(original_node, changed.with_changes(leading_lines=()), reason)
            return changed
        if original_node not in options.building:
            return updated_node
        option = options.lines.get(original_node)
        restated = self.analysis.normal.restated
        known = restated.get(option.name) if option is not None else None
        if option is not None:
            reason = "a field of Settings, in config/settings.py"
            code = known.code if known is not None else None
            self.note(original_node, field_line(option), reason, before=code)
        elif restated.keys() < {x.name for x in options.options} or not restated:
            self.note(original_node, "", "options come as settings")
        return cst.RemoveFromParent()

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.BaseSuite:
        """Remove the blank line that the parser would leave at the top."""
        if not updated_node.body or original_node.body[0] not in self.analysis.script.options.building:
            return updated_node
        first, *rest = updated_node.body
        leading = list(getattr(first, "leading_lines", ()))
        while leading and leading[0].comment is None:
            leading.pop(0)
        return updated_node.with_changes(body=[first.with_changes(leading_lines=leading), *rest])

    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        """Say what the options are, where they were global and are a parameter now."""
        owner = self.program.definition(original_node)
        handed = self.analysis.normal.handed.get(owner.name.value, ()) if owner is not None else ()
        if self.analysis.changes_options:
            return updated_node
        is_handed = original_node.name.value in handed and original_node.annotation is None
        if not is_handed or not self.analysis.kinds.is_a(original_node, Kind.SETTINGS):
            return updated_node
        return updated_node.with_changes(annotation=cst.Annotation(cst.Name("Settings")))

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """Follow an option that is called something else in the settings."""
        name = self.analysis.script.options.renamed.get(original_node.attr.value)
        if name is None or not self.analysis.kinds.is_a(original_node.value, Kind.SETTINGS):
            return updated_node
        changed = updated_node.with_changes(attr=cst.Name(name))
        self.note(original_node, changed, f"{original_node.attr.value} is taken in the settings")
        return changed


CASES = (
    Case(
        "the parser goes, the reads stay",
        """
        import argparse
        def main():
            parser = argparse.ArgumentParser()
            parser.add_argument("--lr", type=float, default=0.1)
            parser.add_argument("--data", default="here")
            args = parser.parse_args()
            print(args.lr, args.data)
        """,
        """
        import argparse
        def main():
            print(args.lr, args.data_arg)
        """,
    ),
    Case(
        "options that are changed are a copy",
        """
        import argparse
        def main():
            parser = argparse.ArgumentParser()
            parser.add_argument("--lr", type=float, default=0.1)
            args = parser.parse_args()
            args.lr = args.lr / 2
            print(args.lr)
        """,
        """
        import argparse
        def main():
            args = settings.as_namespace()
            args.lr = args.lr / 2
            print(args.lr)
        """,
    ),
    Case(
        "options that are parsed somewhere else are those of the run",
        """
        import argparse
        def read(parser):
            print("reading")
        def prepare():
            parser = argparse.ArgumentParser()
            parser.add_argument("--lr", type=float, default=0.1)
            args = parser.parse_args()
            print("read")
            return args
        def main():
            print(prepare().lr)
        """,
        """
        import argparse
        def read(parser):
            print("reading")
        def prepare():
            args = run.settings
            print("read")
            return args
        def main():
            print(prepare().lr)
        """,
    ),
)
