"""Training runs are found where they begin, and one can be chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.conversion.notebooks.runs import described
from bessemer.errors import SourceError
from conversion.notebooks.making import code, heading, program

HEAD = "import torch\ndata = [torch.randn(4, 2)]"
MAKE = "model = torch.nn.Linear(2, 1)\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)"
LOOP = "for x in data:\n    loss = model(x).mean()\n    loss.backward()\n    optimizer.step()"
FIT = """\
def fit(model, optimizer):
    for x in data:
        model(x).mean().backward()
        optimizer.step()"""
TRAINER = """\
class Trainer:
    def train(self, n):
        self.step(n)
    def step(self, n):
        n.backward()"""
CLOSURE = """\
def closure():
    loss = model(data[0]).mean()
    loss.backward()
    return loss"""

ONE = {
    "a loop": (HEAD, MAKE, LOOP),
    "a while loop": (HEAD, MAKE, "while True:\n    model(data[0]).mean().backward()\n    break"),
    "a loop in a loop is one run": (HEAD, MAKE, "for e in range(2):\n    " + LOOP.replace("\n", "\n    ")),
    "a call": (HEAD, MAKE, FIT, "fit(model, optimizer)"),
    "the value of a call": (HEAD, MAKE, FIT, "history = fit(model, optimizer)"),
    "a call of a call": (HEAD, MAKE, FIT, "def main():\n    fit(model, optimizer)", "main()"),
    "a loop of calls": (HEAD, MAKE, FIT, "for epoch in range(3):\n    fit(model, optimizer)"),
    "a call under a guard": (HEAD, MAKE, FIT, "if __name__ == '__main__':\n    fit(model, optimizer)"),
    "a call that may be interrupted": (
        HEAD,
        MAKE,
        FIT,
        "try:\n    fit(model, optimizer)\nexcept KeyboardInterrupt:\n    pass",
    ),
    "a closure": (
        HEAD,
        MAKE,
        CLOSURE,
        "for i in range(3):\n    closure()\n    optimizer.step(closure)",
    ),
    "a method": (
        HEAD,
        TRAINER,
        "trainer = Trainer()\ntrainer.train(1)",
    ),
    "a method of a model that was moved": (
        HEAD,
        "class Net(torch.nn.Module):\n    def learn(self, x):\n        self(x).backward()",
        "net = Net().to('cpu')\nfor x in data:\n    net.learn(x)",
    ),
    "a method of what is in a list": (
        HEAD,
        "class Net(torch.nn.Module):\n    def learn(self, x):\n        self(x).backward()",
        "nets = [Net(), Net()]\nfor net in nets:\n    net.learn(1)",
    ),
}


@pytest.mark.parametrize("kind", ONE)
def test_a_run_is_a_loop_or_a_call_that_goes_backward(kind: str, tmp_path: Path) -> None:
    cells = ONE[kind]
    made = program(tmp_path, *cells)
    assert [x.cell for x in made.notes.runs] == [len(cells)]
    assert made.notes.questions == ()


NONE = {
    "gradients shown once": (HEAD, "y = data[0].sum()\ny.backward()"),
    "a definition alone": (HEAD, MAKE, FIT),
    "evaluation": (HEAD, MAKE, "for x in data:\n    model(x)"),
    "putting a module into training mode": (
        HEAD,
        "class T(torch.nn.Module):\n    def train(self, a, b):\n        a.backward()",
        "model = torch.nn.Linear(1, 1)\nfor x in data:\n    model.train()\n    model.train(True)",
    ),
    "a function that was defined anew": (HEAD, MAKE, FIT, "def fit(*a):\n    pass", "fit(model, optimizer)"),
}


@pytest.mark.parametrize("kind", NONE)
def test_what_trains_nothing_is_no_run(kind: str, tmp_path: Path) -> None:
    assert program(tmp_path, *NONE[kind]).notes.runs == ()


TWO = (
    code(HEAD, 1),
    heading("Plain"),
    code(MAKE, 2),
    code(LOOP, 3),
    code("a = loss", 4),
    heading("With Adam"),
    code(MAKE.replace("SGD", "Adam").replace("model", "other").replace("optimizer", "adam"), 5),
    code(FIT + "\nfit(other, adam)", 6),
    code("b = loss", 7),
)


def test_each_run_says_its_place_what_it_trains_and_its_heading(tmp_path: Path) -> None:
    runs = program(tmp_path, *TWO).notes.runs
    assert [described(x, "nb.ipynb") for x in runs] == [
        "run 1: nb.ipynb[cell 3]:1: for x in data:; trains model with optimizer; under 'Plain'",
        "run 2: nb.ipynb[cell 6]:5: fit(other, adam); trains other with adam; under 'With Adam'",
    ]


def test_several_runs_are_one_program_and_named(tmp_path: Path) -> None:
    made = program(tmp_path, *TWO)
    assert "b = loss" in made.text
    (question,) = made.notes.questions
    assert "2 training runs" in question.reason
    assert "--run" in question.todo


def test_a_chosen_run_is_the_end_of_the_program_and_keeps_what_is_before(tmp_path: Path) -> None:
    made = program(tmp_path, *TWO, run=1)
    assert made.text.rstrip().endswith(LOOP)
    assert "adam" not in made.text
    assert len(made.places) == made.text.count("\n")
    assert [x.number for x in made.notes.runs] == [1, 2]
    assert made.notes.run == 1
    (question,) = made.notes.questions
    assert question.reason == "run 1 of 2 is chosen; what follows it is left out"


def test_the_last_run_keeps_what_follows_it(tmp_path: Path) -> None:
    made = program(tmp_path, *TWO, run=2)
    assert made.text == program(tmp_path, *TWO).text
    assert "random numbers" in made.notes.questions[0].reason


def test_of_two_runs_in_one_cell_the_first_ends_before_the_second(tmp_path: Path) -> None:
    both = f"{LOOP}\nprint(loss)\n{LOOP}"
    made = program(tmp_path, HEAD, MAKE, both, run=1)
    assert made.text.endswith(f"{LOOP}\nprint(loss)\n")


def test_what_is_left_out_needs_to_be_no_python_and_leaves_no_question(tmp_path: Path) -> None:
    cells = (HEAD, MAKE, LOOP, LOOP, "y = = 3", "!rm x\nz = gone")
    with pytest.raises(SourceError, match="cell 5"):
        program(tmp_path, *cells)
    made = program(tmp_path, *cells, run=1)
    assert len(made.notes.questions) == 1
    assert made.notes.changes == ()


@pytest.mark.parametrize("run", [0, 3, -1])
def test_a_run_that_is_not_there_is_refused_with_those_that_are(run: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        program(tmp_path, *TWO, run=run)
    assert f"there is no run {run}" in caught.value.found
    assert "run 2: nb.ipynb[cell 6]:5" in caught.value.expected


def test_runs_in_one_statement_cannot_be_parted(tmp_path: Path) -> None:
    cell = FIT + "\nif data:\n    fit(model, optimizer)\n    fit(model, optimizer)"
    with pytest.raises(
        SourceError, match=r"nb.ipynb\[cell 3\]:6: run 1 and the next one are in one statement"
    ):
        program(tmp_path, HEAD, MAKE, cell, run=1)
