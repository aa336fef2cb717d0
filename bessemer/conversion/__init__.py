"""Conversion: research code in, a production package out. Nothing here runs the research code.

`analyze` reads a program and refuses what cannot be converted; `plan_of` says what would be done to it,
`foresee` also what to which file of a project; `convert` does it. Reading, planning and writing are
separate, so a plan can be shown before anything is written, and a refusal leaves nothing behind.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bessemer.conversion import refusals, sources
from bessemer.conversion.analysis import Analysis, analyze_program
from bessemer.conversion.downloads import find_fetches
from bessemer.conversion.modernise.findings import findings
from bessemer.conversion.normal.entries import left_out, pick_entry, reached
from bessemer.conversion.notebooks.cells import place
from bessemer.conversion.notebooks.runs import described
from bessemer.conversion.plan import Move, Plan, Question, Rewrite, Unconverted
from bessemer.conversion.planning import prepare
from bessemer.conversion.rewrites import uses_of_run
from bessemer.conversion.rewrites.run_parameter import needing
from bessemer.conversion.roles import PREPROCESSING, Room
from bessemer.conversion.wishes import file_of, read_wishes
from bessemer.conversion.writing import emission, placing
from bessemer.conversion.writing.hints import Hint, hints_beside, hints_of
from bessemer.conversion.writing.merging import Change, Merge
from bessemer.conversion.writing.project import Names, compose_project, manifest, package_name
from bessemer.deployment.wheel import wheel_bytes, wheel_name
from bessemer.errors import ConversionError

__all__ = [
    "Analysis",
    "Change",
    "Conversion",
    "Move",
    "Plan",
    "Question",
    "Rewrite",
    "Unconverted",
    "analyze",
    "chosen_run",
    "convert",
    "foresee",
    "is_current",
    "plan",
    "source_fingerprint",
    "training_runs",
]


@dataclass(frozen=True)
class Conversion:
    """A project that was written, or would be: what it is called, where it is, what was done.

    Attributes:
        files: the project's files that conversion knows of, after merging.
        changes: what became of each of them, and of those that are gone, since the last conversion.
    """

    name: str
    package: str
    out: Path
    plan: Plan
    files: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def conflicts(self) -> tuple[Change, ...]:
        """The files in which what the user changed and what conversion changed exclude each other."""
        return Merge({}, self.changes).conflicts


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
    left = left_out(read, script) if source.is_dir() else ()
    modern = findings((x.modern, x.where) for x in reached(read, script))
    analysis = replace(analyze_program(read, script), notes=script.notes, left=left, modern=modern)
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
    source: Path,
    out: Path,
    *,
    name: str | None = None,
    entry: str = "",
    run: int | None = None,
    allow_conflicts: bool = True,
) -> Conversion:
    """Convert research code into a project, or into one that is there, with what was changed in it by hand.

    Args:
        source: a script, a notebook, or a folder that holds one.
        out: the project's folder; it is written whole or not at all.
        name: the project's name; by default the one that it has, or that of `out`.
        entry: which script of the folder is run; by default the one that `out` was written from, else
            the only one that trains.
        run: which training run of a notebook is converted, from 1; None for the whole notebook.
        allow_conflicts: whether a project is written in which conflicts are marked.

    Raises:
        SourceError: the source cannot be read.
        ConversionError: the program cannot be converted, `out` is not conversion's to write, or there
            are conflicts that are not allowed.
    """
    placing.settle(out)
    made = _make(source, out, name, entry, run)
    conflicts = made.conversion.conflicts
    if conflicts and not allow_conflicts:
        places = emission.listed(emission.conflict_places(conflicts))
        raise ConversionError(
            f"{source} has changed where {out} was changed by hand: {places}",
            "changes that do not exclude each other; nothing was written",
            f"bessemer convert {source} --out {out}, and settle the conflicts that it marks",
        )
    emission.write(out, made.files, made.converted)
    return made.conversion


def foresee(
    source: Path, out: Path, *, name: str | None = None, entry: str = "", run: int | None = None
) -> Conversion:
    """Say what `convert` would do, also to the files of a project that is there; nothing is written.

    Raises:
        SourceError: the source cannot be read.
        ConversionError: the program cannot be converted, or `out` is not conversion's to write.
    """
    return _make(source, out, name, entry, run).conversion


@dataclass(frozen=True)
class _Made:
    conversion: Conversion
    files: Mapping[str, bytes]
    converted: Mapping[str, bytes]


def _make(source: Path, out: Path, name: str | None, entry: str, run: int | None) -> _Made:
    """Convert, and merge with what is there, in memory."""
    with _without_collection():
        return _converted(source, out, name, entry, run)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Collect no garbage for a while: to look at the nodes of trees, which live on, takes long."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _converted(source: Path, out: Path, name: str | None, entry: str, run: int | None) -> _Made:
    analysis = analyze(source, entry or _chosen_before(source, out), run=run)
    prepared = prepare(analysis)
    emission.check_target(out)
    names = _names(source, out, name, run)
    fetches = find_fetches(analysis, _callable_stages(analysis, prepared.rooms))
    composed = compose_project(
        analysis,
        prepared.rewritten,
        prepared.rooms,
        prepared.plan,
        names,
        _hints(source, analysis),
        fetches,
        read_wishes(source),
    )
    converted = emission.formatted(composed)
    merge = emission.merged(out, converted)
    noted = manifest(analysis, prepared.plan, names, fetches, emission.digests(converted)).encode("utf-8")
    # Bessemer itself goes along, so that the project stands alone.
    wheel = {f"{emission.WHEELS}/{wheel_name()}": wheel_bytes()}
    files = {**merge.files, emission.MANIFEST: noted, **wheel}
    conversion = Conversion(
        names.name, names.package, out, prepared.plan, tuple(sorted(files)), merge.changes
    )
    return _Made(conversion, files, converted)


def source_fingerprint(source: Path) -> str:
    """Return the SHA-256 of what a project would be converted from: a folder, or a script and its modules.

    Raises:
        SourceError: a script, or a module that it imports, cannot be read.
    """
    if source.is_dir() or source.suffix != ".py":
        code = sources.fingerprint(source)
    else:
        read = sources.read(source)
        code = sources.fingerprint_of([x.path for x in reached(read, read.files[0])], read.root)
    wishes = file_of(source)
    if not wishes.is_file():
        return code
    return hashlib.sha256(code.encode() + wishes.read_bytes()).hexdigest()


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


def _callable_stages(analysis: Analysis, rooms: Mapping[str, Room]) -> frozenset[str]:
    """Return the functions that a stage in the room of preprocessing may call: there, and without the run."""
    needs = needing(analysis, uses_of_run(analysis))
    with_run = {x.name.value for x in needs.given | needs.asking}
    return frozenset(x for x, room in rooms.items() if room.path == PREPROCESSING) - with_run


def _hints(source: Path, analysis: Analysis) -> dict[str, Hint]:
    """Return the versions that the research code asks for; what a notebook installs counts first."""
    notes = analysis.notes
    asked = [(x.what, place(notes.path, x.cell, x.line)) for x in notes.requirements] if notes else []
    return {**hints_beside(source if source.is_dir() else source.parent), **hints_of(asked)}


def _names(source: Path, out: Path, name: str | None, run: int | None) -> Names:
    """Name a project: as it is called already, also when its folder was moved or it has been installed."""
    table, noted = emission.project_table(out) or {}, emission.record(out)
    chosen = name or str(table.get("name") or out.resolve().name)
    before = str(noted.get("package", "")) if name in (None, noted.get("name")) else ""
    package = before if before.isidentifier() else package_name(chosen)
    shown = os.path.relpath(source.resolve(), out.resolve()).replace(os.sep, "/")
    return Names(chosen, package, shown, source_fingerprint(source), run)
