"""`iterator.next()`, which Python 3 calls `next(iterator)`.

PyTorch's loaders had the old method until 1.13. Only what `iter()` surely gave is changed, and nothing in a
file that defines a `next` of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.syntax import assigned

WORDS = frozenset({"next"})


def find(code: Code) -> Iterator[Found]:
    """Yield calls of `next` as a method."""
    for call in code.calls():
        func = call.func
        if not isinstance(func, cst.Attribute) or func.attr.value != "next" or call.args:
            continue
        if code.has_method("next") or not code.is_builtin("next", call) or not _is_iterator(code, func.value):
            continue
        edit = Edit(code.text.span(call), ("next(", func.value, ")"))
        yield Change(call, (edit,), "iterators of PyTorch have no next() since 1.13; Python's own never had")


def _is_iterator(code: Code, node: cst.BaseExpression) -> bool:
    if isinstance(node, cst.Call):
        return _makes_one(code, node)
    if isinstance(node, cst.Name):
        given = [_given(code, x) for x in code.program.bindings(node)]
    elif isinstance(node, cst.Attribute):
        shown = code.program.code(node)
        stores = (x for x in code.every(cst.Attribute) if code.program.is_store(x))
        given = [_given(code, x) for x in stores if code.program.code(x) == shown]
    else:
        return False
    return bool(given) and all(isinstance(x, cst.Call) and _makes_one(code, x) for x in given)


def _makes_one(code: Code, call: cst.Call) -> bool:
    is_method = isinstance(call.func, cst.Attribute) and call.func.attr.value == "__iter__" and not call.args
    return is_method or code.called(call) == "builtins.iter"


def _given(code: Code, target: cst.CSTNode) -> cst.BaseExpression | None:
    if not isinstance(target, cst.Name | cst.Attribute):
        return None
    targets, value = assigned(code.program.statement(target)) or ((), None)
    return value if any(x is target for x in targets) else None


_HEAD = "from torch.utils.data import DataLoader\nloader = DataLoader([1, 2], batch_size=None)\n"

CASES = (
    Case(
        "the first batch",
        f"{_HEAD}batches = iter(loader)\nresult = batches.next()",
        f"{_HEAD}batches = iter(loader)\nresult = next(batches)",
        "1",
    ),
    Case("in one breath", f"{_HEAD}result = iter(loader).next()", f"{_HEAD}result = next(iter(loader))", "1"),
    Case(
        "by Python's own name",
        f"{_HEAD}result = loader.__iter__().next()",
        f"{_HEAD}result = next(loader.__iter__())",
        "1",
    ),
    Case(
        "kept in an object",
        f"{_HEAD}class A:\n    def __init__(self):\n        self.it = iter(loader)\n"
        "    def draw(self):\n        return self.it.next()\nresult = A().draw()",
        f"{_HEAD}class A:\n    def __init__(self):\n        self.it = iter(loader)\n"
        "    def draw(self):\n        return next(self.it)\nresult = A().draw()",
        "1",
    ),
    Case("what is not known to be one", "def f(batches):\n    return batches.next()", None),
    Case(
        "in a file with a next of its own",
        "class A:\n    def __iter__(self):\n        return self\n    def next(self):\n        return 1\n"
        "it = iter(A())\nresult = it.next()",
        None,
    ),
)
