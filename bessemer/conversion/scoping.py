"""Scopes of a module, as LibCST finds them, without the empty walk over the tree that its batches add.

A batch of providers visits every node once more after a provider has done its own walk in `visit_Module`;
for a program that is read several times over that is a quarter of the time.
"""

from __future__ import annotations

import libcst as cst
from libcst import metadata

Scopes = dict[cst.CSTNode, metadata.Scope | None]
Contexts = dict[cst.CSTNode, metadata.ExpressionContext | None]


class _Contexts(metadata.ExpressionContextProvider):
    def __init__(self) -> None:
        super().__init__()
        self.found: Contexts = {}

    def set_metadata(self, node: cst.CSTNode, value: object) -> None:
        self.found[node] = value  # type: ignore[assignment]


class _Scopes(metadata.ScopeProvider):
    def __init__(self, contexts: Contexts) -> None:
        super().__init__()
        self.found: Scopes = {}
        self.metadata = {metadata.ExpressionContextProvider: contexts}

    def set_metadata(self, node: cst.CSTNode, value: object) -> None:
        self.found[node] = value  # type: ignore[assignment]


def scopes_in(module: cst.Module) -> tuple[Scopes, Contexts]:
    """Return the scope of each node, and whether a name or attribute is read or written there.

    Args:
        module: no node of it may stand in two places; a copy (`deep_clone`) has none that does.
    """
    contexts = _Contexts()
    contexts.visit_Module(module)
    scopes = _Scopes(contexts.found)
    scopes.visit_Module(module)
    return scopes.found, contexts.found
