"""Versions that research code asks for are read, and used for what is not installed here."""

from __future__ import annotations

from pathlib import Path

import libcst as cst
import pytest

from bessemer.conversion.writing.dependencies import find_dependencies
from bessemer.conversion.writing.hints import Hint, hints_beside, hints_of


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("requirements.txt", "# tools\n\nno_such==1.4  # pinned\n", Hint("==1.4", "requirements.txt:3")),
        (
            "requirements-dev.txt",
            "no-such>=2,<3 ; python_version > '3'\n",
            Hint("<3,>=2", "requirements-dev.txt:1"),
        ),
        ("requirements.txt", "no_such\n", Hint("", "requirements.txt:1")),
        ("environment.yml", "dependencies:\n  - no_such=1.4=py3_0\n", Hint("==1.4", "environment.yml:2")),
        ("environment.yml", "- pip:\n    - no-such>=1.4\n", Hint(">=1.4", "environment.yml:2")),
        ("environment.yaml", "  - conda-forge::no_such ==1.4 # why\n", Hint("==1.4", "environment.yaml:1")),
        ("pyproject.toml", '[project]\ndependencies = ["no.such~=1.4"]\n', Hint("~=1.4", "pyproject.toml")),
        (
            "pyproject.toml",
            '[tool.poetry.dependencies]\npython = "^3.9"\nno-such = "^1.4"\n',
            Hint(">=1.4", "pyproject.toml"),
        ),
    ],
)
def test_a_requirement_is_read_with_its_place(tmp_path: Path, name: str, text: str, expected: Hint) -> None:
    (tmp_path / name).write_text(text)
    assert hints_beside(tmp_path) == {"no-such": expected}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "-r other.txt\n--index-url https://a.b\ngit+https://a.b/c.git\n./here\n"),
        ("requirements.txt", "\x00\x01"),
        ("environment.yml", "name: x\nchannels:\nno list\n"),
        ("pyproject.toml", "not toml ["),
        ("pyproject.toml", '[project]\ndependencies = "torch"\n'),
    ],
)
def test_what_is_no_requirement_is_passed_over(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert hints_beside(tmp_path) == {}


def test_a_folder_without_requirement_files_asks_for_nothing(tmp_path: Path) -> None:
    assert hints_beside(tmp_path) == {}


MODULE = cst.parse_module("import no_such\nimport PIL_not_here\nimport libcst\nimport mine.part\n")


def test_what_is_not_installed_is_pinned_to_what_is_asked_for_and_else_to_nothing() -> None:
    needed = find_dependencies([MODULE], hints_of([("no-such==1.4", "requirements.txt:2")]), own=["mine"])
    assert [x for x in needed.direct if not x.startswith("libcst")] == ["PIL_not_here", "no_such==1.4"]
    assert needed.missing == ("PIL_not_here", "no_such")
    assert any(
        "`no_such` is not installed here: `==1.4`, as requirements.txt:2 says" in x for x in needed.notes
    )
    assert any("`PIL_not_here` is not installed here: it has no version" in x for x in needed.notes)


def test_what_is_installed_is_what_counts_and_a_difference_is_said() -> None:
    needed = find_dependencies([MODULE], hints_of([("libcst<0.1", "requirements.txt:1")]), own=["mine"])
    (pinned,) = [x for x in needed.direct if x.startswith("libcst")]
    assert pinned.startswith("libcst==")
    assert any("asks for `<0.1`" in x for x in needed.notes)


def test_a_distribution_that_is_called_otherwise_is_found_by_what_is_imported() -> None:
    needed = find_dependencies(
        [cst.parse_module("import cv2")], hints_of([("opencv-python-headless>4", "x:1")])
    )
    if "opencv-python-headless" in needed.missing:
        assert needed.direct == ("opencv-python-headless>4",)
        assert needed.modules == {"opencv-python-headless": "cv2"}
