"""What is there in front of a loop, and how the loop's function reaches it.

Variables of the function, what stands in tuples and lists that are written out, and attributes of objects
of the program's own classes: `model`, `optimizers[0]`, `self.trainer.best`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.flow import Flow, Loop
from bessemer.conversion.inference import Kinds
from bessemer.conversion.kinds import Kind, Value, element_of
from bessemer.conversion.program import Program
from bessemer.conversion.syntax import parameters, self_parameter, walk

_DEPTH = 2
_MOST_ITEMS = 20


@dataclass(frozen=True, eq=False)
class Reached:
    """Something in front of a loop.

    `name` is what it may be called, `code` the expression that reaches it; `surely` says that it is there
    whenever the loop begins.
    """

    name: str
    code: str
    value: Value
    surely: bool


def reached(program: Program, kinds: Kinds, function: cst.FunctionDef, loop: Loop) -> Iterator[Reached]:
    """Yield what is there in front of a loop, in the order of the function; something may come twice."""
    surely = Flow(program, function).set_before(loop)
    nodes: list[tuple[str, cst.CSTNode]] = [(x.name.value, x) for x in parameters(function)]
    stores = (x for x in walk(function.body, cst.Name) if program.is_store(x))
    nodes += [(x.value, x) for x in stores if not program.is_comprehended(x)]
    in_class = program.enclosing(function, cst.ClassDef) is not None
    own = self_parameter(function) if in_class else None
    seen: set[str] = set()
    for name, node in nodes:
        if name in seen or not program.is_local(name, function) or not program.before(node, loop):
            continue
        seen.add(name)
        value = kinds.variable(node)
        if value is not None:
            # What hangs on `self` is called as if it were a variable.
            shown = "" if name == own else name
            yield from _inside(kinds, Reached(shown, name, value, name in surely), _DEPTH)


def _inside(kinds: Kinds, here: Reached, depth: int) -> Iterator[Reached]:
    """Yield something, its items and its attributes."""
    value = here.value
    yield here
    if value.kind is Kind.TUPLE and len(value.items) <= _MOST_ITEMS:
        for index, item in enumerate(value.items):
            if item is not None:
                inner = Reached(f"{here.name}_{index}", f"{here.code}[{index}]", item, here.surely)
                yield from _inside(kinds, inner, depth)
    is_own = value.kind is Kind.OBJECT or (value.kind is Kind.MODULE and value.owner is not None)
    if not depth or not is_own or value.optional:
        return
    for attribute in kinds.attributes(value):
        held = kinds.attribute(value, attribute)
        one = element_of(held) if held is not None and held.kind is Kind.SEVERAL else held
        is_part = one is not None and value.kind is Kind.MODULE and one.kind is Kind.MODULE
        if held is not None and not is_part:
            longer = f"{here.name}_{attribute}" if here.name else attribute
            yield from _inside(
                kinds, Reached(longer, f"{here.code}.{attribute}", held, here.surely), depth - 1
            )
