"""Whether two variables hold one object: what was made in one place may have been made there twice.

A function that makes an optimizer is called for each model, and each object of a class has its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from bessemer.conversion.inference import Kinds
from bessemer.conversion.kinds import Kind, Value
from bessemer.conversion.program import Program

_REPEATED = (cst.For, cst.While, cst.CompFor, cst.Lambda)


def is_among(
    program: Program, kinds: Kinds, entry: cst.FunctionDef | None, value: Value, known: Sequence[Value]
) -> bool:
    """Tell whether a value surely is one object with one of those known; a list, if all that is in it is."""
    if value.kind is Kind.SEVERAL:
        others = frozenset[cst.Call]().union(*(x.origins for x in known))
        are_same = value.origins <= others
    else:
        are_same = any(value.kind is x.kind and value.origins == x.origins for x in known)
    once = (_is_made_once(program, kinds, entry, x, frozenset()) for x in value.origins)
    return are_same and bool(value.origins) and all(once)


def _is_made_once(
    program: Program,
    kinds: Kinds,
    entry: cst.FunctionDef | None,
    call: cst.CSTNode,
    seen: frozenset[cst.CSTNode],
) -> bool:
    """Tell whether a call is run once in a program, as far as calls can be followed."""
    function = program.enclosing(call, cst.FunctionDef)
    repeated = program.enclosing(call, cst.FunctionDef, *_REPEATED)
    if repeated is not function or function in seen:
        return False
    if function is None or function is entry:
        return True
    owner = program.enclosing(function, cst.ClassDef, cst.FunctionDef)
    if isinstance(owner, cst.ClassDef) and _has_heirs(kinds, owner):
        return False
    callers = kinds.callers(function)
    return len(callers) == 1 and _is_made_once(program, kinds, entry, callers[0], seen | {function})


def _has_heirs(kinds: Kinds, owner: cst.ClassDef) -> bool:
    classes = [x for x in kinds.definitions.values() if isinstance(x, cst.ClassDef) and x is not owner]
    return any(owner in kinds.definitions.lineage(x) for x in classes)
