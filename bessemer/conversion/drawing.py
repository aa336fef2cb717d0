"""Roles without a loader: what draws batches by random indices, and what judges a model without gradients.

A function draws a batch if it draws random integers or a random order and takes items of something by
what was drawn; a function judges if it runs a model without gradients and never steps.
"""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.kinds import Kind
from bessemer.conversion.syntax import Definition, assigned, walk

_RANDOM_INDICES = frozenset(
    {
        *("torch.randint", "torch.randperm", "torch.multinomial"),
        *("numpy.random.randint", "numpy.random.choice", "numpy.random.permutation"),
        *("random.randint", "random.randrange", "random.sample", "random.choices"),
    }
)
_NO_GRADIENTS = frozenset({"torch.no_grad", "torch.inference_mode"})


def draws_batch(analysis: Analysis, definition: Definition) -> bool:
    """Tell whether a function takes items of its data by random indices, and returns them."""
    if not isinstance(definition, cst.FunctionDef) or _runs_model(analysis, definition):
        return False
    program = analysis.script.program
    if not any(x.value is not None for x in walk(definition, cst.Return)):
        return False
    drawn = {call for call in walk(definition, cst.Call) if program.imported(call.func) in _RANDOM_INDICES}
    names = {
        target.value
        for call in drawn
        if (pair := assigned(program.statement(call))) is not None
        for target in pair[0]
        if isinstance(target, cst.Name)
    }
    for node in walk(definition, cst.CompFor, cst.For):
        if any(_holds(node.iter, drawn, names)):
            names |= {x.value for x in walk(node.target, cst.Name)}
    return any(
        any(_holds(part, drawn, names)) for node in walk(definition, cst.Subscript) for part in node.slice
    )


def judges_without_gradients(analysis: Analysis, definition: Definition) -> bool:
    """Tell whether a function runs a model without gradients, and no optimizer steps in it."""
    program = analysis.script.program
    if not isinstance(definition, cst.FunctionDef) or definition.name.value in analysis.training.stepping:
        return False
    decorators = [x.decorator for x in definition.decorators]
    managers = [x.item for x in walk(definition, cst.WithItem)]
    without = any(
        program.imported(x.func if isinstance(x, cst.Call) else x) in _NO_GRADIENTS
        for x in [*decorators, *managers]
    )
    return without and _runs_model(analysis, definition)


def _runs_model(analysis: Analysis, definition: cst.FunctionDef) -> bool:
    return any(analysis.kinds.is_a(call.func, Kind.MODULE) for call in walk(definition, cst.Call))


def _holds(node: cst.CSTNode, drawn: set[cst.Call], names: set[str]) -> list[bool]:
    calls = [call in drawn for call in walk(node, cst.Call)]
    return [*calls, *(name.value in names for name in walk(node, cst.Name))]
