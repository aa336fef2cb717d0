"""What only the page of a notebook shows goes; what it computes on the way stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.errors import SourceError
from conversion.notebooks.making import program

CASES = [
    ("x = 1\nx.shape", "x = 1\n"),
    ("x = 1\nx.shape, -x  # hm", "x = 1\n  # hm"),
    ("x = 1\nx", "x = 1\n"),
    ("data.head()", "data.head()"),
    ("data[0]", "data[0]"),
    ("f'{f(x)}'", "f'{f(x)}'"),
    ("(x,\n y)", "\n"),
    ("'''about'''", "'''about'''"),
    ("a = 1; a", "a = 1; pass"),
    ("x\ny = 1", "x\ny = 1"),
    ("display(x)", ""),
    ("display(x.head(), y)", "x.head()"),
    ("display(f(x), g(y))", "(f(x), g(y))"),
    ("display(f(\n  x))", "(f(\n  x))"),
    ("if a:\n    display(x)", "if a:\n    pass"),
    ("if a: display(x)", "if a: pass"),
    ("from IPython.display import display\ndisplay(x)", "\n"),
    (
        "from IPython import display\nfor i in a:\n    display.clear_output(wait=True)",
        "\nfor i in a:\n    pass",
    ),
    ("import IPython.display as ipd\nipd.display(ipd.HTML(f(x)))", "\nf(x)"),
    ("from IPython.display import HTML\npage = HTML(x)", "from IPython.display import HTML\npage = HTML(x)"),
    (
        "try:\n    from IPython.display import clear_output\nexcept ImportError:\n    a = 1",
        "try:\n    pass\nexcept ImportError:\n    a = 1",
    ),
    (
        "from IPython.core.interactiveshell import InteractiveShell as S\nS.ast_node_interactivity = 'all'",
        "\n",
    ),
    ("from google.colab import drive\ndrive.mount('/content')", "\n"),
    ("def display(x):\n    print(x)\ndisplay(1)", "def display(x):\n    print(x)\ndisplay(1)"),
    ("größe = 'ж'; größe", "größe = 'ж'; pass"),
]


@pytest.mark.parametrize(("cell", "left"), CASES)
def test_what_is_shown_goes_and_what_has_an_effect_stays(cell: str, left: str, tmp_path: Path) -> None:
    made = program(tmp_path, cell)
    assert made.text == left + "\n\n"
    assert bool(made.notes.changes) == (left != cell)


def test_names_of_the_page_are_followed_from_cell_to_cell(tmp_path: Path) -> None:
    made = program(
        tmp_path,
        "from IPython.display import clear_output, HTML",
        "def draw():\n    clear_output()\n    plot()",
        "x = HTML('hi')",
    )
    assert made.text.split("\n")[0] == "from IPython.display import clear_output, HTML"
    assert "    pass\n    plot()" in made.text
    assert [(x.cell, x.line) for x in made.notes.changes] == [(2, 2)]


def test_the_end_of_a_cell_is_not_the_end_of_a_block(tmp_path: Path) -> None:
    cell = "for i in x:\n    i"
    assert program(tmp_path, cell, "y = 1").text == f"{cell}\n\ny = 1\n\n"


def test_what_is_not_python_in_any_cell_is_refused_with_the_cell(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        program(tmp_path, "x = 1", "x = 2\ny = = 3")
    assert caught.value.found == "nb.ipynb[cell 2]:2: invalid syntax: y = = 3"
