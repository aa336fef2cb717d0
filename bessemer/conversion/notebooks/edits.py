"""Change pieces of a text in place, so that every line that is kept keeps its number.

A piece is given by a node of Python's own `ast`, whose columns count bytes. What is put in its place must
not need more lines than the piece had; what is left over stays blank.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

Edit = tuple[ast.AST, str]


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Replace nodes of a text; they must not overlap.

    Args:
        text: what the nodes were parsed from.
        edits: nodes with a position, each with the text that takes its place.
    """
    lines = [line.encode() for line in text.split("\n")]
    for node, new in sorted(edits, key=lambda edit: _span(edit[0]), reverse=True):
        first, begin, last, end = _span(node)
        parts = [part.encode() for part in new.split("\n")]
        assert len(parts) <= last - first + 1, "the text that is put in has more lines"
        parts[0] = lines[first][:begin] + parts[0]
        parts[-1] += lines[last][end:]
        lines[first : last + 1] = parts + [b""] * (last - first + 1 - len(parts))
    return b"\n".join(line.rstrip() if not line.strip() else line for line in lines).decode()


def segment(text: str, node: ast.AST) -> str:
    """Return the text of a node."""
    first, begin, last, end = _span(node)
    lines = [line.encode() for line in text.split("\n")[first : last + 1]]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][begin:]
    return b"\n".join(lines).decode()


def nothing(text: str, statement: ast.stmt) -> str:
    """Return what a statement is replaced by to take it out: nothing, or `pass` where one must stand."""
    _, begin, last, end = _span(statement)
    lines = text.split("\n")
    behind = lines[last].encode()[end:].strip()
    return "pass" if begin or (behind and not behind.startswith(b"#")) else ""


def _span(node: ast.AST) -> tuple[int, int, int, int]:
    """Return line and column of begin and end; lines from 0, columns in bytes."""
    first = node.lineno - 1  # type: ignore[attr-defined]
    return first, node.col_offset, node.end_lineno - 1, node.end_col_offset  # type: ignore[attr-defined]
