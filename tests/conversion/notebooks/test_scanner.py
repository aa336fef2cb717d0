"""What is valid Python is never taken for a magic, and a magic is found where a statement may begin."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bessemer.conversion.notebooks.plain import Failure, parsed
from bessemer.conversion.notebooks.scanner import Kind, specials
from conversion.notebooks.making import one

MARKS = [
    "%matplotlib inline",
    "!ls",
    "?x",
    "x?",
    "%%time",
    "x = !ls",
    "x = %pwd",
    "pip install y",
    "% (1, 2)",
]
_BREAK = st.sampled_from(["\n", "\n\n", "\n    ", "\n# %x [\n", "\n" + "\n".join(MARKS[-1:]) + "\n"])
_NAMES = st.sampled_from(["a", "b", "ls", "cd", "pip", "f"])
_TEXTS = st.lists(st.sampled_from([*MARKS, "'", '"', "(", ")", "#", "\\\\", "{", " "]), max_size=4)


@st.composite
def strings(draw: st.DrawFn) -> str:
    quote = draw(st.sampled_from(["'", '"', "'''", '"""']))
    glue = draw(st.sampled_from(["\n", " "])) if len(quote) == 3 else draw(st.sampled_from([" ", "\\\n"]))
    body = glue.join(draw(_TEXTS)).replace(quote[0], "")
    return draw(st.sampled_from(["", "r", "b", "f"])) + quote + body + quote


def operands() -> st.SearchStrategy[str]:
    return st.one_of(_NAMES, strings(), st.sampled_from(["1", "2.5", "[]", "{}"]))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    parts = [draw(operands())]
    for _ in range(draw(st.integers(0, 3))):
        between = draw(st.sampled_from([" ", "\n", "\\\n", "\n  "]))
        parts += [between, draw(st.sampled_from(["%", "!=", "-", "in", "/"])), " ", draw(operands())]
    inner = "".join(parts)
    around = draw(st.sampled_from(["()", "[]", "{}"]))
    return f"{around[0]}{inner}{around[1]}" if draw(st.booleans()) else inner


@st.composite
def programs(draw: st.DrawFn) -> str:
    lines = []
    for _ in range(draw(st.integers(1, 6))):
        text = draw(expressions())
        head = draw(
            st.sampled_from(["", "a = ", "if a: b = ", "print", "def g():\n  return ", "a['= %d'] = "])
        )
        lines.append(head + text + draw(st.sampled_from(["", "  # !ls", "  # (", ";"])))
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


@settings(deadline=None)
@given(st.one_of(programs(), st.text(alphabet="ab=%!?#'\"\\()[]{}\n \t:.,", max_size=40)))
@example("x = 'it''s'\nprint('%d' \\\n% 3)\n")
@example("print('''\n!ls\n%%time\n''')\n")
@example("ls if a else b\n")
@example("cd in a\n")
@example('a["= %d"] = 3\n')
@example("(a\n% b)\n")
@example("x = '\\\n!ls'\n")
def test_nothing_in_valid_python_is_taken_for_a_magic(text: str) -> None:
    if isinstance(parsed(text), Failure):
        return
    assert list(specials(text)) == []
    assert one(text).text.count("\n") == text.count("\n")


def test_nothing_in_the_standard_library_is_taken_for_a_magic() -> None:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    assert len(files) > 100
    assert {x.name: found for x in files if (found := list(specials(x.read_text("utf-8"))))} == {}


@pytest.mark.parametrize(
    ("text", "kind", "rest"),
    [
        ("%matplotlib inline", Kind.MAGIC, "matplotlib inline"),
        ("!pip install x", Kind.SHELL, "pip install x"),
        ("?print", Kind.HELP, "?print"),
        ("print??", Kind.HELP, "print??"),
        ("torch.nn.Linear?", Kind.HELP, "torch.nn.Linear?"),
        ("x = !ls", Kind.ASSIGNED_SHELL, "ls"),
        ("a, b = %foo", Kind.ASSIGNED_MAGIC, "foo"),
        ("%%bash -x\nls", Kind.CELL_MAGIC, "bash -x"),
        ("# first\n\n%%time\nx = 1", Kind.CELL_MAGIC, "time"),
        ("pip install torch", Kind.MAGIC, "pip install torch"),
        ("!wget a \\\n  b", Kind.SHELL, "wget a  b"),
        ("if x:\n    !ls", Kind.SHELL, "ls"),
    ],
)
def test_a_line_that_is_not_python_is_recognised(text: str, kind: Kind, rest: str) -> None:
    (found,) = specials(text)
    assert (found.kind, found.text) == (kind, rest)


@pytest.mark.parametrize(
    "text",
    [
        "print('epoch %d loss %f'\n      % (epoch, loss))\n!ls",
        "x = '''\n%matplotlib inline\n'''\n!ls",
        "x = 'a' \\\n!ls\n!ls",
        "x = [\n!ls\n]\n!ls",
        "print('it's)\n!ls",
        "x = 1  # (\n!ls",
        "x = 1  # it's '''\n!ls",
        "x = 'it\\'s ('\n!ls",
    ],
)
def test_a_line_inside_of_brackets_strings_and_continuations_is_none(text: str) -> None:
    assert [x.first for x in specials(text)] == [text.count("\n")]
