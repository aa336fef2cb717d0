"""The `check` verb: what of a program a restart would lose, found by reading it. Nothing is run."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from bessemer.config.project import PROJECTS_FOLDER, SOURCES_FOLDER, known_names, read_project
from bessemer.conversion import checks, sources
from bessemer.conversion.checks.base import Finding, reading_of
from bessemer.errors import ProjectError, nearest


@dataclass(frozen=True)
class Checked:
    """What was found in a program, and how many of its loops a restart can go on inside of."""

    findings: tuple[Finding, ...]
    num_loops: int

    @property
    def loses(self) -> bool:
        """Whether a restart would lose something."""
        return any(x.loses for x in self.findings)


def check(path: Path) -> Checked:
    """Check a project's folder, any other folder, or one file.

    Raises:
        SourceError: the path cannot be read as Python source.
    """
    package = _package(path)
    read = sources.read(package)
    name = package.name if (package / "__init__.py").is_file() else ""
    shown = os.path.relpath(read.root)
    shown = "" if shown == "." else f"{str(read.root) if shown.startswith('..') else shown}/"
    reading = reading_of(read.files, name, shown)
    return Checked(tuple(checks.check(reading)), len(reading.loops.all))


def find_path(name: str, base: Path) -> Path:
    """Return what to check: a path, or the name of a project or of hand-written code.

    Raises:
        ProjectError: there is neither.
    """
    for path in (base / name, base / PROJECTS_FOLDER / name, base / SOURCES_FOLDER / name):
        if path.exists():
            return path
    raise ProjectError(
        f"there is no file, folder or project {name!r}",
        expected=nearest(name, known_names(base)) or "a project, a folder or a Python file",
        todo="give a path, or a name under projects/",
    )


def check_and_report(path: Path, json_output: bool, console: Console) -> bool:
    """Check a program and print what was found; return whether a restart would lose something."""
    checked = check(path)
    if json_output:
        findings = [asdict(x) for x in checked.findings]
        print(json.dumps({"loses": checked.loses, "num_loops": checked.num_loops, "findings": findings}))
        return checked.loses
    for finding in checked.findings:
        level = "loses" if finding.loses else "warning"
        text = f"{finding.where}: {level}: {finding.found}\n  to do: {finding.todo}\n"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    num_lost = sum(x.loses for x in checked.findings)
    num_warnings = len(checked.findings) - num_lost
    loops = f"{checked.num_loops} loop{'' if checked.num_loops == 1 else 's'} checked"
    warned = f", {num_warnings} warning{'' if num_warnings == 1 else 's'}" if num_warnings else ""
    lost = f"{num_lost} finding{'' if num_lost == 1 else 's'}" if num_lost else "nothing is lost"
    console.print(f"{lost}{warned}: {loops}", style="bold", highlight=False)
    return checked.loses


def _package(path: Path) -> Path:
    """Return the code of a project, without its jobs and tests; any other path as it is."""
    if not (path / "pyproject.toml").is_file():
        return path
    try:
        package = read_project(path.resolve()).package_dir
    except ProjectError:
        return path
    module = package.with_suffix(".py")
    return package if package.is_dir() else module if module.is_file() else path
