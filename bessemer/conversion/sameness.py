"""Whether two variables hold one object: what was made in one place may have been made there twice.

A function that makes an optimizer is called for each model, and each object of a class has its own.
"""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.inference import Kinds
from bessemer.conversion.kinds import Value
from bessemer.conversion.program import Program

_REPEATED = (cst.For, cst.While, cst.CompFor, cst.Lambda)


def is_same(program: Program, kinds: Kinds, entry: cst.FunctionDef | None, one: Value, other: Value) -> bool:
    """Tell whether two values surely are one object."""
    return (
        one.kind is other.kind
        and bool(one.origins)
        and one.origins == other.origins
        and all(_is_made_once(program, kinds, entry, x, frozenset()) for x in one.origins)
    )


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
    return any(owner in kinds.lineage(x) for x in classes)
