"""Copies of models: each has a state of its own from the moment that it is made (`copy.deepcopy(model)`)."""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.program import Program
from bessemer.conversion.syntax import assigned

COPIES = frozenset({"copy.deepcopy", "copy.copy"})


def is_copy(program: Program, node: cst.CSTNode) -> bool:
    """Tell whether an expression makes a copy of something."""
    return isinstance(node, cst.Call) and program.imported(node.func) in COPIES


def copied_in(program: Program, function: cst.FunctionDef, loop: cst.BaseStatement, name: str) -> bool:
    """Tell whether a loop gives a variable of a function a copy: the best model so far."""
    for use in program.occurrences(name, function):
        if program.is_store(use) and loop in program.ancestors(use):
            pair = assigned(program.statement(use))
            if pair is not None and is_copy(program, pair[1]):
                return True
    return False
