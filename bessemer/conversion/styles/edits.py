"""Changes of a program that are collected first and made in one walk."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from bessemer.conversion.normal.places import Left, Places, Tracer
from bessemer.conversion.syntax import Definition, every


class Edits:
    """What is to be changed in one program; nodes are those of the program.

    Attributes:
        replaced: expressions, parameters or statements, and what takes their place.
        removed: statements and decorators that go.
        before: statements that are put in front of others.
        after: statements that are put behind others.
        top: statements that a function begins with.
    """

    def __init__(self) -> None:
        self.replaced: dict[cst.CSTNode, cst.CSTNode] = {}
        self.removed: set[cst.CSTNode] = set()
        self.before: dict[cst.CSTNode, list[cst.BaseStatement]] = {}
        self.after: dict[cst.CSTNode, list[cst.BaseStatement]] = {}
        self.top: dict[cst.FunctionDef, list[cst.BaseStatement]] = {}

    def __bool__(self) -> bool:
        return bool(self.replaced or self.removed or self.before or self.after or self.top)

    @property
    def targets(self) -> frozenset[cst.CSTNode]:
        """The nodes of the program that something is done to."""
        return frozenset((*self.replaced, *self.removed, *self.before, *self.after, *self.top))

    def made(self, module: cst.Module, places: Places) -> cst.Module:
        """Return the changed module."""
        changed = module.visit(_Editor(self, places))
        assert isinstance(changed, cst.Module)
        return changed


class _Editor(Tracer):
    def __init__(self, edits: Edits, places: Places) -> None:
        super().__init__(places)
        self.edits = edits
        self.targets = edits.targets

    def concerns(self, definition: Definition) -> bool:
        """Tell whether something is to be changed in a definition."""
        return any(x in self.targets for x in every(definition))

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Left:  # type: ignore[override]
        """Make what was asked for."""
        edits = self.edits
        result: Left = super().on_leave(original_node, updated_node)
        if isinstance(original_node, cst.FunctionDef) and original_node in edits.top:
            assert isinstance(result, cst.FunctionDef)
            result = _beginning_with(result, edits.top[original_node])
            self.places.put(result, original_node)
        if original_node in edits.replaced:
            result = edits.replaced[original_node]
            self.places.put(result, original_node)
        before, after = edits.before.get(original_node, []), edits.after.get(original_node, [])
        if original_node in edits.removed:
            result = cst.FlattenSentinel([*before, *after]) if before or after else cst.RemoveFromParent()
        elif before or after:
            assert isinstance(result, cst.CSTNode)
            result = cst.FlattenSentinel([*before, result, *after])
        for added in (*before, *after):
            self.places.put(added, original_node)
        return result


def _beginning_with(function: cst.FunctionDef, added: Sequence[cst.BaseStatement]) -> cst.FunctionDef:
    block = function.body
    if not isinstance(block, cst.IndentedBlock):
        block = cst.IndentedBlock(
            [cst.SimpleStatementLine(cst.ensure_type(block, cst.SimpleStatementSuite).body)]
        )
    num_before = 1 if function.get_docstring() is not None else 0
    body = [*block.body[:num_before], *added, *block.body[num_before:]]
    return function.with_changes(body=block.with_changes(body=body))
