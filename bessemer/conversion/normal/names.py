"""The names of one file at module level: what binds them, and every place that means them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst
from libcst import metadata

from bessemer.conversion.scoping import scopes_in
from bessemer.conversion.syntax import walk


@dataclass(frozen=True, eq=False)
class Names:
    """Module-level names of a module.

    Attributes:
        bound: names that the module binds, in the order of the file.
        uses: for each name, bound or not, the `Name` nodes that mean it as a global one: reads, writes,
            the names of definitions, and those in `global` statements.
        inside: for each of these nodes, the function and class scopes around it, from the inside.
        own: for each scope, the names that it binds itself.
        imported: for each `Name` that may mean something imported, the import statements that bind it.
        mixed: those of them that other statements bind as well.
    """

    bound: dict[str, list[cst.CSTNode]]
    uses: dict[str, list[cst.Name]]
    inside: dict[cst.Name, tuple[metadata.Scope, ...]]
    own: dict[metadata.Scope, frozenset[str]]
    imported: dict[cst.Name, list[cst.Import | cst.ImportFrom]]
    mixed: frozenset[cst.Name]

    def captured(self, use: cst.Name, name: str) -> bool:
        """Tell whether `name`, written in the place of `use`, would mean a local variable."""
        return any(name in self.own[scope] for scope in self.inside[use])


def find_names(module: cst.Module) -> Names:
    """Find the module-level names of a module (one that no metadata wrapper will copy again)."""
    scopes, _ = scopes_in(module)
    every = {scope for scope in scopes.values() if scope is not None}
    top = next((scope for scope in every if isinstance(scope, metadata.GlobalScope)), None)
    bound: dict[str, list[cst.CSTNode]] = {}
    uses: dict[str, list[cst.Name]] = defaultdict(list)
    inside: dict[cst.Name, tuple[metadata.Scope, ...]] = {}
    imported: dict[cst.Name, list[cst.Import | cst.ImportFrom]] = {}
    mixed: set[cst.Name] = set()
    own = {scope: frozenset(x.name for x in scope.assignments if x.scope is scope) for scope in every}

    seen: set[cst.Name] = set()

    def add(name: str, node: cst.CSTNode, scope: metadata.Scope | None) -> None:
        plain = innermost(node)
        if plain is not None and plain not in seen:
            seen.add(plain)
            uses[name].append(plain)
            inside[plain] = tuple(_outward(scope))

    if top is not None:
        for assignment in top.assignments:
            if isinstance(assignment, metadata.Assignment):
                bound.setdefault(assignment.name, []).append(assignment.node)
                if not isinstance(assignment.node, cst.Import | cst.ImportFrom):
                    add(assignment.name, assignment.node, scopes.get(assignment.node))
    for scope in every:
        for access in scope.accesses:
            node = innermost(access.node)
            if node is None:
                continue
            referents = list(access.referents)
            statements = [x.node for x in referents if isinstance(x, metadata.Assignment)]
            imports = [x for x in statements if isinstance(x, cst.Import | cst.ImportFrom)]
            if imports:
                imported[node] = imports
                inside.setdefault(node, tuple(_outward(scope)))
                if len(imports) < len(statements):
                    mixed.add(node)
            if not referents or any(x.scope is top for x in referents) or _is_builtin(referents):
                add(node.value, node, scope)
    for statement in walk(module, cst.Global):
        for item in statement.names:
            add(item.name.value, item.name, None)
    return Names(bound, dict(uses), inside, own, imported, frozenset(mixed))


def innermost(node: cst.CSTNode) -> cst.Name | None:
    """Return the name that a node begins with: of a dotted name, of a definition, or itself."""
    while isinstance(node, cst.Attribute):
        node = node.value
    if isinstance(node, cst.FunctionDef | cst.ClassDef):
        return node.name
    return node if isinstance(node, cst.Name) else None


def _is_builtin(referents: list[metadata.BaseAssignment]) -> bool:
    return all(isinstance(x, metadata.BuiltinAssignment) for x in referents)


def _outward(scope: metadata.Scope | None) -> Iterator[metadata.Scope]:
    while scope is not None and not isinstance(scope, metadata.GlobalScope | metadata.BuiltinScope):
        yield scope
        scope = scope.parent
