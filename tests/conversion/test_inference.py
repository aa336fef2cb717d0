"""What the kinds of expressions are, also where names are given to each other."""

from __future__ import annotations

from itertools import permutations

import libcst as cst

from bessemer.conversion.inference import Kinds
from bessemer.conversion.kinds import Kind
from bessemer.conversion.program import understand


def kinds_of(code: str) -> tuple[Kinds, dict[str, cst.BaseExpression]]:
    """Return the kinds of a program, and what stands on the right in its lines `seen_x = ...`."""
    program = understand(cst.parse_module(code), "a.py")
    lines = [x.body[0] for x in program.module.body if isinstance(x, cst.SimpleStatementLine)]
    assigned = [x for x in lines if isinstance(x, cst.Assign)]
    targets = [(cst.ensure_type(x.targets[0].target, cst.Name).value, x.value) for x in assigned]
    return Kinds(program), {name: value for name, value in targets if name.startswith("seen_")}


def test_names_that_are_all_given_to_each_other_take_no_longer_for_it() -> None:
    names = [f"x{i}" for i in range(12)]
    swaps = "".join(f"{one} = {other}\n" for one, other in permutations(names, 2))
    code = f"from torch import nn\nx7 = nn.Linear(1, 1)\n{swaps}seen_first = x0\nseen_last = x11\n"
    kinds, seen = kinds_of(code)
    for value in seen.values():
        assert kinds.is_a(value, Kind.MODULE)


def test_what_hung_on_an_open_question_is_asked_again_when_that_is_answered() -> None:
    code = """
from torch import nn
a = b
b = a
b = c
c = b
c = nn.Linear(1, 1)
seen_a = a
seen_b = b
seen_c = c
"""
    kinds, seen = kinds_of(code)
    made = {name: kinds.of(value) for name, value in seen.items()}
    assert all(x is not None and x.kind is Kind.MODULE and len(x.origins) == 1 for x in made.values())
