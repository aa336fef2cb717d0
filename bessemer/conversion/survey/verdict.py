"""Whether conversion would take a program, and whether workers could share its training.

The verdict is that of the converter itself: the program is brought into normal form and analyzed as for
`convert`, and what `refusals` says is kept instead of raised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bessemer.conversion import refusals, sources
from bessemer.conversion.analysis import Analysis, analyze_program
from bessemer.conversion.notebooks.runs import described
from bessemer.conversion.rewrites import uses_of_run
from bessemer.conversion.sources import Sources
from bessemer.conversion.survey.report import DataParallel, Refused
from bessemer.errors import BessemerError


@dataclass(frozen=True)
class Verdict:
    """What conversion says of one program."""

    refused: Refused | None
    data_parallel: DataParallel | None = None


def judge(read: Sources) -> Verdict:
    """Ask conversion about a program, whose files are read; its entry is the first of them."""
    analysis: Analysis | None = None
    try:
        entry = read.files[0]
        analysis = replace(analyze_program(read, entry), notes=entry.notes)
        refusals.check(analysis, uses_of_run(analysis))
    except BessemerError as error:
        return Verdict(Refused(error.found, error.expected, error.todo), _parallel(analysis))
    except Exception as error:  # a fault of the converter must not hide the rest of the survey
        lines = str(error).splitlines() or [""]
        found = f"the converter fails on this program: {type(error).__name__}: {lines[0]}"
        return Verdict(Refused(found, todo="report it, with the program"), _parallel(analysis))
    return Verdict(None, _parallel(analysis))


def runs_of(read: Sources) -> tuple[str, ...]:
    """Return the training runs of a notebook, one line each."""
    notes = [x.notes for x in read.files if x.notes is not None]
    return tuple(described(run, x.path) for x in notes for run in x.runs)


def read_notebook(path: Path, root: Path) -> Sources:
    """Return a notebook as a program, with the modules that it writes.

    Raises:
        SourceError: it cannot be read.
    """
    return Sources(root, tuple(sources.parse_notebook(path, root, None)), "")


def _parallel(analysis: Analysis | None) -> DataParallel | None:
    if analysis is None or not analysis.training.steps:
        return None
    if not analysis.training.is_data_parallel:
        return DataParallel(
            False, "training iterates no loader, so there is nothing that workers could share"
        )
    if analysis.state.alone:
        return DataParallel(False, analysis.state.alone)
    return DataParallel(True, "training draws its batches from a loader, so workers can share them")
