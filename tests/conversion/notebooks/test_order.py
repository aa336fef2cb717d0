"""The order of the cells: the document's if it explains every name, else that of the execution counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.conversion.notebooks.order import counted_order, orders
from conversion.notebooks.making import code, one, program

USES = "def f():\n    return w"
MAKES = "w = 3"


def asked(folder: Path, *cells: str) -> list[str]:
    return [f"{x.where}: {x.reason}" for x in program(folder, *cells).notes.questions]


def test_a_notebook_that_was_run_from_the_top_leaves_no_question(tmp_path: Path) -> None:
    made = program(tmp_path, MAKES, USES, "y = f()")
    assert made.notes.questions == ()
    assert made.notes.orders.taken == made.notes.orders.document == made.notes.orders.counted == (1, 2, 3)


def test_the_order_of_the_counts_is_taken_if_only_that_makes_every_name_first(tmp_path: Path) -> None:
    made = program(tmp_path, code("y = w", 2), code("w = 3", 1), code("z = y", 3))
    assert made.notes.orders.document == (1, 2, 3)
    assert made.notes.orders.taken == made.notes.orders.counted == (2, 1, 3)
    assert made.notes.orders.by_counts
    assert made.text == "w = 3\n\ny = w\n\nz = y\n\n"
    assert made.places[0] == "nb.ipynb[cell 2]:1"
    (question,) = made.notes.questions
    assert question.where == "nb.ipynb[cell 1]:1"
    assert "w is read before cell 2 makes it" in question.reason
    assert "2, 1, 3" in question.reason


def test_the_order_of_the_document_is_taken_if_it_explains_every_name(tmp_path: Path) -> None:
    made = program(tmp_path, code("w = 1", 1), code("w = 2", 5), code("y = w", 3))
    assert made.notes.orders.taken == (1, 2, 3)
    assert made.notes.orders.counted == (1, 3, 2)
    (question,) = made.notes.questions
    assert "cell 3 [3] before cell 2 [5]" in question.reason
    assert "as they stand" in question.reason


def test_no_order_that_explains_every_name_leaves_the_document_and_a_question(tmp_path: Path) -> None:
    made = program(tmp_path, code("y = w", 1), code("w = y", 2))
    assert made.notes.orders.taken == (1, 2)
    (question,) = made.notes.questions
    assert question.where == "nb.ipynb[cell 1]:1"
    assert "only cell 2 makes it, later" in question.reason
    assert question.todo == "move cell 2 up, above cell 1"


def test_a_cell_that_was_not_run_stays_behind_the_one_before_it() -> None:
    cells = [one("").cell, one("").cell, one("").cell, one("").cell]
    counts = (None, 7, None, 2)
    made = [type(x)(i, count, "") for i, (x, count) in enumerate(zip(cells, counts, strict=True), 1)]
    assert counted_order(made) == (1, 4, 2, 3)


def test_a_notebook_without_counts_is_in_the_order_of_the_document(tmp_path: Path) -> None:
    made = program(tmp_path, code("y = w"), code("w = 1"))
    assert made.notes.orders.taken == made.notes.orders.counted == (1, 2)


def test_a_name_that_no_cell_makes_is_named_with_its_reader(tmp_path: Path) -> None:
    (question,) = asked(tmp_path, USES, "y = f()")
    assert question.startswith("nb.ipynb[cell 2]:1: w is read by f, which is used here, and no cell makes it")


def test_a_name_that_only_a_method_reads_and_no_cell_makes_is_named(tmp_path: Path) -> None:
    (question,) = asked(tmp_path, "class A:\n    def g(self):\n        return w", "a = A()")
    assert question.startswith("nb.ipynb[cell 1]:1: w is read by A")


FINE = [
    ("def f():\n    return w", "w = 1", "f()"),
    ("def f():\n    global w\n    w = 1", "f()\ny = w"),
    ("class A:\n    def g(self):\n        return w", "a = A()\nw = 1", "a.g()"),
    ("class A:\n    n = 1\n    m = n",),
    ("from numpy import *", "y = zeros(3)"),
    ("y = [a for a in range(3) if a]\nz = {a: b for a, b in []}",),
    ("f = lambda a: a + w", "w = 1", "f(1)"),
    ("try:\n    w\nexcept NameError:\n    w = 1", "w"),
    ("for i in range(3):\n    pass", "print(i)"),
    ("with open('x') as g:\n    pass", "print(g, __name__)"),
    ("if (n := 3) > 2:\n    m = n",),
    ("import a.b as c, d.e\nc, d",),
    ("def f(a, *b, c=1, **d):\n    e = a\n    def g():\n        return e, b, c, d, f\n    return g",),
    ("def f():\n    import q\n    for r in q:\n        pass\n    return r",),
    ("x = 1\ndel x",),
    ("def f():\n    try:\n        pass\n    except ValueError as e:\n        print(e)", "f()"),
    ("def f():\n    for _ in []:\n        pass", "f()"),
]


@pytest.mark.parametrize("cells", FINE)
def test_a_name_that_is_made_in_time_is_no_question(cells: tuple[str, ...], tmp_path: Path) -> None:
    assert asked(tmp_path, *cells) == []


LATE = [
    ("y = f()", "def f():\n    return 1"),
    ("def f():\n    return w", "y = f()", "w = 1"),
    ("def f():\n    return g()\ndef g():\n    return w", "y = f()", "w = 1"),
    ("class A:\n    def __init__(self):\n        self.x = w", "a = A()", "w = 1"),
    ("w += 1", "w = 1"),
    ("for i in range(w):\n    pass", "w = 1"),
    ("def f(a=w):\n    pass", "w = 1"),
    ("class A(w):\n    pass", "w = 1"),
    ("class A:\n    n = w", "w = 1"),
    ("y[w] = 1", "y = w = 1"),
    ("@w\ndef f():\n    pass", "w = 1"),
]


@pytest.mark.parametrize("cells", LATE)
def test_a_name_that_is_made_too_late_is_a_question(cells: tuple[str, ...], tmp_path: Path) -> None:
    assert any("later" in x for x in asked(tmp_path, *cells))


@pytest.mark.parametrize("name", ["_", "__", "_12", "Out"])
def test_an_earlier_output_is_nothing_that_a_program_has(name: str, tmp_path: Path) -> None:
    (question,) = asked(tmp_path, f"y = f'{{{name}}}'")
    assert "an earlier output of the notebook" in question


def test_a_definition_that_is_made_again_is_named(tmp_path: Path) -> None:
    (question,) = asked(tmp_path, USES, MAKES, "def f():\n    return 2")
    assert question == (
        "nb.ipynb[cell 3]:1: f is defined again, first in cell 1; from here on the new one is meant"
    )


def test_cells_with_the_same_count_are_named(tmp_path: Path) -> None:
    made = program(tmp_path, code("x = 1", 1), code("y = 1", 2), code("z = 1", 2))
    assert ["cells 2 and 3 have the same execution count, 2" in x.reason for x in made.notes.questions] == [
        True
    ]


def test_a_cell_that_ended_with_an_error_is_named(tmp_path: Path) -> None:
    failed = code("x = 1", 1, outputs=[{"output_type": "error", "ename": "ValueError"}])
    (question,) = program(tmp_path, failed).notes.questions
    assert "ended with ValueError" in question.reason


def test_orders_are_those_of_cells_by_number() -> None:
    assert orders([one("x = 1")]).document == (1,)
