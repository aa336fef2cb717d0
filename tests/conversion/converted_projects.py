"""Where the programs are that tests convert, and a converted project as tests look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst

from bessemer.conversion import Conversion
from bessemer.conversion.analysis import Analysis, analyze_program
from bessemer.conversion.sources import Source, Sources

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "cases"
DIGITS = ROOT / "src" / "digits"


def analyzed_text(code: str, path: str) -> Analysis:
    """Analyze a program that is one file, without asking whether it can be converted."""
    source = Source(path, code, cst.parse_module(code))
    return analyze_program(Sources(Path("/nowhere"), (source,), ""), source)


@dataclass(frozen=True)
class Project:
    """A converted project on disk."""

    conversion: Conversion

    @property
    def root(self) -> Path:
        return self.conversion.out

    @property
    def package(self) -> Path:
        return self.root / self.conversion.package

    def room(self, name: str) -> str:
        return (self.package / f"{name}.py").read_text(encoding="utf-8")

    def python(self) -> Iterator[Path]:
        return self.root.rglob("*.py")
