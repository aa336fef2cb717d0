"""What may have run before what, among the statements of a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libcst as cst

from bessemer.conversion.children import children

Parents = Mapping[cst.CSTNode, cst.CSTNode]


def is_stored(name: cst.Name, parents: Parents) -> bool:
    """Tell whether a name is written where it stands."""
    node: cst.CSTNode = name
    outer = parents.get(node)
    while isinstance(outer, cst.Tuple | cst.List | cst.Element | cst.StarredElement):
        node, outer = outer, parents.get(outer)
    if isinstance(outer, cst.AssignTarget | cst.FunctionDef | cst.ClassDef | cst.AsName):
        return True
    targets = isinstance(outer, cst.For | cst.AnnAssign | cst.AugAssign | cst.NamedExpr)
    return targets and getattr(outer, "target", None) is node


def may_precede(store: cst.Name, use: cst.Name, parents: Parents) -> bool:
    """Tell whether a write may have run before a read, both at module level."""
    first, second = _path(store, parents), _path(use, parents)
    common = [x for x in first if x in second]
    holder = common[0] if common else None
    if any(isinstance(x, cst.For | cst.While) for x in common):
        return True
    if isinstance(holder, cst.If | cst.Assign | cst.AnnAssign | cst.NamedExpr):
        return False  # in different branches, or the value is computed before it is written
    order = {node: number for number, node in enumerate(_in_order(holder))} if holder is not None else {}
    mine, other = (next(x for x in path if x in order) for path in (first, second))
    return mine is not other and order[mine] < order[other]


def _path(node: cst.CSTNode, parents: Parents) -> list[cst.CSTNode]:
    path = [node]
    while path[-1] in parents:
        path.append(parents[path[-1]])
    return path


def _in_order(holder: cst.CSTNode) -> Sequence[cst.CSTNode]:
    return holder.body if isinstance(holder, cst.Module | cst.IndentedBlock) else children(holder)
