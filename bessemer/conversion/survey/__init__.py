"""What research code is, said without running or converting it.

`survey` reads every file quickly (`files`), finds the programs among them (`programs`), and reads those
that may train in depth: roles (`roles`), loops, options and chance (`facts`), and what conversion would
say (`verdict`). It takes whatever it is given: what cannot be read or converted is in the result, with the
reason.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from bessemer.conversion import sources
from bessemer.conversion.codebase import join
from bessemer.conversion.sources import Source, Sources
from bessemer.conversion.survey.facts import loops_in, options_in, random_in
from bessemer.conversion.survey.files import FileFacts, not_read, read_tree
from bessemer.conversion.survey.programs import Program, find_programs, groups, third_party
from bessemer.conversion.survey.report import DataParallel, Files, ProgramFound, Refused, Skipped, Survey
from bessemer.conversion.survey.roles import Roles
from bessemer.conversion.survey.verdict import judge, read_notebook, runs_of
from bessemer.conversion.writing.dependencies import imported_packages
from bessemer.errors import SourceError

__all__ = ["Survey", "survey"]

MAX_JUDGED_LINES = 6_000
"""How many lines of programs, counted with all that each reaches, conversion is asked about in one survey."""

_ALONE_LINES = 4_000
"""Up to so many lines one process is as fast as several."""


@dataclass(frozen=True)
class _Work:
    """Programs that share files, read in one process; conversion is asked about those in `judged`."""

    root: Path
    programs: tuple[Program, ...]
    judged: frozenset[str]


def survey(source: Path, num_workers: int | None = None) -> Survey:
    """Say what a script, a notebook or a folder is; nothing is run or written.

    Args:
        source: the path.
        num_workers: processes to read with; by default one for each core, if there is enough to read.

    Raises:
        SourceError: there is no such file or folder.
    """
    root, found, skipped = read_tree(source)
    programs = find_programs(found)
    may_train = [x for x in programs if x.may_train]
    judged: set[str] = set()
    left = MAX_JUDGED_LINES
    for program in may_train:
        left -= program.num_lines
        if left < 0 and judged:
            break
        judged.add(program.path)
    work = [_Work(root, tuple(x), frozenset(judged)) for x in groups(may_train)]
    deep: dict[str, ProgramFound | Skipped] = {x.path: x for y in _all(work, num_workers) for x in y}
    unreadable = tuple(x for x in deep.values() if isinstance(x, Skipped))
    told = [_told(x, known, found) for x in programs if not isinstance(known := deep.get(x.path), Skipped)]
    if not any(x.trains for x in told):
        told = [x if x.refused is not None else replace(x, convertible=False, refused=_idle(x)) for x in told]
    kind = "folder" if source.is_dir() else "notebook" if source.suffix == ".ipynb" else "script"
    read = {x: y for x, y in found.items() if x not in {z.path for z in unreadable}}
    num_lines = sum(x.num_lines for x in read.values())
    return Survey(
        str(source),
        kind,
        Files(len(read), num_lines, (*skipped, *unreadable)),
        tuple(sorted(told, key=lambda x: not x.trains)),
    )


def _idle(program: ProgramFound) -> Refused:
    return Refused(
        f"{program.path}: no training here: nothing calls backward() and no optimizer of torch.optim steps",
        "a program that trains a model",
        "give the script that trains",
    )


def _told(program: Program, deep: ProgramFound | None, found: Mapping[str, FileFacts]) -> ProgramFound:
    imports = third_party(found, program.files)
    if deep is None:
        return ProgramFound(program.path, False, program.files, program.num_lines, imports=imports)
    return replace(deep, imports=deep.imports or imports)


def _all(work: Sequence[_Work], num_workers: int | None) -> list[list[ProgramFound | Skipped]]:
    num_lines = sum(_num_lines(x) for x in work)
    wanted = num_workers or (min(os.cpu_count() or 1, 8) if num_lines > _ALONE_LINES else 1)
    if wanted == 1:
        return [_read(x) for x in work]
    # The largest first, and none so large that the others wait for it.
    parts = [y for x in work for y in _split(x, wanted, num_lines // wanted)]
    parts.sort(key=_num_lines, reverse=True)
    with ProcessPoolExecutor(wanted, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_read, parts))


def _num_lines(work: _Work) -> int:
    """Return about how much there is to read: files once, what conversion is asked about again for each."""
    asked = sum(x.num_lines for x in work.programs if x.path in work.judged)
    return max(x.num_lines for x in work.programs) + 4 * asked


def _split(work: _Work, num_parts: int, too_large: int) -> list[_Work]:
    if len(work.programs) < num_parts or _num_lines(work) <= too_large:
        return [work]
    return [replace(work, programs=work.programs[i::num_parts]) for i in range(num_parts)]


def _read(work: _Work) -> list[ProgramFound | Skipped]:
    """Read programs that share files, in depth."""
    if any(x.is_notebook for x in work.programs):
        return [y for x in work.programs for y in _read_alone(work, x)]
    parsed = {
        path: sources.parse(work.root / path, work.root)
        for path in dict.fromkeys(x for y in work.programs for x in y.files)
    }
    try:
        roles = Roles(join(parsed.values(), is_fresh=True))
    except RecursionError:
        return [_too_deep(x) for x in work.programs]
    return [_found(x, roles, [parsed[y] for y in x.files], work) for x in work.programs]


def _read_alone(work: _Work, program: Program) -> list[ProgramFound | Skipped]:
    try:
        read = read_notebook(work.root / program.path, work.root)
    except SourceError as error:
        return [not_read(work.root / program.path, program.path, error)]
    try:
        roles = Roles(join(read.files, is_fresh=True))
    except RecursionError:
        return [_too_deep(program)]
    whole = replace(program, files=tuple(x.path for x in read.files))
    result = _found(whole, roles, list(read.files), work)
    imports = imported_packages(x.module for x in read.files)
    return [replace(result, imports=imports, runs=runs_of(read))]


def _too_deep(program: Program) -> ProgramFound:
    refused = Refused(f"{program.path}: expressions are nested too deeply to be read", todo="simplify them")
    return ProgramFound(
        program.path, True, program.files, program.num_lines, convertible=False, refused=refused
    )


def _found(program: Program, roles: Roles, files: Sequence[Source], work: _Work) -> ProgramFound:
    names = frozenset(program.files)
    trains = roles.starts_training(program.path)
    loops = loops_in(roles, names)
    parallel = DataParallel()
    if trains:
        shares = any(x.kind == "batches" for x in loops)
        parallel = DataParallel(
            shares,
            "training draws its batches from a loader"
            if shares
            else "training iterates no loader, so there is nothing that workers could share",
        )
    result = ProgramFound(
        program.path,
        trains,
        program.files,
        program.num_lines,
        tuple(x for x in roles.named if x.file in names),
        loops,
        options_in(roles, names),
        random_in(roles, names),
        parallel,
    )
    if program.path not in work.judged:
        return result
    verdict = judge(Sources(work.root, tuple(files), ""))
    return replace(
        result,
        convertible=verdict.refused is None,
        refused=verdict.refused,
        data_parallel=verdict.data_parallel or parallel,
    )
