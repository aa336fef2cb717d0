"""What only the page of a notebook shows is taken out: displayed values, cleared outputs, IPython's imports.

A value at the end of a cell, and what is handed to `display`, is computed all the same if that could have an
effect: a call may draw random numbers, an item may be fetched by a data set that does.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bessemer.conversion.notebooks.edits import Edit, edited, nothing, segment
from bessemer.conversion.notebooks.plain import Change
from bessemer.conversion.notebooks.shell import names

Place = tuple[int, int]

_PAGES = frozenset({"IPython", "google.colab"})
_STARRED = names("display clear_output HTML Image SVG Markdown Latex Math JSON Audio Video IFrame")
_LOSE = frozenset({"drive", "files", "userdata", "auth"})
_INERT = (
    ast.Name,
    ast.Attribute,
    ast.Constant,
    ast.Tuple,
    ast.List,
    ast.Set,
    ast.Dict,
    ast.Starred,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.IfExp,
    ast.expr_context,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
)


def without_display(text: str, tree: ast.Module, places: Sequence[Place]) -> tuple[str, tuple[Change, ...]]:
    """Take out of a program what only shows something on the notebook's page.

    Args:
        text: the program.
        tree: what it parses to.
        places: for each line the number of its cell and its line there.
    """
    work = _Work(text, places)
    imports = [x for x in ast.walk(tree) if isinstance(x, ast.Import | ast.ImportFrom)]
    bound = {x: brought for x in imports if (brought := _page_names(x))}
    pages = {name for brought in bound.values() for name in brought} | {"display"}
    pages -= _bound_otherwise(tree, set(bound))
    for statement in _statements(tree):
        _take_out(work, statement, pages)
    _end_of_cells(work, tree)
    used = {x.id for x in _names_left(tree, work.gone)}
    for statement, brought in bound.items():
        if not brought & used:
            lost = bool(brought & _LOSE)
            work.drop(statement, "what it brings is for the notebook's page", lost)
    return edited(text, work.edits), tuple(sorted(work.changes, key=lambda x: (x.cell, x.line)))


@dataclass
class _Work:
    text: str
    places: Sequence[Place]
    edits: list[Edit] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    gone: set[ast.AST] = field(default_factory=set)

    def drop(self, statement: ast.stmt, reason: str, loses: bool = False, after: str = "") -> None:
        """Take out a statement, or put what is left of it in its place."""
        before = segment(self.text, statement)
        self.edits.append((statement, after or nothing(self.text, statement)))
        cell, line = self.places[statement.lineno - 1]
        self.changes.append(Change(cell, line, before, after, reason, loses))


def _page_names(statement: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the names that an import brings from packages that are about the page."""
    if isinstance(statement, ast.Import):
        pages = [_is_page(x.name) for x in statement.names]
        brought = {x.asname or x.name.partition(".")[0] for x in statement.names}
        return brought if all(pages) else set()
    if statement.level or not _is_page(statement.module or ""):
        return set()
    if any(x.name == "*" for x in statement.names):
        return set(_STARRED)
    return {x.asname or x.name for x in statement.names}


def _is_page(module: str) -> bool:
    return any(module == x or module.startswith(f"{x}.") for x in _PAGES)


def _bound_otherwise(tree: ast.Module, imports: set[ast.Import | ast.ImportFrom]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom) and node not in imports:
            found |= {x.asname or x.name.partition(".")[0] for x in node.names}
    return found


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    return (x for x in ast.walk(tree) if isinstance(x, ast.stmt))


def _take_out(work: _Work, statement: ast.stmt, pages: set[str]) -> None:
    if isinstance(statement, ast.Assign) and all(
        isinstance(x, ast.Attribute) and _root(x) in pages for x in statement.targets
    ):
        work.gone.add(statement)
        work.drop(statement, "a setting of the notebook's page")
        return
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return
    call = statement.value
    root = _root(call.func)
    if root not in pages:
        return
    left = list(_effects(call, pages))
    shown = [segment(work.text, x) for x in left]
    after = shown[0] if len(shown) == 1 else f"({', '.join(shown)})" if shown else ""
    if "\n" in after and len(shown) == 1:
        after = f"({after})"
    reason = "shown on the notebook's page only"
    if after:
        reason += "; what it shows is computed all the same, since that may have an effect"
    work.gone.add(call.func)
    work.gone |= {x.func for x in ast.walk(call) if isinstance(x, ast.Call) and _root(x.func) in pages}
    if not after:
        work.gone.add(statement)
    work.drop(statement, reason, root in _LOSE, after)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _effects(call: ast.Call, pages: set[str]) -> Iterator[ast.expr]:
    """Yield what is handed to a call of the page and may have an effect."""
    for value in (*call.args, *(x.value for x in call.keywords)):
        plain = value.value if isinstance(value, ast.Starred) else value
        if isinstance(plain, ast.Call) and _root(plain.func) in pages:
            yield from _effects(plain, pages)
        elif not is_inert(plain):
            yield plain


def is_inert(node: ast.AST) -> bool:
    """Tell whether nothing happens when an expression is left out."""
    return all(isinstance(x, _INERT) for x in ast.walk(node))


def _end_of_cells(work: _Work, tree: ast.Module) -> None:
    for statement, after in itertools.zip_longest(tree.body, tree.body[1:]):
        cell = work.places[statement.lineno - 1][0]
        last = after is None or work.places[after.lineno - 1][0] != cell
        if (
            last
            and isinstance(statement, ast.Expr)
            and not (isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str))
            and is_inert(statement.value)
        ):
            work.gone.add(statement)
            work.drop(statement, "a value that the notebook shows; to leave it out has no effect")


def _names_left(node: ast.AST, gone: set[ast.AST]) -> Iterator[ast.Name]:
    if node in gone:
        return
    if isinstance(node, ast.Name):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _names_left(child, gone)
