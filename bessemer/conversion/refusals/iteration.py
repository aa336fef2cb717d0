"""Refused loops: those whose place in the data could not be found again after a restart."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.kinds import Kind
from bessemer.conversion.refusals.base import Refusal, refusal


def _loops(analysis: Analysis) -> Iterator[Refusal]:
    program, training = analysis.script.program, analysis.training
    for outer in training.outers:
        if isinstance(outer, cst.While) and outer.orelse is not None:
            yield refusal(
                analysis,
                outer,
                "the training loop is a `while` with an `else`",
                "a loop that ends by its condition or by `break`",
                "put what is in the `else` behind the loop",
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
        if around is not None and loop.trains:
            yield refusal(
                analysis,
                loop.node,
                f"a training loop over a loader inside the one at {program.where(around.node)}",
                "training loops over loaders one after the other",
                "move the inner loop behind the outer one, or into an epoch loop of its own",
            )


RULES = (_loops,)
