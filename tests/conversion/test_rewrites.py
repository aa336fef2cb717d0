"""Every rewrite's own cases, and the names it must not be fooled by."""

from textwrap import dedent
from types import ModuleType

import pytest

from bessemer.conversion import rewrites
from bessemer.conversion.rewrites.base import Case, Rewriter
from conversion.converted_projects import analyzed_text

CASES = [
    pytest.param(module, case, id=f"{module.__name__.rpartition('.')[2]}: {case.why}")
    for module in rewrites.MODULES
    for case in module.CASES
]


GUARD = '\nif __name__ == "__main__":\n    main()\n'


def program(case: Case) -> str:
    """A case is a fragment; if it has a `main`, that is where the program starts."""
    code = dedent(case.before).lstrip("\n")
    return code + GUARD if "def main(" in code and "__main__" not in code else code


def kind_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.mark.parametrize(("module", "case"), CASES)
def test_a_rewrite_does_what_its_cases_say(module: ModuleType, case: Case) -> None:
    before = dedent(case.before).lstrip("\n")
    analysis = analyzed_text(program(case), "case.py")
    rewritten = rewrites.rewrite(analysis, {kind_of(module), *case.also})
    expected = before if case.after is None else dedent(case.after).lstrip("\n")
    assert rewritten.module.code == expected


@pytest.mark.parametrize("module", rewrites.MODULES, ids=kind_of)
def test_a_rewrite_is_its_own_manual_page(module: ModuleType) -> None:
    assert len((module.__doc__ or "").splitlines()) > 2
    assert any(case.after is not None for case in module.CASES)
    assert any(
        issubclass(value, Rewriter) and value.kind == kind_of(module) and value.TITLE
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    )


@pytest.mark.parametrize(("module", "case"), CASES)
def test_a_rewrite_reports_every_change_with_its_place(module: ModuleType, case: Case) -> None:
    analysis = analyzed_text(program(case), "case.py")
    rewritten = rewrites.rewrite(analysis, {kind_of(module)})
    assert bool(rewritten.rewrites) == (case.after is not None)
    assert all(change.where.startswith("case.py:") for change in rewritten.rewrites)
    assert all(change.kind == kind_of(module) and change.reason for change in rewritten.rewrites)
