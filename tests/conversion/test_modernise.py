"""Old forms are written as what they were: each rule's own cases, run before and after; and what stays."""

from __future__ import annotations

import importlib.util
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.conversion import modernise
from bessemer.conversion.modernise import modernised
from bessemer.conversion.modernise.base import Case
from bessemer.conversion.modernise.keywords import without_keywords
from conversion.converted_projects import CASES as PROGRAMS
from conversion.converted_projects import DIGITS

PAIRS: list[tuple[ModuleType, Case]] = [(rule, case) for rule in modernise.RULES for case in rule.CASES]


def named(pairs: list[tuple[ModuleType, Case]]) -> list[Any]:
    return [pytest.param(x, case, id=f"{x.__name__.rpartition('.')[2]}: {case.why}") for x, case in pairs]


CASES = named(PAIRS)
RUN = named([(rule, case) for rule, case in PAIRS if case.after is not None and case.runs])


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_a_rule_does_what_its_cases_say(rule: ModuleType, case: Case) -> None:
    found = modernised(case.before)
    assert found.text == (case.before if case.after is None else case.after)
    assert bool(found.changes) == (case.after is not None)
    assert bool(found.questions or found.left) == case.asks
    assert all(x.reason and x.code and x.code != x.after for x in found.changes)


def installed(case: Case) -> bool:
    return all(importlib.util.find_spec(name) for name in case.needs)


def run(code: str) -> tuple[Any, str]:
    """Run a piece of code; return its result, and what it raised or warned of."""
    names: dict[str, Any] = {"__name__": "piece"}
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        # What is warned of once a process must be warned of each time.
        torch.set_warn_always(True)
        try:
            exec(compile(code, "<piece>", "exec", dont_inherit=True), names)
        except (Exception, SyntaxError) as error:
            return None, repr(error)
        finally:
            torch.set_warn_always(False)
    return names.get("result"), "; ".join(str(x.message) for x in warned)


def same(first: Any, second: Any) -> bool:
    """Tell whether two values are equal, of one type, to the last bit."""
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and first.shape == second.shape and bool((first == second).all())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, np.ndarray | np.generic):
        return first.dtype == second.dtype and first.shape == second.shape and np.array_equal(first, second)
    return bool(first == second) or (first != first and second != second)


@pytest.mark.parametrize(("rule", "case"), RUN)
def test_the_old_form_fails_or_warns_and_the_new_one_gives_what_it_gave(rule: ModuleType, case: Case) -> None:
    if not installed(case):
        pytest.skip(f"{', '.join(case.needs)} is not installed")
    before, trouble = run(case.before)
    assert trouble, "the old form neither fails nor warns: it needs no rule"
    assert (before is None) == case.fails
    assert case.after is not None
    after, left = run(case.after)
    assert not left
    if case.gives:
        before, _ = run(f"import numpy as np, torch\nresult = {case.gives}")
    assert same(after, before)


def test_every_rule_is_its_own_manual_page() -> None:
    for rule in modernise.RULES:
        assert len((rule.__doc__ or "").splitlines()) > 2
        assert any(case.after is not None or case.asks for case in rule.CASES)
        assert any(case.after is None for case in rule.CASES)


@pytest.mark.parametrize(
    "path", [*sorted(PROGRAMS.rglob("*.py")), *sorted(DIGITS.rglob("*.py"))], ids=lambda x: x.parent.name
)
def test_a_program_without_old_forms_stays_byte_for_byte(path: Any) -> None:
    text = path.read_text()
    found = modernised(without_keywords(text)[0])
    if "old_style" not in str(path):
        assert (found.text, found.changes) == (text, ())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x.cuda(async=True)", "x.cuda(non_blocking=True)"),
        ("x.cuda(0,\n   async = True) # async=True", "x.cuda(0,\n   non_blocking = True) # async=True"),
        ("[x.to(d, async=True) for x in y]", "[x.to(d, non_blocking=True) for x in y]"),
        ("f(x.cuda(async=a), 'async=1')", "f(x.cuda(non_blocking=a), 'async=1')"),
        (
            "%matplotlib inline\n!ls ?\nx.cuda(async=True)",
            "%matplotlib inline\n!ls ?\nx.cuda(non_blocking=True)",
        ),
        ('"""it\'s"""\nx.cuda(async=True)', '"""it\'s"""\nx.cuda(non_blocking=True)'),
    ],
)
def test_the_argument_async_is_renamed_before_anything_is_parsed(before: str, after: str) -> None:
    text, changes = without_keywords(before)
    assert text == after
    assert len(changes) == 1
    assert text.split("\n")[changes[0].line - 1].strip() == changes[0].after


@pytest.mark.parametrize(
    "text",
    [
        "pool(async=True)",
        "async def f():\n    pass",
        "x.cuda(async == 1)",
        "'x.cuda(async=True)'",
        "# x.cuda(async=True)",
        "x.cuda(y(async=True))",
        "x.cuda()[async=1]",
    ],
)
def test_any_other_async_stays(text: str) -> None:
    assert without_keywords(text) == (text, ())
