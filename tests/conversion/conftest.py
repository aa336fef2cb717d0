"""Programs to convert, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from bessemer.conversion import convert
from bessemer.conversion.analysis import Analysis
from conversion.converted_projects import CASES, DIGITS, Project, analyzed_text


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(convert(DIGITS, tmp_path_factory.mktemp("projects") / "digits"))


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """Convert one of the programs under `cases`, once a session."""
    made: dict[str, Project] = {}

    def project(name: str) -> Project:
        if name not in made:
            out = tmp_path_factory.mktemp("cases") / name
            made[name] = Project(convert(CASES / name, out))
        return made[name]

    return project


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Write a program to disk."""

    def write(code: str, name: str = "train.py") -> Path:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(code).lstrip("\n"), encoding="utf-8")
        return path

    return write


@pytest.fixture
def analyzed() -> Callable[[str], Analysis]:
    """Analyze a program without asking whether it can be converted."""

    def analyze(code: str) -> Analysis:
        return analyzed_text(dedent(code).lstrip("\n"), "train.py")

    return analyze
