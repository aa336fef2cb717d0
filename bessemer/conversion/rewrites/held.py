"""What `totals` and `carry` have in common: variables that become attributes of one object.

The object is made where the last of the variables got its first value; from there on each use of
a variable goes through the object.
"""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.holders import Holder, Variable
from bessemer.conversion.rewrites.base import LeftStatement, LoopRewriter


class HeldRewriter(LoopRewriter):
    """Makes the holders of one kind and sends all uses of their variables through them."""

    reason: str

    def __init__(self, analysis: Analysis) -> None:
        super().__init__(analysis)
        self._holders = [x for x in analysis.state.holders if x.kind == self.kind]
        self._at = {holder.at: holder for holder in self._holders}
        self._removed = {x.removed for h in self._holders for x in h.variables if x.removed}
        self._uses: dict[cst.CSTNode, tuple[Holder, Variable]] = {
            use: (holder, variable)
            for holder in self._holders
            for variable in holder.variables
            for use in variable.occurrences
        }

    def run_uses(self) -> Iterable[cst.CSTNode]:
        """Where each holder is made."""
        return list(self._at)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        """Send one use of a variable through its holder."""
        found = self._uses.get(original_node)
        if found is None:
            return updated_node
        holder, variable = found
        return cst.Attribute(
            cst.Name(holder.name),
            cst.Name(variable.name),
            lpar=updated_node.lpar,
            rpar=updated_node.rpar,
        )

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> LeftStatement:
        """Make a holder in the place of the line that gave its last variable a value."""
        holder = self._at.get(original_node)
        if holder is None:
            return cst.RemoveFromParent() if original_node in self._removed else updated_node
        return self._make(holder, original_node, updated_node)

    def in_front(self, original: cst.BaseStatement, updated: cst.BaseStatement) -> LeftStatement:
        """Make a holder in front of a loop."""
        holder = self._at.get(original)
        return updated if holder is None else self._make(holder, original, updated)

    def _make(self, holder: Holder, original: cst.BaseStatement, updated: cst.BaseStatement) -> LeftStatement:
        made = self._creation(holder)
        for variable in holder.variables:
            where = variable.removed if variable.removed is not None else original
            self.note(where, made, f"{self.reason}: {variable.name}")
        if original in self._removed:
            leading = getattr(updated, "leading_lines", ())
            return made.with_changes(leading_lines=[*self._comments(holder, original), *leading])
        return cst.FlattenSentinel(
            [made.with_changes(leading_lines=self._comments(holder, original)), updated]
        )

    def _creation(self, holder: Holder) -> cst.SimpleStatementLine:
        equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
        args = [
            cst.Arg(variable.initial, keyword=cst.Name(variable.name), equal=equal)
            for variable in holder.variables
        ]
        value = self.call_run(self.kind, args)
        target = cst.AssignTarget(cst.Name(holder.name))
        return cst.SimpleStatementLine([cst.Assign([target], value)])

    def _comments(self, holder: Holder, original: cst.BaseStatement) -> list[cst.EmptyLine]:
        """Keep the comments of the lines that go."""
        kept: list[cst.EmptyLine] = []
        for variable in holder.variables:
            gone = variable.removed
            if not isinstance(gone, cst.SimpleStatementLine):
                continue
            if gone is not original:
                kept += gone.leading_lines
            if gone.trailing_whitespace.comment is not None:
                kept.append(cst.EmptyLine(comment=gone.trailing_whitespace.comment))
        return kept
