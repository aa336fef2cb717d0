"""Refused loops: those whose place in the data could not be found again after a restart."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.inference import Kind
from bessemer.conversion.refusals.base import Refusal, refusal
from bessemer.conversion.syntax import walk

_PLAIN_USES = (cst.Arg, cst.Assign, cst.Return, cst.Element, cst.Attribute, cst.AssignTarget, cst.For)


def _loops(analysis: Analysis) -> Iterator[Refusal]:
    program, training = analysis.script.program, analysis.training
    outer = training.outer
    if isinstance(outer, cst.While) and program.code(outer.test) not in ("True", "1"):
        yield refusal(
            analysis,
            outer,
            f"the training loop is `while {program.code(outer.test)}`",
            "for ... in range(...), or while True",
            "write it as a for loop with a break",
        )
    if isinstance(outer, cst.For) and isinstance(outer.iter, cst.Name | cst.Call):
        source = outer.iter
        if isinstance(source, cst.Name) and analysis.kinds.is_a(source, Kind.BAR):
            yield refusal(
                analysis,
                outer,
                f"the training loop runs over a progress bar in a variable, {source.value}",
                "for ... in range(...)",
                "run over the range itself; Bessemer shows progress",
            )
    for loop in training.loader_loops:
        around = training.around(program, loop.node)
        if around is not None:
            yield refusal(
                analysis,
                loop.node,
                f"a loop over a loader inside the one at {program.where(around.node)}",
                "loops over loaders one after the other",
                "move the inner loop behind the outer one, or into an epoch loop of its own",
            )
        if isinstance(loop.loader, cst.Call):
            yield refusal(
                analysis,
                loop.node,
                "the loader is made where it is iterated, anew for each iteration",
                "a loader in a variable",
                "make the loader once, before the loop",
            )


_PLAIN_USES = (cst.Arg, cst.Assign, cst.Return, cst.Element, cst.Attribute, cst.AssignTarget, cst.For)


def _loader_uses(analysis: Analysis) -> Iterator[Refusal]:
    """A loader may be made, named, handed on, measured and iterated by `for`; nothing else."""
    program, kinds = analysis.script.program, analysis.kinds
    for node in walk(program.module, cst.Name, cst.Call):
        if not kinds.is_a(node, Kind.LOADER):
            continue
        if isinstance(node, cst.Name) and not program.is_load(node):
            continue
        trouble = _trouble(analysis, node)
        if trouble is not None:
            yield refusal(
                analysis,
                node,
                trouble,
                "a loader in a variable, iterated by a for statement",
                "iterate it by `for batch in loader`; keep each loader in a variable of its own",
            )


def _trouble(analysis: Analysis, node: cst.Name | cst.Call) -> str | None:
    program = analysis.script.program
    parent = program.parent(node)
    shown = program.code(node) if isinstance(node, cst.Name) else "a loader"
    if isinstance(parent, cst.Arg):
        call = program.parent(parent)
        if not isinstance(call, cst.Call):
            return f"{shown} is used in an unusual way"
        name = program.imported(call.func)
        if name in ("builtins.iter", "builtins.next"):
            return f"{program.code(call)}: {shown} is iterated by hand"
        if name in ("builtins.len", "builtins.print", "builtins.isinstance"):
            return None
        if name == "builtins.enumerate" or analysis.kinds.is_a(call, Kind.BAR):
            return None if _is_iterated(analysis, call) else f"{program.code(call)} is no for statement"
        if program.defined(call.func) is not None:
            owner = analysis.kinds.definitions.get(program.defined(call.func) or "")
            return f"{shown} is handed to a class" if isinstance(owner, cst.ClassDef) else None
        return f"{shown} is handed to {program.code(call.func)}"
    if isinstance(parent, cst.Attribute):
        return None
    if isinstance(parent, cst.Element):
        outer = program.parent(program.parent(parent))
        return None if isinstance(outer, cst.Return | cst.Assign) else f"{shown} is kept in a collection"
    if isinstance(parent, cst.CompFor):
        return f"{shown} is iterated in a comprehension"
    return None if isinstance(parent, _PLAIN_USES) else f"{shown} is used in an unusual way"


def _is_iterated(analysis: Analysis, call: cst.Call) -> bool:
    program = analysis.script.program
    node: cst.CSTNode = program.parent(call)
    while isinstance(node, cst.Arg):
        call = cst.ensure_type(program.parent(node), cst.Call)
        node = program.parent(call)
    return isinstance(node, cst.For) and analysis.training.of(node) is not None


def _streams(analysis: Analysis) -> Iterator[Refusal]:
    """A data set that is only iterated has no order that could be planned."""
    kinds = analysis.kinds
    base = "torch.utils.data.IterableDataset"
    for definition in analysis.script.definitions:
        if isinstance(definition, cst.ClassDef) and base in kinds.bases(definition):
            yield refusal(
                analysis,
                definition,
                f"{definition.name.value} is an IterableDataset, whose samples cannot be asked for by "
                "their index",
                "a data set with __len__ and __getitem__",
                "write it as a map-style Dataset",
            )


RULES = (
    _streams,
    _loops,
    _loader_uses,
)
