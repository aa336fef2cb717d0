"""Which scripts and notebooks of a source are programs, and which files each of them consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from bessemer.conversion.survey.files import FileFacts


@dataclass(frozen=True)
class Program:
    """A script or notebook that does something when it is run, with all local files that it reaches."""

    path: str
    files: tuple[str, ...]
    num_lines: int
    may_train: bool
    is_notebook: bool


def find_programs(found: Mapping[str, FileFacts]) -> list[Program]:
    """Return the programs among files, those that may train first, then by path."""
    imported = {path: tuple(_local(found, facts)) for path, facts in found.items()}
    # A file without a guard that others import is a module, though importing it does something.
    modules = {y for path, others in imported.items() for y in others if y != path}
    programs = []
    for path, facts in found.items():
        if not (facts.guarded or (facts.runs and path not in modules)):
            continue
        files = _reached(path, imported)
        trains = any(found[x].trains for x in files)
        num_lines = sum(found[x].num_lines for x in files)
        programs.append(Program(path, files, num_lines, trains, facts.is_notebook))
    return sorted(programs, key=lambda x: (not x.may_train, x.path))


def groups(programs: list[Program]) -> list[list[Program]]:
    """Return programs in groups that share no file, so that each file is read in one group only."""
    found: list[tuple[set[str], list[Program]]] = []
    for program in programs:
        files, members = set(program.files), [program]
        apart = []
        for others, held in found:
            if files.isdisjoint(others):
                apart.append((others, held))
            else:
                files |= others
                members = [*held, *members]
        found = [*apart, (files, members)]
    return [members for _, members in found]


def _reached(start: str, imported: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    found, waiting = {start}, [start]
    while waiting:
        new = set(imported[waiting.pop()]) - found
        found |= new
        waiting += new
    return (start, *sorted(found - {start}))


def _local(found: Mapping[str, FileFacts], importer: FileFacts) -> Iterator[str]:
    """Yield the files that a file imports: from its own folder, or one above it, as Python may find them."""
    here = PurePosixPath(importer.path).parent
    for item in importer.imports:
        tail = item.name.replace(".", "/")
        folders: tuple[PurePosixPath, ...] = (here, *here.parents, PurePosixPath("src"))
        if item.num_dots:
            above = (here, *here.parents)
            folders = above[item.num_dots - 1 : item.num_dots]
        for folder in folders:
            paths = (f"{tail}.py", f"{tail}/__init__.py") if tail else ("__init__.py",)
            hit = next((x for y in paths if (x := (folder / y).as_posix()) in found), None)
            if hit is not None:
                if hit != importer.path:
                    yield hit
                break


def third_party(found: Mapping[str, FileFacts], files: tuple[str, ...]) -> tuple[str, ...]:
    """Return the top-level packages that files import and that are neither Python's own nor local."""
    import sys

    local = {PurePosixPath(x).parts[0].removesuffix(".py") for x in found}
    local |= {part for x in found for part in (*PurePosixPath(x).parts[:-1], PurePosixPath(x).stem)}
    names = {x.name.partition(".")[0] for y in files for x in found[y].imports if not x.num_dots}
    return tuple(sorted(names - sys.stdlib_module_names - local - {""}))
