"""Renames as a table: a full dotted name, what it is called now, and since when the old name fails.

A name is found by what it means, not by how it is written: `np.Inf`, `numpy.Inf` and `Inf` after
`from numpy import Inf` are one. What the file itself defines is never meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.modernise.base import Change, Code, Found, Leave
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.syntax import bound_name, source_module


@dataclass(frozen=True)
class New:
    """What a name is called now.

    Attributes:
        name: the full dotted name; one without a dot is Python's own.
        since: the version that took the old name away, or warns of it.
        note: why the new one is the same, where that is not only a matter of the name.
        is_gone: whether the old name fails; else it is warned of.
    """

    name: str
    since: str
    note: str = ""
    is_gone: bool = True

    def reason(self, old: str) -> str:
        """Say why a name is changed."""
        state = "is gone since" if self.is_gone else "will go, and is warned of since"
        return f"{old} {state} {self.since}" + (f": {self.note}" if self.note else "")


def renamed(code: Code, table: Mapping[str, New]) -> Iterator[Found]:
    """Yield the changes of every name of a table that a file imports or reads."""
    for node, full in code.read:
        if full in table:
            yield _read(code, node, full, table[full])
    for statement in code.imports():
        yield from _imported(code, statement, table)


def _read(code: Code, node: cst.Attribute, full: str, new: New) -> Found:
    span = code.text.span
    module, _, name = new.name.rpartition(".")
    if not module:
        if code.is_builtin(name, node):
            return Change(node, (Edit(span(node), (name,)),), new.reason(full))
        return Leave(node, f"{new.reason(full)}; {name} means something else here")
    if module == full.rpartition(".")[0]:
        return Change(node, (Edit(span(node.attr), (name,)),), new.reason(full))
    statement = code.importing(node)
    top = module.partition(".")[0]
    if statement is None or not _is_free(code, top, node):
        return Leave(node, f"{new.reason(full)}; it is {new.name} now")
    edit = Edit(span(node), (new.name,))
    return Change(node, (edit,), new.reason(full), ((statement, module),))


def _is_free(code: Code, name: str, near: cst.CSTNode) -> bool:
    """Tell whether a name means a module of that name wherever it is bound, or nothing."""
    scope = code.program.scopes.get(near)
    found = scope[name] if scope is not None else ()
    return all(
        isinstance(node := getattr(x, "node", None), cst.Import)
        and any(bound_name(y) == name and y.asname is None for y in node.names)
        for x in found
    )


def _imported(code: Code, statement: cst.ImportFrom, table: Mapping[str, New]) -> Iterator[Found]:
    module = source_module(statement)
    assert not isinstance(statement.names, cst.ImportStar)
    wanted = {x: table[full] for x in statement.names if (full := f"{module}.{x.evaluated_name}") in table}
    if not wanted:
        return
    targets = {new.name.rpartition(".")[0] for new in wanted.values()}
    reason = "; ".join(new.reason(f"{module}.{x.evaluated_name}") for x, new in wanted.items())
    if "" in targets:
        yield from _builtins(code, statement, wanted, reason)
    elif len(targets) == 1 and (len(wanted) == len(statement.names) or targets == {module}):
        edits = [_alias(code, x, new) for x, new in wanted.items()]
        if targets != {module} and statement.module is not None:
            edits.append(Edit(code.text.span(statement.module), (targets.pop(),)))
        yield Change(statement, tuple(x for x in edits if x is not None), reason)
    else:
        yield Change(statement, (_split(code, statement, wanted),), reason)


def _alias(code: Code, alias: cst.ImportAlias, new: New) -> Edit | None:
    name = new.name.rpartition(".")[2]
    if name == alias.evaluated_name:
        return None
    text = name if alias.asname else f"{name} as {bound_name(alias)}"
    return Edit(code.text.span(alias.name), (text,))


def _shown(name: str, alias: cst.ImportAlias) -> str:
    return name if bound_name(alias) == name else f"{name} as {bound_name(alias)}"


def _split(code: Code, statement: cst.ImportFrom, wanted: Mapping[cst.ImportAlias, New]) -> Edit:
    """Write one import as several, on its line."""
    assert not isinstance(statement.names, cst.ImportStar)
    by_module: dict[str, list[str]] = {}
    for alias in statement.names:
        if alias in wanted:
            module, _, name = wanted[alias].name.rpartition(".")
        else:
            module, name = source_module(statement), alias.evaluated_name
        by_module.setdefault(module, []).append(_shown(name, alias))
    start, end = code.text.span(statement)
    num_lines = code.text.code((start, end)).count("\n")
    pieces = [f"from {module} import {', '.join(names)}" for module, names in by_module.items()]
    if num_lines:
        last = pieces.pop()
        head, _, names = last.partition(" import ")
        pieces.append(f"{head} import ({names}{chr(10) * num_lines})")
    return Edit((start, end), ("; ".join(pieces),))


def _builtins(
    code: Code, statement: cst.ImportFrom, wanted: Mapping[cst.ImportAlias, New], reason: str
) -> Iterator[Found]:
    """Take names that are Python's own out of an import that names nothing else."""
    same = all(bound_name(x) == new.name for x, new in wanted.items())
    if not same or len(wanted) < len(statement.names):  # type: ignore[arg-type]
        yield Leave(statement, reason)
        return
    yield Change(statement, (Edit(code.text.span(statement), ("pass",)),), reason)
