"""Scopes and positions in a module, as LibCST finds them, without the walks that its wrapper adds.

A wrapper visits every node once more for the batch of its providers, also where these have done their own
walk in `visit_Module`, or where there are none; a program is read several times over, so that is a quarter of
the time. What is protected in LibCST is used here alone, and a test compares it with what the wrapper says.
"""

from __future__ import annotations

import libcst as cst
from libcst import metadata

Positions = dict[cst.CSTNode, metadata.CodeRange]
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


class _Positions(metadata.PositionProvider):
    def of(self, module: cst.Module) -> Positions:
        self._gen_impl(module)
        return dict(self._computed)  # type: ignore[arg-type]


def positions_in(module: cst.Module) -> Positions:
    """Return the lines and columns of each node, without the space around it."""
    return _Positions().of(module)


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
