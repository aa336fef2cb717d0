"""Where the nodes of a changed program stood in the research code.

Normalisation moves statements between scopes and files. Messages, plans and reports must name the line
that the researcher wrote, so every node that is read is entered here, and what is made from it takes its
place over.
"""

from __future__ import annotations

from collections.abc import Mapping

import libcst as cst

from bessemer.conversion.children import children
from bessemer.conversion.scoping import positions_in
from bessemer.conversion.sources import Source
from bessemer.conversion.syntax import Definition

Left = cst.CSTNode | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNode]


class Places:
    """The file and line of nodes, by identity."""

    def __init__(self) -> None:
        self._of: dict[cst.CSTNode, str] = {}

    def enter(self, source: Source) -> cst.Module:
        """Return the module of a file, with the places of all its nodes known."""
        module = source.module.deep_clone()
        for node, span in positions_in(module).items():
            self._of[node] = source.where(span.start.line)
        return module

    def of(self, node: cst.CSTNode) -> str | None:
        """Return where a node stood, as `file:line`; None for what was never entered."""
        return self._of.get(node)

    def put(self, node: cst.CSTNode, like: cst.CSTNode) -> None:
        """Give a new node, and all in it that is new, the place of another one."""
        place = self._of.get(like)
        if place is None:
            return
        waiting = [node]
        while waiting:
            inner = waiting.pop()
            # What has a place was entered, or put, with all in it.
            if inner not in self._of:
                self._of[inner] = place
                waiting += children(inner)

    def learn(self, others: Mapping[cst.CSTNode, str]) -> None:
        """Enter nodes of a copy, with their places."""
        self._of.update(others)

    @property
    def known(self) -> Mapping[cst.CSTNode, str]:
        """All places, by node."""
        return self._of


class Tracer(cst.CSTTransformer):
    """A transformer whose new nodes keep the place of what they are made from."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places

    def concerns(self, definition: Definition) -> bool:
        """Tell whether something may change in a function or class; most of a program is left alone."""
        return True

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Go into what may change."""
        return (not isinstance(node, Definition) or self.concerns(node)) and super().on_visit(node)

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Left:  # type: ignore[override]
        """Hand the place over."""
        result: Left = super().on_leave(original_node, updated_node)
        if isinstance(result, cst.FlattenSentinel):
            for node in result.nodes:
                self.places.put(node, original_node)
        elif isinstance(result, cst.CSTNode) and result is not original_node:
            self.places.put(result, original_node)
        return result
