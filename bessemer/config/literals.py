"""Values that code writes out: numbers, texts, truth values, and arithmetic of numbers; nothing is run."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
_MOST_DIGITS = 64


def literal(code: str | ast.expr) -> Any:
    """Return the value of an expression, as `ast.literal_eval` does, with arithmetic as in `5 * 8`.

    Raises:
        ValueError: it is computed from something else, or is no expression.
    """
    if isinstance(code, str):
        try:
            code = ast.parse(code, mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"no expression: {error}") from None
    if isinstance(code, ast.UnaryOp) and isinstance(code.op, ast.USub):
        value = literal(code.operand)
        if type(value) in (int, float):
            return -value
    if not isinstance(code, ast.BinOp):
        return ast.literal_eval(code)
    left, right = literal(code.left), literal(code.right)
    is_power = isinstance(code.op, ast.Pow)
    if (
        type(code.op) not in _OPERATORS
        or not all(type(x) in (int, float) for x in (left, right))
        or (is_power and abs(right) > _MOST_DIGITS)
    ):
        raise ValueError(f"no literal: {ast.unparse(code)}")
    try:
        return _OPERATORS[type(code.op)](left, right)
    except ArithmeticError as error:
        raise ValueError(f"no number: {ast.unparse(code)}: {error}") from None
