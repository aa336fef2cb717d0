"""Which expressions may be removed, or evaluated a second time, without anybody noticing."""

from __future__ import annotations

import libcst as cst

from bessemer.conversion.program import Program
from bessemer.conversion.syntax import expressions

_QUERIES = frozenset(
    {
        "torch.device",
        "torch.cuda.is_available",
        "torch.cuda.device_count",
        "torch.backends.mps.is_available",
        "torch.backends.mps.is_built",
        "torch.backends.cuda.is_built",
        "torch.accelerator.is_available",
        "torch.accelerator.current_accelerator",
        "torch.xpu.is_available",
        "builtins.len",
        "builtins.hasattr",
        "builtins.getattr",
        "builtins.str",
        "builtins.int",
        "builtins.bool",
        "builtins.float",
    }
)
_READING_METHODS = frozenset({"item", "detach", "cpu", "mean", "sum", "float", "numpy", "tolist"})
_READING_FUNCTIONS = frozenset(
    {"builtins.sum", "builtins.round", "builtins.max", "builtins.min", "builtins.abs", "math.exp"}
)
_READING_PACKAGES = ("numpy.", "math.", "statistics.")


def is_free_of_effects(program: Program, node: cst.CSTNode) -> bool:
    """Tell whether evaluating an expression only asks questions."""
    return _only(program, node, _QUERIES, frozenset(), ())


def is_repeatable(program: Program, node: cst.CSTNode) -> bool:
    """Tell whether a printed value can be computed once more: arithmetic on what is there already."""
    functions = _QUERIES | _READING_FUNCTIONS
    return _only(program, node, functions, _READING_METHODS, _READING_PACKAGES)


def _only(
    program: Program,
    node: cst.CSTNode,
    functions: frozenset[str],
    methods: frozenset[str],
    packages: tuple[str, ...],
) -> bool:
    for part in expressions(node):
        if isinstance(part, cst.Yield | cst.Await | cst.NamedExpr):
            return False
        if not isinstance(part, cst.Call):
            continue
        name = program.imported(part.func)
        known = name in functions or (name is not None and name.startswith(packages or ("\0",)))
        if name is not None and name.startswith("numpy.random."):
            return False
        is_method = name is None and isinstance(part.func, cst.Attribute) and part.func.attr.value in methods
        if not known and not is_method:
            return False
    return True
