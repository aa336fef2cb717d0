"""A factor before a tensor: `p.add_(-lr, g)`, which PyTorch 1.5 and later warn of.

`add_(alpha, other)` is `add_(other, alpha=alpha)` now, and so are its kin. The names with an underscore are
PyTorch's own; without one only `torch.add` and the like are changed. What is computed for the arguments is
computed in the other order, so at most one of them may be more than a lookup.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found
from bessemer.conversion.modernise.edits import Edit, Part
from bessemer.conversion.syntax import walk

_FACTOR = {"add_": "alpha", "sub_": "alpha", "addcmul_": "value", "addcdiv_": "value"}
_NUM_TENSORS = {"add_": 1, "sub_": 1, "addcmul_": 2, "addcdiv_": 2}
WORDS = frozenset(_FACTOR) | frozenset(x.rstrip("_") for x in _FACTOR)


def find(code: Code) -> Iterator[Found]:
    """Yield calls that give a factor first."""
    for call in code.calls():
        func, full = call.func, code.called(call)
        if not isinstance(func, cst.Attribute) or any(x.star or x.keyword for x in call.args):
            continue
        if full.startswith("torch.") and full.count(".") == 1:
            name, first = f"{func.attr.value}_", 1
        elif not full:
            name, first = func.attr.value, 0
        else:
            continue
        num_tensors = _NUM_TENSORS.get(name)
        if num_tensors is None or len(call.args) != first + 1 + num_tensors or code.has_method(name):
            continue
        values = [x.value for x in call.args[first:]]
        if sum(any(walk(x, cst.Call)) for x in values) > 1:
            continue
        yield _change(code, call, first, values, _FACTOR[name])


def _change(code: Code, call: cst.Call, first: int, values: list[cst.BaseExpression], factor: str) -> Change:
    start = code.text.whole(call.args[first].value)[0]
    end = code.text.whole(call.args[-1].value)[1]
    parts: list[Part] = []
    for value in values[1:]:
        parts += [value, ", "]
    edit = Edit((start, end), (*parts, f"{factor}=", values[0]))
    return Change(
        call, (edit,), f"a factor before the tensors is deprecated since PyTorch 1.5: it is {factor}"
    )


_HEAD = "import torch\np, g = torch.arange(3.0), torch.ones(3)\nlr = 0.1\n"


def _case(why: str, before: str, after: str | None) -> Case:
    return Case(why, _HEAD + before, None if after is None else _HEAD + after, fails=False)


CASES = (
    _case(
        "a step by hand",
        "p.data.add_(-lr, g.data)\nresult = p",
        "p.data.add_(g.data, alpha=-lr)\nresult = p",
    ),
    _case("subtracted", "result = p.sub_(lr, g)", "result = p.sub_(g, alpha=lr)"),
    _case(
        "times a product",
        "result = p.mul_(lr).addcmul_(1 - lr,\n    g, g)\nline = 5",
        "result = p.mul_(lr).addcmul_(g, g, value=1 - lr\n)\nline = 5",
    ),
    _case(
        "as a function",
        "result = torch.addcdiv(p, -lr, g, g.sqrt())",
        "result = torch.addcdiv(p, g, g.sqrt(), value=-lr)",
    ),
    _case("what is added alone", "result = p.add_(g)", None),
    _case("an order that would change", "result = p.add_(float(lr), torch.rand(3))", None),
    Case(
        "a method of one's own",
        "class A:\n    def add_(self, a, b):\n        return a\nresult = A().add_(1, 2)",
        None,
    ),
)
