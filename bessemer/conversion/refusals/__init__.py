"""What the converter refuses: programs it would otherwise change into something wrong.

Each rule looks at one kind of trouble and yields what it finds, as values. The first one becomes the
error, in the order of the file; the next ones are named with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from bessemer.conversion.analysis import Analysis
from bessemer.conversion.refusals import holding, iteration, programs
from bessemer.errors import ConversionError

_RULES = (*programs.RULES, *iteration.RULES, *holding.RULES)


def check(analysis: Analysis, uses: Sequence[cst.CSTNode]) -> None:
    """Raise the first reason not to convert a program, naming how many more there are.

    Args:
        analysis: the program.
        uses: the places where the converted code would need the run.
    """
    found = [x for rule in _RULES for x in rule(analysis)]
    found += list(holding.unreachable(analysis, uses))
    found.sort(key=lambda refusal: refusal.line)
    if found:
        first = found[0]
        others = "".join(f"\nalso {x.where}: {x.found}" for x in found[1:6])
        raise ConversionError(f"{first.where}: {first.found}{others}", first.expected, first.todo)
