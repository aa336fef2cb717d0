"""Old forms are written as what they were: each rule's own cases, run before and after; and what stays."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.conversion import analyze, modernise, plan, sources
from bessemer.conversion.modernise import modernised
from bessemer.conversion.modernise.base import Case
from bessemer.conversion.modernise.keywords import without_keywords
from conversion.converted_projects import CASES as PROGRAMS
from conversion.converted_projects import DIGITS
from conversion.notebooks.making import code, written
from conversion.small_programs import BODY, program

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


@pytest.fixture
def numpy_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """TorchMetrics, where a test has imported it, puts this old name back into NumPy."""
    monkeypatch.delattr(np, "Inf", raising=False)


@pytest.mark.usefixtures("numpy_as_it_is")
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


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_lines_keep_their_numbers_and_what_is_modern_stays(rule: ModuleType, case: Case) -> None:
    found = modernised(case.before)
    before, after = case.before.split("\n"), found.text.split("\n")
    assert len(after) == len(before)
    changed = {x.line + i for x in found.changes for i in range(x.code.count("\n") + 1)}
    assert {i for i, rows in enumerate(zip(before, after, strict=True), 1) if rows[0] != rows[1]} <= changed
    again = modernised(found.text)
    assert (again.text, again.changes) == (found.text, ())


def test_old_forms_inside_of_each_other_are_all_changed() -> None:
    code = (
        "import numpy as np\nimport torch\nimport torch.nn.functional as F\n"
        "from torch.autograd import Variable\n"
        "y = np.asfarray(np.in1d(np.asscalar(np.ones(1)), [np.float(F.mse_loss(\n"
        "    Variable(x, volatile=True), y).data[0])]))\n"
    )
    found = modernised(code)
    assert found.text == (
        "import numpy as np\nimport torch\nimport torch.nn.functional as F\n"
        "from torch.autograd import Variable\n"
        "y = np.asarray(np.isin(np.ravel((np.ones(1)).item()), [float(F.mse_loss(\n"
        "    Variable(x), y).item())]), dtype=np.float64)\n"
    )
    assert {x.line for x in found.changes} == {5, 6}


def test_an_argument_is_added_behind_one_that_is_changed() -> None:
    found = modernised("import numpy as np\ny = np.asfarray(np.Inf)\n")
    assert found.text == "import numpy as np\ny = np.asarray(np.inf, dtype=np.float64)\n"


def test_a_module_that_is_needed_is_imported_once_for_all_changes() -> None:
    code = "import collections\na = collections.Mapping, collections.Sized\n"
    assert modernised(code).text == (
        "import collections, collections.abc\na = collections.abc.Mapping, collections.abc.Sized\n"
    )


OLD_PARTS = {
    "train.py": "from part import loss_of\nimport torch\nfrom torch.autograd import Variable\n\n",
    "part.py": "import numpy as np\nimport torch.nn.functional as F\n\nBOUND = np.Inf\n\n\n"
    "def loss_of(a, b):\n    return F.mse_loss(a, b)\n",
}


def test_the_plan_names_what_was_modernised_in_every_file(script: Callable[..., Path]) -> None:
    script(OLD_PARTS["part.py"], "part.py")
    body = program(body=BODY.replace("loss(model(x), y)", "loss(model(x), Variable(y, volatile=True))"))
    path = script(OLD_PARTS["train.py"] + body)
    made = plan(analyze(path))
    shown = {(x.where, x.before, x.after) for x in made.rewrites if x.kind == "modernise"}
    lines = path.read_text().split("\n")
    line = next(i for i, row in enumerate(lines, 1) if "volatile" in row)
    assert shown == {
        ("part.py:4", "np.Inf", "np.inf"),
        (f"train.py:{line}", "Variable(y, volatile=True)", "Variable(y)"),
    }
    assert [x.where for x in made.questions if "volatile" in x.reason] == [f"train.py:{line}"]


def test_a_cell_that_does_not_parse_for_async_has_its_place(tmp_path: Path) -> None:
    cells = [
        "import torch",
        "%time pass\nx = torch.ones(1)\nif torch.cuda.is_available():\n    x.cuda(async=True)",
    ]
    (source,) = sources.read(written(tmp_path / "study.ipynb", [code(x) for x in cells])).files
    (change,) = source.modern.changes
    assert source.where(change.line) == "study.ipynb[cell 2]:4"
    assert (change.code, change.after) == ("x.cuda(async=True)", "x.cuda(non_blocking=True)")


def test_what_no_rule_can_change_stands_in_the_plan(script: Callable[..., Path]) -> None:
    path = script("from scipy.misc import imread\n" + program(tail="print(imread)"))
    (left,) = [x for x in plan(analyze(path)).unconverted if x.where == "train.py:1"]
    assert left.code == "from scipy.misc import imread"
    assert left.reason == "scipy.misc.imread is gone, and nothing is the same"
