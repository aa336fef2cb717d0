"""Masks of bytes, from before PyTorch 1.2 had booleans, and what was computed with them.

`masked_fill` and its kin refuse bytes; an index of bytes is a mask still, with a warning. A comparison gives
booleans now, which cannot be subtracted: `1 - a.eq(b)` computed with bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.syntax import argument, assigned, bound_name

_MASKED = frozenset({"masked_fill", "masked_fill_", "masked_select", "masked_scatter", "masked_scatter_"})
_COMPARISONS = frozenset({"eq", "ne", "gt", "lt", "ge", "le"})
_MAKERS = frozenset(f"torch.{x}" for x in ("zeros", "ones", "tensor", "full", "empty"))
WORDS = frozenset({"byte", "ByteTensor", "uint8"}) | _COMPARISONS


def find(code: Code) -> Iterator[Found]:
    """Yield masks that are bytes, and differences of what was one."""
    for call in code.calls():
        func = call.func
        if isinstance(func, cst.Attribute) and func.attr.value in _MASKED:
            mask = argument(call, "mask", 1 if code.called(call).startswith("torch.") else 0)
            if mask is not None and _is_bytes(code, mask):
                yield _as_bool(code, mask, "a mask must be of booleans since PyTorch 1.2")
        elif (
            code.called(call) == "torch.where" and len(call.args) == 3 and _is_bytes(code, call.args[0].value)
        ):
            yield _as_bool(code, call.args[0].value, "bytes as a condition will go: PyTorch warns of them")
    for node in code.every(cst.Subscript):
        index = node.slice[0].slice if len(node.slice) == 1 else None
        if isinstance(index, cst.Index) and _is_bytes(code, index.value):
            yield _as_bool(code, index.value, "an index of bytes will go: PyTorch warns of it since 1.2")
    if not _uses_pandas(code):
        yield from _differences(code)


def _is_bytes(code: Code, node: cst.BaseExpression) -> bool:
    """Tell whether an expression surely is a tensor of bytes."""
    if isinstance(node, cst.Name):
        bound = code.program.bindings(node)
        pairs = [assigned(code.program.statement(x)) for x in bound if isinstance(x, cst.Name)]
        return (
            bool(bound)
            and len(pairs) == len(bound)
            and all(
                pair is not None
                and not isinstance(pair[1], cst.Name)
                and _is_bytes(code, pair[1])
                and len(pair[0]) == 1
                and isinstance(pair[0][0], cst.Name)
                for pair in pairs
            )
        )
    if not isinstance(node, cst.Call):
        return False
    full = code.called(node)
    if full in _MAKERS:
        dtype = argument(node, "dtype")
        return dtype is not None and code.program.imported(dtype) == "torch.uint8"
    is_method = isinstance(node.func, cst.Attribute) and node.func.attr.value == "byte" and not node.args
    return full == "torch.ByteTensor" or is_method


def _as_bool(code: Code, mask: cst.BaseExpression, reason: str) -> Change:
    if isinstance(mask, cst.Call) and isinstance(mask.func, cst.Attribute) and mask.func.attr.value == "byte":
        return Change(mask, (Edit(code.text.span(mask.func.attr), ("bool",)),), reason)
    end = code.text.whole(mask)[1]
    holder = code.program.parent(mask)
    return Change(holder, (Edit((end, end), (".bool()",)),), reason)


def _uses_pandas(code: Code) -> bool:
    """Pandas compares by methods of the same names, and subtracts what they give."""
    return any(
        bound_name(x) == "pandas" or x.evaluated_name.startswith("pandas")
        for node in code.every(cst.Import)
        for x in node.names
    )


def _differences(code: Code) -> Iterator[Found]:
    for node in code.every(cst.BinaryOperation):
        if not isinstance(node.operator, cst.Subtract) or not isinstance(node.left, cst.Integer):
            continue
        call = node.right
        if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute):
            continue
        name, full = call.func.attr.value, code.called(call)
        of_torch = full.removeprefix("torch.") in _COMPARISONS and full.startswith("torch.")
        if of_torch or (not full and name in _COMPARISONS and not code.has_method(name)):
            end = code.text.whole(call)[1]
            reason = (
                "a comparison gives booleans since PyTorch 1.2, which cannot be subtracted; it gave bytes"
            )
            yield Change(node, (Edit((end, end), (".byte()",)),), reason)


_HEAD = "import torch\nx = torch.arange(4.0)\n"

CASES = (
    Case(
        "a mask",
        f"{_HEAD}result = x.masked_fill((x > 1).byte(), 0.0)",
        f"{_HEAD}result = x.masked_fill((x > 1).bool(), 0.0)",
        "torch.tensor([0.0, 1.0, 0.0, 0.0])",
    ),
    Case(
        "a mask in a variable",
        f"{_HEAD}mask = torch.ByteTensor([1, 0, 1, 0])\nresult = torch.masked_select(x, mask)",
        f"{_HEAD}mask = torch.ByteTensor([1, 0, 1, 0])\nresult = torch.masked_select(x, mask.bool())",
        "torch.tensor([0.0, 2.0])",
    ),
    Case(
        "a mask that is made",
        f"{_HEAD}mask = torch.zeros(4, dtype=torch.uint8)\nmask[1] = 1\nresult = x.masked_fill_(mask, 9)",
        f"{_HEAD}mask = torch.zeros(4, dtype=torch.uint8)\nmask[1] = 1\n"
        "result = x.masked_fill_(mask.bool(), 9)",
        "torch.tensor([0.0, 9.0, 2.0, 3.0])",
    ),
    Case("an index", f"{_HEAD}result = x[(x > 1).byte()]", f"{_HEAD}result = x[(x > 1).bool()]", fails=False),
    Case(
        "a condition",
        f"{_HEAD}result = torch.where((x > 1).byte(), x, -x)",
        f"{_HEAD}result = torch.where((x > 1).bool(), x, -x)",
        fails=False,
    ),
    Case(
        "what is not equal",
        f"{_HEAD}result = 1 - x.eq(2)",
        f"{_HEAD}result = 1 - x.eq(2).byte()",
        "torch.tensor([1, 1, 0, 1], dtype=torch.uint8)",
    ),
    Case("bytes that are no mask", f"{_HEAD}result = x.byte() + 1", None),
    Case("a mask that is not seen", "def f(x, mask):\n    return x.masked_fill(mask, x.byte())", None),
)
