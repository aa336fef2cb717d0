"""What a refusal is: the place, what was found, what would be accepted, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from bessemer.conversion.analysis import Analysis


@dataclass(frozen=True)
class Refusal:
    """One reason not to convert."""

    line: int
    where: str
    found: str
    expected: str
    todo: str


def refusal(analysis: Analysis, node: cst.CSTNode, found: str, expected: str, todo: str) -> Refusal:
    """Make a refusal for a place of the research code."""
    program = analysis.script.program
    return Refusal(program.line(node), program.where(node), found, expected, todo)
