"""A notebook is one program whose lines know their cells, wherever the converter speaks of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.conversion import convert, is_current, training_runs
from bessemer.conversion.checking import check
from bessemer.conversion.notebooks.cells import Cell
from bessemer.conversion.notebooks.plain import plain
from bessemer.conversion.notebooks.program import _joined
from bessemer.conversion.sources import as_script, fingerprint, read
from bessemer.errors import SourceError
from conversion.notebooks.making import code, program, written

SPIRALS = Path(__file__).parents[3] / "src" / "spirals.ipynb"
HEAD = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
"""
MAIN = """
def main():
    data = TensorDataset(torch.randn(64, 3), torch.randn(64, 1))
    loader = DataLoader(data, batch_size=8)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        print("epoch %d loss %.3f" % (epoch, loss.item()))
"""
CELLS = st.lists(
    st.sampled_from(["x = 1", "%matplotlib inline", "!ls\nx = 2", "\n\nx", "def f():\n    pass\n\n", ""])
)


@settings(deadline=None)
@given(CELLS)
def test_every_line_of_the_program_is_the_line_of_its_cell(sources: list[str]) -> None:
    plains = [plain(Cell(i, i, x)) for i, x in enumerate(sources, 1)]
    joined = _joined(plains, [x.cell.number for x in plains])
    lines = joined.text.split("\n")
    assert len(joined.places) == len(lines) - 1 or not plains
    for line, (number, within) in zip(lines, joined.places, strict=False):
        own = plains[number - 1].text.split("\n")
        assert line in ("", own[within - 1])


def test_what_must_stand_at_the_top_stands_there_with_its_place(tmp_path: Path) -> None:
    made = program(tmp_path, "x = 1", "y = 2\nfrom __future__ import annotations")
    assert made.text.startswith("from __future__ import annotations\nx = 1\n")
    assert made.places[:2] == ("nb.ipynb[cell 2]:2", "nb.ipynb[cell 1]:1")
    compile(made.text, "nb", "exec")


def test_a_source_says_where_a_line_is_in_a_notebook_and_in_a_script(tmp_path: Path) -> None:
    (notebook,) = read(written(tmp_path / "nb.ipynb", [code("x = 1"), code("\ny = 2\nz = 3")])).files
    assert notebook.where(4) == "nb.ipynb[cell 2]:2"
    script = tmp_path / "a.py"
    script.write_text("x = 1\n")
    assert read(script).files[0].where(4) == "a.py:4"
    assert read(script).files[0].notes is None


def test_the_script_of_a_source_is_the_text_that_is_converted(tmp_path: Path) -> None:
    cells = [code("%matplotlib inline\nx = 'ж'"), code("print(x)\nx")]
    (notebook,) = read(written(tmp_path / "nb.ipynb", cells)).files
    assert as_script(notebook) == notebook.text == "\nx = 'ж'\n\nprint(x)\n\n\n"


def test_a_module_that_a_notebook_writes_is_a_source_with_its_cell(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text("an older = file")
    cells = [code("%%writefile small.py\n\nWIDTH = 3"), code("import small\nloss.backward()")]
    notebook, module = read(written(tmp_path / "nb.ipynb", cells)).files
    assert (notebook.path, module.path, module.text) == ("nb.ipynb", "small.py", "\nWIDTH = 3\n")
    assert module.where(2) == "nb.ipynb[cell 1]:3"
    assert [x.text for x in read(tmp_path).files] == [notebook.text, module.text]


def test_a_module_that_a_notebook_writes_and_that_is_no_python_is_refused_with_its_cell(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "nb.ipynb", [code("x = 1"), code("%%writefile small.py\nx = 1\ny = = 2")])
    with pytest.raises(SourceError, match=r"nb.ipynb\[cell 2\]:3: invalid syntax: y = = 2"):
        read(path)


def test_a_notebook_that_only_writes_files_is_refused_with_their_names(tmp_path: Path) -> None:
    cells = [code("%%writefile steps.py\nloss.backward()"), code("!python steps.py")]
    with pytest.raises(SourceError, match=r"they only write the files steps\.py"):
        read(written(tmp_path / "nb.ipynb", cells))


def test_a_folder_in_which_only_a_notebook_trains_is_that_notebook_with_its_modules(tmp_path: Path) -> None:
    written(tmp_path / "nb.ipynb", [code("import helper\nloss.backward()")])
    written(tmp_path / "look.ipynb", [code("import helper")])
    (tmp_path / "helper.py").write_text("x = 1\n")
    assert [x.path for x in read(tmp_path).files] == ["nb.ipynb", "helper.py"]
    before = fingerprint(tmp_path)
    written(tmp_path / "nb.ipynb", [code("loss.backward()")])
    assert fingerprint(tmp_path) != before


def test_notebooks_beside_a_script_that_trains_are_not_read(tmp_path: Path) -> None:
    written(tmp_path / "nb.ipynb", [code("loss.backward()")])
    (tmp_path / "train.py").write_text("loss.backward()\n")
    assert [x.path for x in read(tmp_path).files] == ["train.py"]


def test_checkpoints_of_the_editor_are_no_notebooks(tmp_path: Path) -> None:
    written(tmp_path / "nb.ipynb", [code("loss.backward()")])
    (tmp_path / ".ipynb_checkpoints").mkdir()
    written(tmp_path / ".ipynb_checkpoints" / "nb-checkpoint.ipynb", [code("loss.backward()")])
    assert [x.path for x in read(tmp_path).files] == ["nb.ipynb"]


def test_a_run_of_a_script_cannot_be_chosen(tmp_path: Path) -> None:
    script = tmp_path / "a.py"
    script.write_text("x = 1\n")
    with pytest.raises(SourceError, match="not a notebook"):
        read(script, run=1)
    assert training_runs(script) == ()


def test_check_names_the_cell(tmp_path: Path) -> None:
    loop = (
        "import torch\nfor epoch in run.epochs(3):\n    for i in enumerate(run.loader(data)):\n        pass"
    )
    path = written(tmp_path / "nb.ipynb", [code("x = 1\ny = 2"), code(loop)])
    findings = check(path).findings
    assert findings
    assert all("nb.ipynb[cell 2]:" in x.where for x in findings)


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[[str], Path]:
    def write(last: str) -> Path:
        cells = ["%matplotlib inline\n!pip install gym\n" + HEAD, MAIN + "\nmain", last, "!rm -r out"]
        return written(tmp_path / "small.ipynb", [code(x, i) for i, x in enumerate(cells, 1)])

    return write


def test_a_notebook_converts_and_the_report_names_what_was_left_out(
    notebook: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan = convert(notebook("main()"), out).plan
    assert [(x.where, x.before) for x in plan.rewrites if x.kind == "notebook"] == [
        ("small.ipynb[cell 1]:1", "%matplotlib inline"),
        ("small.ipynb[cell 1]:2", "!pip install gym"),
        ("small.ipynb[cell 2]:14", "main"),
    ]
    assert [(x.where, x.code) for x in plan.unconverted] == [("small.ipynb[cell 4]:1", "!rm -r out")]
    assert "small.ipynb[cell 4]:1: `!rm -r out`" in (out / "CONVERSION.md").read_text()


def test_the_chosen_run_is_kept_when_the_notebook_changes(
    notebook: Callable[[str], Path], tmp_path: Path
) -> None:
    from rich.console import Console

    from bessemer.conversion.command import bring_up_to_date

    out = tmp_path / "out"
    source = notebook("main()\nx = 1\nmain()")
    convert(source, out, run=1)
    assert is_current(source, out)
    notebook("main()\nx = 2\nmain()")
    assert not is_current(source, out)
    bring_up_to_date(source, out, Console(quiet=True))
    assert is_current(source, out)
    assert "run 1 of 2 is chosen" in (out / "CONVERSION.md").read_text()


def test_the_example_is_taken_in_the_order_in_which_it_was_run() -> None:
    (source,) = read(SPIRALS).files
    assert source.notes is not None
    assert source.notes.orders.by_counts
    assert [(x.cell, x.models, x.optimizers) for x in source.notes.runs] == [(6, ("model",), ("optimizer",))]
    assert [x.what for x in source.notes.requirements] == ["torch", "matplotlib"]
    assert [x.reason.split(" before ")[0] for x in source.notes.questions] == ["evaluate is read"]


def test_the_example_runs_as_a_script_and_gives_the_same_twice(tmp_path: Path) -> None:
    (source,) = read(SPIRALS).files
    script = tmp_path / "spirals.py"
    script.write_text(as_script(source).replace("EPOCHS = 60", "EPOCHS = 3"), encoding="utf-8")
    outputs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", str(script)],
            cwd=tmp_path,
            env={"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert outputs[0] == outputs[1]
    assert "epoch 3, train loss: " in outputs[0]
    assert (tmp_path / "spirals.pt").is_file()
