"""Variables that functions set as globals live in one object, which is handed to whoever uses it.

`global count` means that the program and its functions change one variable. All such variables become
attributes of one object, made where the program starts: `shared.count`. The object itself is set once, so
that handing it over is the same as reading it later. A variable that some statement binds in a way in which
no attribute can be bound (an import, a definition, `except ... as`) stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import libcst as cst

from bessemer.conversion.normal.names import find_names
from bessemer.conversion.normal.places import Places, Tracer
from bessemer.conversion.syntax import Definition, code_of, fresh_name, literal_text, parents_in, small, walk

_NAMES = ("shared", "shared_state")
_MADE = "SimpleNamespace"


def share(module: cst.Module, places: Places) -> cst.Module:
    """Return a module in which variables that functions set are attributes of one object."""
    declared = {x.name.value for node in walk(module, cst.Global) for x in node.names}
    if not declared:
        return module
    uses = find_names(module).uses
    parents = parents_in(module)
    chosen = {x for x in declared if all(_may_be_attribute(use, parents) for use in uses.get(x, ()))}
    if not chosen:
        return module
    name = fresh_name(_NAMES, {x.value for x in walk(module, cst.Name)})
    nodes = {use for x in chosen for use in uses.get(x, ())}
    changed = cst.ensure_type(module.visit(_Sharer(name, chosen, nodes, places)), cst.Module)
    lines = [
        cst.parse_statement(f"from types import {_MADE}\n"),
        cst.parse_statement(f"{name} = {_MADE}()\n"),
    ]
    first = next((x for x in module.body if not _stays(x)), None)
    for line in lines:
        if first is not None:
            places.put(line, first)
    index = _num_leading(changed)
    return changed.with_changes(body=[*changed.body[:index], *lines, *changed.body[index:]])


class _Sharer(Tracer):
    """Puts attributes of the object in the place of the variables."""

    def __init__(
        self, shared: str, chosen: Collection[str], uses: Collection[cst.Name], places: Places
    ) -> None:
        super().__init__(places)
        self.shared = shared
        self.chosen = chosen
        self.uses = uses

    def concerns(self, definition: Definition) -> bool:
        """Tell whether a definition uses one of the variables, or declares it."""
        return any(
            isinstance(x, cst.Global) or x in self.uses for x in walk(definition, cst.Name, cst.Global)
        )

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        """Read and write the attribute."""
        if original_node not in self.uses:
            return updated_node
        return cst.Attribute(
            cst.Name(self.shared),
            cst.Name(original_node.value),
            lpar=updated_node.lpar,
            rpar=updated_node.rpar,
        )

    def visit_Global(self, node: cst.Global) -> bool:
        """Names in the statement itself stay names, until it goes."""
        return False

    def leave_Global(
        self, original_node: cst.Global, updated_node: cst.Global
    ) -> cst.BaseSmallStatement | cst.RemovalSentinel:
        """Take the declaration out."""
        kept = [x for x in updated_node.names if x.name.value not in self.chosen]
        if not kept:
            return cst.RemoveFromParent()
        return updated_node.with_changes(
            names=[*kept[:-1], kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]
        )

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.BaseSuite:
        """A block that only declared does nothing."""
        if updated_node.body:
            return updated_node
        return updated_node.with_changes(body=[cst.SimpleStatementLine([cst.Pass()])])

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.RemovalSentinel:
        """Take a line out that only declared."""
        return updated_node if updated_node.body else cst.RemoveFromParent()


def _may_be_attribute(use: cst.Name, parents: Mapping[cst.CSTNode, cst.CSTNode]) -> bool:
    parent = parents.get(use)
    if isinstance(parent, cst.NameItem):
        return True  # in the declaration itself
    if isinstance(parent, cst.AsName):
        return isinstance(parents.get(parent), cst.WithItem)
    if isinstance(parent, cst.FunctionDef | cst.ClassDef):
        return parent.name is not use
    bound = isinstance(parent, cst.NamedExpr) and parent.target is use
    return not bound and not isinstance(parent, cst.ImportAlias | cst.MatchAs | cst.MatchStar)


def _num_leading(module: cst.Module) -> int:
    """Return how many statements stand in front of the first that may use a variable."""
    count = 0
    while count < len(module.body) and _stays(module.body[count]):
        count += 1
    return count


def _stays(statement: cst.BaseStatement) -> bool:
    inner = small(statement)
    if isinstance(inner, cst.Expr):
        return literal_text(inner.value) is not None
    return isinstance(inner, cst.ImportFrom) and "__future__" in code_of(inner)
