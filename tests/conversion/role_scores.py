"""Scores of the roles that the analysis finds, against labels that were written by reading."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bessemer.conversion.codebase import join
from bessemer.conversion.sources import Source, parse
from bessemer.conversion.survey.roles import Roles

PROGRAMS = Path(__file__).parent / "roles"


@dataclass(frozen=True)
class Outcome:
    """One name of one file with a role: labelled so, found so, or both."""

    program: str
    file: str
    name: str
    role: str
    labelled: bool
    found: bool

    def __str__(self) -> str:
        what = "missed" if self.labelled else "wrong"
        return f"{what}: {self.program}/{self.file}: {self.name} as {self.role}"


@dataclass(frozen=True)
class Score:
    """How many of the found are right, and how many of the labelled are found."""

    num_labelled: int
    num_found: int
    num_right: int

    @property
    def precision(self) -> float:
        """Fraction of what was found that is labelled so."""
        return self.num_right / self.num_found if self.num_found else 1.0

    @property
    def recall(self) -> float:
        """Fraction of what is labelled that was found."""
        return self.num_right / self.num_labelled if self.num_labelled else 1.0


def programs(held_out: bool | None = None) -> list[Path]:
    """Return the folders of the programs, all or only those that are (not) held out."""
    found = sorted(x.parent for x in PROGRAMS.glob("*/labels.toml"))
    return [x for x in found if held_out is None or labels(x)["held_out"] is held_out]


def labels(folder: Path) -> dict[str, object]:
    """Return what `labels.toml` says."""
    return tomllib.loads((folder / "labels.toml").read_text(encoding="utf-8"))


def outcomes(folders: Iterable[Path]) -> list[Outcome]:
    """Compare what is found in programs with their labels."""
    return [x for folder in folders for x in _compared(folder)]


def score(found: Iterable[Outcome]) -> Score:
    """Count outcomes."""
    counts = Counter((x.labelled, x.found) for x in found)
    right = counts[True, True]
    return Score(right + counts[True, False], right + counts[False, True], right)


def by_role(found: Iterable[Outcome]) -> dict[str, Score]:
    """Count outcomes, role by role."""
    groups: dict[str, list[Outcome]] = {}
    for x in found:
        groups.setdefault(x.role, []).append(x)
    return {role: score(groups[role]) for role in sorted(groups)}


def table(found: Iterable[Outcome]) -> str:
    """Return the scores as a table, and under it every name that was missed or is wrong."""
    every = list(found)
    rows = [*by_role(every).items(), ("all", score(every))]
    lines = [f"{'role':<16}{'labelled':>9}{'found':>7}{'precision':>11}{'recall':>8}"]
    lines += [
        f"{role:<16}{x.num_labelled:>9}{x.num_found:>7}{x.precision:>11.3f}{x.recall:>8.3f}"
        for role, x in rows
    ]
    return "\n".join([*lines, *(str(x) for x in every if x.labelled != x.found)])


def _compared(folder: Path) -> Iterator[Outcome]:
    wanted: set[tuple[str, str, str]] = set()
    for file, names in labels(folder).items():
        if isinstance(names, dict):
            for name, roles in names.items():
                for role in [roles] if isinstance(roles, str) else roles:
                    wanted |= {(file, name, role)} if role != "none" else set()
    found = {(x.file, x.name, x.role) for x in Roles(join(_sources(folder))).named}
    for key in sorted(wanted | found):
        yield Outcome(folder.name, *key, key in wanted, key in found)


def _sources(folder: Path) -> list[Source]:
    paths = sorted(folder.rglob("*.py"))
    return [parse(x, folder) for x in paths if x.read_text(encoding="utf-8").strip()]
