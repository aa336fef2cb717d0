"""Linear algebra, which moved to `torch.linalg` and changed its arguments on the way.

Only calls whose options are written out are changed. Rounding may differ by the last bits between versions
of LAPACK; the signs of eigenvectors are chosen by it, as before.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found, Leave
from bessemer.conversion.modernise.edits import Edit, Part
from bessemer.conversion.syntax import argument

_V12, _V19 = "PyTorch 1.2", "PyTorch 1.9, which warned that they would go"
WORDS = frozenset(
    {"symeig", "potrf", "potri", "potrs", "trtrs", "gesv", "solve", "btrifact", "qr", "cholesky"}
    | {"matrix_rank", "chain_matmul", "range", "stft"}
)
_SIZES = frozenset({"size", "numel", "dim"})


def find(code: Code) -> Iterator[Found]:
    """Yield calls of functions that are gone, or have another name and order."""
    for call in code.calls():
        full = code.called(call)
        if not full.startswith("torch.") or not isinstance(call.func, cst.Attribute):
            continue
        make = _MAKERS.get(full.removeprefix("torch."))
        if make is None:
            continue
        new = make(code, call, call.func.value)
        if new is None:
            if full not in _STILL_THERE:
                yield Leave(call, f"{full} is gone, and torch.linalg has other arguments; write it anew")
        else:
            parts, reason = new
            node = code.program.parent(call) if full in _FIRST else call
            yield Change(node, (Edit(code.text.span(node), parts),), f"{full} {reason}")


Made = tuple[tuple[Part, ...], str] | None


def _flag(call: cst.Call, keyword: str, position: int, default: bool) -> bool | None:
    """Return a flag that a call gives in plain sight, or its default; None if it cannot be seen."""
    value = argument(call, keyword, position)
    if value is None:
        return default if not any(x.star for x in call.args) else None
    return value.value == "True" if isinstance(value, cst.Name) and value.value in ("True", "False") else None


def _only(call: cst.Call, *names: str) -> bool:
    """Tell whether a call has no other arguments than these, which may be given by position."""
    keywords = [x.keyword.value for x in call.args if x.keyword is not None]
    return (
        bool(call.args)
        and len(call.args) <= len(names)
        and not any(x.star for x in call.args)
        and all(x in names for x in keywords)
        and call.args[0].keyword is None
    )


def _symeig(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    vectors, upper = _flag(call, "eigenvectors", 1, False), _flag(call, "upper", 2, True)
    if not _only(call, "input", "eigenvectors", "upper") or vectors is None or upper is None:
        return None
    side = "U" if upper else "L"
    reason = f"is gone since {_V19}: it looked at the {'upper' if upper else 'lower'} triangle"
    return (torch, ".linalg.eigh(", call.args[0].value, f', UPLO="{side}")'), reason


def _potrf(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    upper = _flag(call, "upper", 1, True)
    if not _only(call, "a", "upper") or upper is None:
        return None
    rest = ", upper=True)" if upper else ")"
    return (torch, ".linalg.cholesky(", call.args[0].value, rest), f"is gone since {_V12}"


def _potri(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    upper = _flag(call, "upper", 1, True)
    if not _only(call, "u", "upper") or upper is None:
        return None
    return (torch, ".cholesky_inverse(", call.args[0].value, f", upper={upper})"), f"is gone since {_V12}"


def _potrs(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    upper = _flag(call, "upper", 2, True)
    if not _only(call, "b", "u", "upper") or upper is None or len(call.args) < 2:
        return None
    first, second = (x.value for x in call.args[:2])
    parts = (torch, ".cholesky_solve(", first, ", ", second, f", upper={upper})")
    return parts, f"is gone since {_V12}"


def _cholesky(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    upper = _flag(call, "upper", 1, False)
    if not _only(call, "input", "upper") or upper is not False:
        return None
    return (torch, ".linalg.cholesky(", call.args[0].value, ")"), "will go: PyTorch warns of it since 1.8"


def _qr(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    some = _flag(call, "some", 1, True)
    if not _only(call, "input", "some") or some is None:
        return None
    mode = "" if some else ', mode="complete"'
    return (torch, ".linalg.qr(", call.args[0].value, f"{mode})"), "will go: PyTorch warns of it since 1.8"


def _rank(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    if not _only(call, "input"):
        return None
    return (torch, ".linalg.matrix_rank(", call.args[0].value, ")"), f"is gone since {_V19}"


def _chain(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    if not call.args or any(x.keyword for x in call.args):
        return None
    first, last = code.text.span(call.args[0])[0], code.text.span(call.args[-1])[1]
    return (torch, ".linalg.multi_dot([", (first, last), "])"), "will go: PyTorch warns of it since 1.8"


def _solve(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    """The solution alone: `gesv(b, a)[0]`. The factors that came with it have no counterpart."""
    holder = code.program.parent(call)
    if not _only(call, "input", "A") or len(call.args) != 2 or any(x.keyword for x in call.args):
        return None
    if not (
        isinstance(holder, cst.Subscript) and holder.value is call and not call.lpar and _is_zero(holder)
    ):
        return None
    b, a = (x.value for x in call.args)
    reason = "is gone since PyTorch 1.9: linalg.solve gives the solution alone, and takes the matrix first"
    return (torch, ".linalg.solve(", a, ", ", b, ")"), reason


def _is_zero(node: cst.Subscript) -> bool:
    index = node.slice[0].slice if len(node.slice) == 1 else None
    return isinstance(index, cst.Index) and isinstance(index.value, cst.Integer) and index.value.value == "0"


def _btrifact(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    if not _only(call, "A"):
        return None
    return (torch, ".linalg.lu_factor(", call.args[0].value, ")"), f"is gone since {_V12}"


def _range(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    """From a whole number to a whole number, the last one included, as floats."""
    if len(call.args) != 2 or any(x.star or x.keyword for x in call.args):
        return None
    first, last = (x.value for x in call.args)
    if not (_is_whole(first) and _is_whole(last)):
        return None
    parts = (torch, ".arange(", first, ", ", last, " + 1, dtype=", torch, ".get_default_dtype())")
    return parts, "will go: it has the last number too, and floats"


def _is_whole(node: cst.BaseExpression) -> bool:
    match node:
        case cst.Integer() | cst.Call(func=cst.Name("len")):
            return True
        case cst.Call(func=cst.Attribute(attr=cst.Name(name))):
            return name in _SIZES and bool(node.args or name != "size")
        case cst.UnaryOperation(operator=cst.Minus()):
            return _is_whole(node.expression)
        case cst.BinaryOperation(operator=cst.Add() | cst.Subtract() | cst.Multiply()):
            return _is_whole(node.left) and _is_whole(node.right)
    return False


def _stft(code: Code, call: cst.Call, torch: cst.BaseExpression) -> Made:
    if not call.args or any(x.star for x in call.args) or argument(call, "return_complex", 9) is not None:
        return None
    start, end = code.text.span(call)
    last = code.text.span(call.args[-1])[1]
    parts = (torch, ".view_as_real(", (start, last), ", return_complex=True", (last, end), ")")
    return parts, "fails since PyTorch 2.0 unless it gives complex numbers; it gave pairs of real ones"


_MAKERS = {
    "symeig": _symeig, "potrf": _potrf, "potri": _potri, "potrs": _potrs, "cholesky": _cholesky, "qr": _qr,
    "matrix_rank": _rank, "chain_matmul": _chain, "gesv": _solve, "solve": _solve, "btrifact": _btrifact,
    "range": _range, "stft": _stft,
}  # fmt: skip
_FIRST = frozenset({"torch.gesv", "torch.solve"})
_STILL_THERE = frozenset({"torch.cholesky", "torch.qr", "torch.chain_matmul", "torch.range", "torch.stft"})

_HEAD = "import torch\na = torch.tensor([[2.0, 1.0], [1.0, 3.0]])\nb = torch.tensor([[1.0], [2.0]])\n"


def _case(why: str, before: str, after: str | None, gives: str = "", fails: bool = True) -> Case:
    asks = after is None and fails
    return Case(why, _HEAD + before, None if after is None else _HEAD + after, gives, fails, asks=asks)


_A = "torch.tensor([[2.0, 1.0], [1.0, 3.0]])"
CASES = (
    _case(
        "eigenvalues of a symmetric matrix",
        "e, _ = torch.symeig(a)\nresult = e",
        'e, _ = torch.linalg.eigh(a, UPLO="U")\nresult = e',
        f"torch.linalg.eigh({_A})[0]",
    ),
    _case(
        "its eigenvectors, from the lower triangle",
        "result = torch.symeig(a, eigenvectors=True, upper=False)[1].abs()",
        'result = torch.linalg.eigh(a, UPLO="L")[1].abs()',
        f"torch.linalg.eigh({_A})[1].abs()",
    ),
    _case("options that are not seen", "def f(flag):\n    return torch.symeig(a, flag)", None),
    _case(
        "Cholesky's factor, of the upper triangle",
        "result = torch.potrf(a)",
        "result = torch.linalg.cholesky(a, upper=True)",
        f"torch.linalg.cholesky({_A}).T.contiguous()",
    ),
    _case(
        "and what is made of it",
        "u = torch.potrf(a)\nresult = (torch.potri(u) @ a).round()",
        "u = torch.linalg.cholesky(a, upper=True)\n"
        "result = (torch.cholesky_inverse(u, upper=True) @ a).round()",
        "torch.eye(2)",
    ),
    _case(
        "a system that is solved by it",
        "u = torch.potrf(a, False)\nresult = (a @ torch.potrs(b, u, False)).round()",
        "u = torch.linalg.cholesky(a)\nresult = (a @ torch.cholesky_solve(b, u, upper=False)).round()",
        "torch.tensor([[1.0], [2.0]])",
    ),
    _case("its younger name", "result = torch.cholesky(a)", "result = torch.linalg.cholesky(a)", fails=False),
    _case("QR", "result = torch.qr(a)[1]", "result = torch.linalg.qr(a)[1]", fails=False),
    _case(
        "QR of a tall matrix, whole",
        "result = torch.qr(b, some=False)[0]",
        'result = torch.linalg.qr(b, mode="complete")[0]',
        fails=False,
    ),
    _case(
        "the rank",
        "result = torch.matrix_rank(a)",
        "result = torch.linalg.matrix_rank(a)",
        "torch.tensor(2)",
    ),
    _case(
        "a product of several",
        "result = torch.chain_matmul(a, a, b)",
        "result = torch.linalg.multi_dot([a, a, b])",
        fails=False,
    ),
    _case(
        "a system of equations",
        "result = torch.gesv(b,\n    a)[0]\nline = 6",
        "result = torch.linalg.solve(a, b\n)\nline = 6",
        f"torch.linalg.solve({_A}, torch.tensor([[1.0], [2.0]]))",
    ),
    _case("with its factors", "x, lu = torch.gesv(b, a)", None),
    _case(
        "LU",
        "result = torch.btrifact(a)[0]",
        "result = torch.linalg.lu_factor(a)[0]",
        f"torch.linalg.lu_factor({_A})[0]",
    ),
    _case(
        "a range with its end",
        "result = torch.range(0, len(a) - 1)",
        "result = torch.arange(0, len(a) - 1 + 1, dtype=torch.get_default_dtype())",
        fails=False,
    ),
    _case("a range between numbers that are not seen", "result = torch.range(0, 1.5)", None, fails=False),
    _case(
        "a spectrum",
        "result = torch.stft(torch.ones(32), 8, window=torch.ones(8)).shape",
        "result = torch.view_as_real("
        "torch.stft(torch.ones(32), 8, window=torch.ones(8), return_complex=True)).shape",
        "torch.Size([5, 17, 2])",
    ),
)
