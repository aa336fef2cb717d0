"""Every check's own cases: what must be found in a program, with its line, and what must not."""

from __future__ import annotations

import re
from textwrap import dedent
from types import ModuleType

import libcst as cst
import pytest

from bessemer.conversion import checks
from bessemer.conversion.checks.base import Case, Finding, reading_of
from bessemer.conversion.sources import Source

CASES = [
    pytest.param(module, case, id=f"{module.RULE}: {case.why}")
    for module in checks.MODULES
    for case in module.CASES
]
MARK = re.compile(r"# lost: (?P<name>.+)$")


def found_in(module: ModuleType, code: str) -> list[Finding]:
    reading = reading_of([Source("case.py", code, cst.parse_module(code))])
    return list(module.find(reading))


@pytest.mark.parametrize(("module", "case"), CASES)
def test_a_check_finds_what_its_cases_say_and_nothing_else(module: ModuleType, case: Case) -> None:
    code = dedent(case.code).lstrip("\n")
    marked = [
        (number, match["name"])
        for number, line in enumerate(code.splitlines(), 1)
        if (match := MARK.search(line))
    ]
    assert sorted((x.line, x.name) for x in found_in(module, code)) == marked


@pytest.mark.parametrize("module", checks.MODULES, ids=lambda x: x.RULE)
def test_a_check_is_its_own_manual_page(module: ModuleType) -> None:
    assert module.__name__.rpartition(".")[2] == module.RULE
    assert len((module.__doc__ or "").splitlines()) > 2
    assert any("# lost:" in case.code for case in module.CASES)
    assert any("# lost:" not in case.code for case in module.CASES)


@pytest.mark.parametrize(("module", "case"), CASES)
def test_a_finding_names_its_place_its_reason_and_what_to_do(module: ModuleType, case: Case) -> None:
    for finding in found_in(module, dedent(case.code)):
        assert finding.rule == module.RULE
        assert finding.where == f"case.py:{finding.line}"
        assert finding.name in finding.found
        assert finding.todo
