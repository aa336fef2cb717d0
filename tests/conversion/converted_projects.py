"""Where the programs are that tests convert, and a converted project as tests look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bessemer.conversion import Conversion

CASES = Path(__file__).parent / "cases"
DIGITS = Path(__file__).parents[2] / "src" / "digits"


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
