"""What calls make that are no constructors of one name: builtins of lists, and classes that are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import libcst as cst

from bessemer.conversion.kinds import Kind, Value, together
from bessemer.conversion.program import Program

LISTINGS = frozenset({f"builtins.{x}" for x in ("zip", "enumerate", "reversed", "list", "tuple")})
_LOOKED_UP = frozenset({"torch.optim", "torch.optim.lr_scheduler"})


def looked_up(program: Program, func: cst.BaseExpression) -> str | None:
    """Return what `getattr(optim, name)` or `optim.__dict__[name]` is called, whatever the name.

    It stands for any class there.
    """
    match func:
        case cst.Call(args=[cst.Arg(value=module), *_]) if program.imported(func.func) == "builtins.getattr":
            found = program.imported(module)
        case cst.Subscript(value=cst.Attribute(value=module, attr=cst.Name("__dict__"))):
            found = program.imported(module)
        case _:
            return None
    return f"{found}.Any" if found in _LOOKED_UP else None


def listed(name: str, given: Sequence[Value | None]) -> Value | None:
    """Return what a builtin makes of lists."""
    first = given[0] if given else None
    if name == "builtins.zip":
        return together(given)
    if first is None or first.kind not in (Kind.TUPLE, Kind.SEVERAL):
        return None
    if name == "builtins.enumerate":
        number = Value(Kind.NUMBER)
        return together([replace(first, items=(number,) * len(first.items), origins=frozenset()), first])
    return replace(first, items=first.items[::-1]) if name == "builtins.reversed" else first
