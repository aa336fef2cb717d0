"""The guard of a script: `if __name__ == "__main__":`."""

from __future__ import annotations

from typing import TypeGuard

import libcst as cst
from libcst import matchers as m

from bessemer.conversion.syntax import literal_text

_GUARD = m.If(
    test=m.Comparison(
        left=m.Name("__name__"),
        comparisons=[m.ComparisonTarget(operator=m.Equal(), comparator=m.SimpleString())],
    )
)


def is_guard(statement: cst.CSTNode) -> TypeGuard[cst.If]:
    """Tell whether a statement is the main guard."""
    if not m.matches(statement, _GUARD):
        return False
    test = cst.ensure_type(cst.ensure_type(statement, cst.If).test, cst.Comparison)
    return literal_text(test.comparisons[0].comparator) == "__main__"
