"""The changes that conversion makes, one LibCST transformer a file, each with its own cases.

A module here is three things at once: the rewrite, its tests (`CASES`, run by
`tests/conversion/test_rewrites.py`), and its page of the manual (its docstring and the same cases).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.plan import Question, Rewrite, Unconverted
from bessemer.conversion.rewrites import (
    boards,
    carry,
    device,
    epochs,
    extraction,
    keeping,
    last,
    loader,
    logging,
    placement,
    run_parameter,
    saving,
    settings,
    totals,
    tracking,
)
from bessemer.conversion.rewrites.base import Rewriter, Together

MODULES = (
    settings,
    loader,
    epochs,
    device,
    placement,
    totals,
    carry,
    last,
    keeping,
    tracking,
    saving,
    boards,
    logging,
    run_parameter,
    extraction,
)
"""All rewrites; the order in which they stand around a statement is part of what they do."""


@dataclass(frozen=True, eq=False)
class Rewritten:
    """The program after all changes, still in one file, and what was changed and asked.

    `loaders` is the function that was made of the lines that build loaders; `kept_together` says
    why there is none.
    """

    module: cst.Module
    loaders: cst.FunctionDef | None
    kept_together: str
    rewrites: tuple[Rewrite, ...]
    questions: tuple[Question, ...]
    unconverted: tuple[Unconverted, ...]


def uses_of_run(analysis: Analysis) -> list[cst.CSTNode]:
    """Return every place of the research code where the changed code needs the run."""
    return [node for rewriter in _independent(analysis) for node in rewriter.run_uses()]


def _independent(analysis: Analysis) -> list[Rewriter]:
    """Return the rewrites that decide by the analysis alone, in the order in which they work."""
    return [
        settings.SettingsRewriter(analysis),
        loader.LoaderRewriter(analysis),
        epochs.EpochsRewriter(analysis),
        device.DeviceRewriter(analysis),
        placement.PlacementRewriter(analysis),
        totals.TotalsRewriter(analysis),
        carry.CarryRewriter(analysis),
        last.LastRewriter(analysis),
        keeping.KeepingRewriter(analysis),
        tracking.TrackingRewriter(analysis),
        saving.SavingRewriter(analysis),
        boards.BoardsRewriter(analysis),
        logging.LoggingRewriter(analysis),
    ]


def rewrite(analysis: Analysis, kinds: Collection[str] | None = None) -> Rewritten:
    """Change a program; with `kinds`, only by the rewrites of these names."""
    *rewriters, logged = _independent(analysis)
    extracted = extraction.ExtractionRewriter(analysis)
    handed = run_parameter.RunParameterRewriter(analysis, uses_of_run(analysis))
    rewriters += [handed, logged, extracted]
    chosen = [x for x in rewriters if kinds is None or x.kind in kinds]
    program = analysis.script.program
    module = cst.ensure_type(program.module.visit(Together([_Dropper(analysis), *chosen])), cst.Module)
    return Rewritten(
        module,
        extracted.function,
        extracted.reason,
        tuple(x for rewriter in chosen for x in rewriter.rewrites),
        tuple(x for rewriter in chosen for x in rewriter.questions),
        tuple(x for rewriter in chosen for x in rewriter.unconverted),
    )


class _Dropper(Rewriter):
    """Leaves out what has no place in a project: the main guard and the function that parsed."""

    kind = "dropping"
    TITLE = ""

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef | cst.RemovalSentinel:
        """Drop a function that is no part of the program that is emitted."""
        outer = self.program.definition(original_node) is original_node
        if outer and original_node not in self.analysis.script.definitions:
            return cst.RemoveFromParent()
        return updated_node
