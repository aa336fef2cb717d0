"""From imports to pinned distributions."""

from __future__ import annotations

import libcst as cst
import pytest

from bessemer.conversion.writing.dependencies import find_dependencies, imported_packages, lock


def test_the_standard_library_and_relative_imports_need_nothing() -> None:
    module = cst.parse_module("import os.path, json\nfrom . import x\nfrom .y import z\n")
    assert imported_packages([module]) == ()


@pytest.mark.parametrize(
    ("code", "packages"),
    [
        ("import torch.nn as nn", ("torch",)),
        ("from sklearn.datasets import load_digits", ("sklearn",)),
        ("def f():\n    import numpy", ("numpy",)),
    ],
)
def test_packages_are_found_wherever_they_are_imported(code: str, packages: tuple[str, ...]) -> None:
    assert imported_packages([cst.parse_module(code)]) == packages


def test_what_is_installed_is_pinned_and_what_is_not_is_named() -> None:
    module = cst.parse_module("import libcst\nimport no_such_package\nimport cv2\n")
    needed = find_dependencies([module])
    (pinned,) = [x for x in needed.direct if "==" in x]
    assert pinned.startswith("libcst==")
    assert "no_such_package" in needed.missing
    assert set(needed.missing) <= set(needed.direct)
    assert all("==" in line for line in needed.lock)


def test_a_lock_is_closed() -> None:
    names = {line.partition("==")[0] for line in lock(["pydantic-settings"])}
    assert {"pydantic-settings", "pydantic", "pydantic-core", "annotated-types"} <= names


def test_a_build_of_a_version_is_locked_as_that_version() -> None:
    assert not [line for line in lock(["torch"]) if "+" in line]
