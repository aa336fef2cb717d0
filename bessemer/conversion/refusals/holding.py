"""Refused variables: models and optimizers that cannot be held, functions that cannot get the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.kinds import STATEFUL, Kind
from bessemer.conversion.refusals.base import Refusal, refusal
from bessemer.conversion.rewrites.tracking import stateful
from bessemer.conversion.syntax import walk


def _untracked(analysis: Analysis) -> Iterator[Refusal]:
    """Every optimizer, scheduler and scaler must be one that is tracked."""
    program, kinds = analysis.script.program, analysis.kinds
    held = stateful(analysis)
    if not held:
        return
    known = frozenset().union(*(x.reached.value.origins for found in held.values() for x in found))
    places = " and ".join(dict.fromkeys(top.where.name.value for top in held))
    for call in walk(program.module, cst.Call):
        value = kinds.of(call)
        if value is None or call not in value.origins or call in known:
            continue
        if value.kind in STATEFUL - {Kind.MODULE} and program.function(call) is not None:
            yield refusal(
                analysis,
                call,
                f"this {value.kind.value} is not in a variable of {places}, where training begins",
                "optimizers and schedulers that are made before the training loop, in its function "
                "or handed to it",
                "make it before the loop, and keep it in a variable of its own",
            )


def unreachable(analysis: Analysis, uses: Sequence[cst.CSTNode]) -> Iterator[Refusal]:
    """What needs the run must be in a function or a method, which can get it or ask for it."""
    program = analysis.script.program
    for node in uses:
        owner = program.definition(node)
        if isinstance(owner, cst.ClassDef) and program.function(node) is None:
            yield refusal(
                analysis,
                node,
                f"this is made in the body of the class {owner.name.value}, before there is a run",
                "loaders, devices and options that are used in functions",
                "make it in __init__",
            )


RULES = (_untracked,)
