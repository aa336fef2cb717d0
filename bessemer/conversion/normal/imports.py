"""Imports that are made again, or in vain: cells of a notebook import what others have imported.

`import torch` under a condition, where the program imports it in any case, would make a variable of the entry
function of it, and everything that needs it would have to move there; so would a name that is imported and
then defined before anything uses it. Both imports go; what is imported from the same place stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import libcst as cst

from bessemer.conversion.normal.places import Places, Tracer
from bessemer.conversion.syntax import bound_name, code_of, parents_in, walk

_Import = cst.Import | cst.ImportFrom
_ALIASES = cst.ImportAlias


def without_idle_imports(module: cst.Module, places: Places) -> cst.Module:
    """Leave out imports that bind nothing new."""
    gone = {*_again(module), *_in_vain(module)}
    if not gone:
        return module
    changed = module.visit(_Gone(places, gone))
    assert isinstance(changed, cst.Module)
    return changed


def _again(module: cst.Module) -> Iterator[_ALIASES]:
    """Yield what is imported under a condition and, in the same words, also in any case."""
    known = {_words(x, alias) for x in _plain(module) for alias in _aliases(x)}
    parents = parents_in(module)
    for node in walk(module, cst.Import, cst.ImportFrom):
        outer: list[cst.CSTNode] = [node]
        while outer[-1] in parents:
            outer.append(parents[outer[-1]])
        is_plain = len(outer) == 3
        elsewhere = any(isinstance(x, cst.FunctionDef | cst.ClassDef | cst.Try | cst.TryStar) for x in outer)
        if not is_plain and not elsewhere:
            yield from (x for x in _aliases(node) if _words(node, x) in known)


def _in_vain(module: cst.Module) -> Iterator[_ALIASES]:
    """Yield what is imported with other names, and defined before anything may use it."""
    body = list(module.body)
    defined = {x.name.value: i for i, x in enumerate(body) if isinstance(x, cst.FunctionDef | cst.ClassDef)}
    for start, statement in enumerate(body):
        if not isinstance(statement, cst.SimpleStatementLine):
            continue
        for node in (x for x in statement.body if isinstance(x, cst.ImportFrom)):
            aliases = _aliases(node)
            found = [x for x in aliases if start < defined.get(bound_name(x), -1)]
            idle = [
                x for x in found if not _is_named(body[start + 1 : defined[bound_name(x)]], bound_name(x))
            ]
            if len(idle) < len(aliases):
                yield from idle


def _is_named(statements: Sequence[cst.BaseStatement], name: str) -> bool:
    return any(x.value == name for statement in statements for x in walk(statement, cst.Name))


def _plain(module: cst.Module) -> Iterator[_Import]:
    for statement in module.body:
        for node in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            if isinstance(node, _Import):
                yield node


def _aliases(node: _Import) -> tuple[_ALIASES, ...]:
    return () if isinstance(node.names, cst.ImportStar) else tuple(node.names)


def _words(node: _Import, alias: _ALIASES) -> tuple[str, str, str]:
    module = ""
    if isinstance(node, cst.ImportFrom):
        module = "." * len(node.relative) + (code_of(node.module) if node.module is not None else "")
    return module, alias.evaluated_name, alias.evaluated_alias or ""


class _Gone(Tracer):
    def __init__(self, places: Places, gone: set[_ALIASES]) -> None:
        super().__init__(places)
        self.gone = gone

    def leave_Import(self, original_node: cst.Import, updated_node: cst.Import) -> cst.BaseSmallStatement:
        """Leave names out."""
        return self._left(original_node, updated_node)

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.BaseSmallStatement:
        """Leave names out."""
        return self._left(original_node, updated_node)

    def _left(self, original: _Import, updated: _Import) -> cst.BaseSmallStatement:
        aliases = _aliases(original)
        kept = [new for old, new in zip(aliases, _aliases(updated), strict=True) if old not in self.gone]
        if len(kept) == len(aliases):
            return updated
        if not kept:
            return cst.Pass()
        return updated.with_changes(
            names=[*kept[:-1], kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]
        )
