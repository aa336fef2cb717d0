"""Conversion: research code in, a production package out. Nothing here runs the research code.

`analyze` reads a program and refuses what cannot be converted; `plan_of` says what would be done;
`convert` does it. Reading, planning and writing are separate, so a plan can be shown before anything is
written, and a refusal leaves nothing behind.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from bessemer.conversion import emission, refusals, sources
from bessemer.conversion.analysis import Analysis, analyze_program
from bessemer.conversion.modernise.findings import findings
from bessemer.conversion.normal.entries import pick_entry, reached
from bessemer.conversion.notebooks.runs import described
from bessemer.conversion.plan import Move, Plan, Question, Rewrite, Unconverted
from bessemer.conversion.planning import prepare
from bessemer.conversion.project import Names, compose_project, manifest, package_name
from bessemer.conversion.rewrites import uses_of_run
from bessemer.conversion.rooms import tidy

__all__ = [
    "Analysis",
    "Conversion",
    "Move",
    "Plan",
    "Question",
    "Rewrite",
    "Unconverted",
    "analyze",
    "chosen_run",
    "convert",
    "is_current",
    "plan",
    "source_fingerprint",
    "training_runs",
]


@dataclass(frozen=True)
class Conversion:
    """A project that was written: what it is called, where it is, what was done."""

    name: str
    package: str
    out: Path
    plan: Plan
    files: tuple[str, ...]


def analyze(source: Path, entry: str = "", *, run: int | None = None) -> Analysis:
    """Read a script, a notebook, or a folder with one, and find out all that conversion needs to know.

    Args:
        source: a script, a notebook, or a folder that holds one.
        entry: which script of the folder is run, if there are several.
        run: which training run of a notebook is converted, from 1; None for the whole notebook.

    Raises:
        SourceError: the source cannot be read.
        ConversionError: it was understood, and cannot be converted; the message says why and where.
    """
    read = sources.read(source, run)
    script = pick_entry(read, entry)
    modern = findings((x.modern, x.where) for x in reached(read, script))
    analysis = replace(analyze_program(read, script), notes=script.notes, modern=modern)
    refusals.check(analysis, uses_of_run(analysis))
    return analysis


def plan(analysis: Analysis) -> Plan:
    """Say what conversion would do to a program; nothing is written."""
    return prepare(analysis).plan


def training_runs(source: Path) -> tuple[str, ...]:
    """Return the training runs of a notebook, one line each; of anything else there are none.

    Raises:
        SourceError: the source cannot be read.
    """
    notes = [x.notes for x in sources.read(source).files if x.notes is not None]
    return tuple(described(run, x.path) for x in notes for run in x.runs)


def convert(
    source: Path, out: Path, *, name: str | None = None, entry: str = "", run: int | None = None
) -> Conversion:
    """Convert research code into a project.

    Args:
        source: a script, a notebook, or a folder that holds one.
        out: the project's folder; it is written whole or not at all.
        name: the project's name; that of `out` if it is not given.
        entry: which script of the folder is run; by default the one that `out` was written from, else
            the only one that trains.
        run: which training run of a notebook is converted, from 1; None for the whole notebook.

    Raises:
        SourceError: the source cannot be read.
        ConversionError: the program cannot be converted, or `out` is not conversion's to write.
    """
    analysis = analyze(source, entry or _chosen_before(source, out), run=run)
    prepared = prepare(analysis)
    names = _names(source, out, name, run)
    emission.check_target(out)
    files = compose_project(analysis, prepared.rewritten, prepared.rooms, prepared.plan, names)

    def finish(staged: Path) -> None:
        tidy(staged)
        text = manifest(analysis, prepared.plan, names, emission.digests(staged))
        (staged / emission.MANIFEST).write_text(text, encoding="utf-8")

    written = emission.write(out, files, finish)
    return Conversion(
        names.name, names.package, out, prepared.plan, tuple(sorted({*written, emission.MANIFEST}))
    )


def source_fingerprint(source: Path) -> str:
    """Return the SHA-256 of what a project would be converted from: a folder, or a script and its modules.

    Raises:
        SourceError: a script, or a module that it imports, cannot be read.
    """
    if source.is_dir() or source.suffix != ".py":
        return sources.fingerprint(source)
    read = sources.read(source)
    return sources.fingerprint_of([x.path for x in reached(read, read.files[0])], read.root)


def is_current(source: Path, out: Path) -> bool:
    """Tell whether a project was written from the source as it is now."""
    table = emission.project_table(out)
    if table is None or not source.exists():
        return False
    return table.get("source_sha256") == source_fingerprint(source)


def chosen_run(out: Path) -> int | None:
    """Return the training run of a notebook that a project was written for, if one was chosen."""
    run = (emission.project_table(out) or {}).get("source_run")
    return run if isinstance(run, int) else None


def _chosen_before(source: Path, out: Path) -> str:
    """Return the script that a project was written from, if the source still has it."""
    table = emission.project_table(out) or {}
    script = str(table.get("script", ""))
    return script if source.is_dir() and (source / script).is_file() else ""


def _names(source: Path, out: Path, name: str | None, run: int | None) -> Names:
    chosen = name or out.resolve().name
    shown = os.path.relpath(source.resolve(), out.resolve()).replace(os.sep, "/")
    return Names(chosen, package_name(chosen), shown, source_fingerprint(source), run)
