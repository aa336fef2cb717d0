"""A cell becomes Python on the same lines, and what was changed or left out is remembered."""

from __future__ import annotations

import ast

import pytest

from conversion.notebooks.making import one

KEPT = [
    ("%matplotlib inline", "", False),
    ("%load_ext autoreload", "", False),
    ("if x:\n    %config Y = 1\n", "if x:\n    pass\n", False),
    ("%time y = f(x)", "y = f(x)", False),
    ("%time y = f(x,\n  2)", "y = f(x,\n  2)", False),
    ("%timeit f(x)", "", True),
    ("%cd data", "", True),
    ("cd data", "", True),
    ("%run helpers.py", "from helpers import *", False),
    ("%run ./tools/plots.py", "from tools.plots import *", False),
    ("%run ../other.py", "", True),
    ("%run other.ipynb", "", True),
    ("%run train.py --lr 1", "", True),
    ("%env A=b c", "import os; os.environ['A'] = 'b c'", False),
    ("%env", "", False),
    ("%frobnicate", "", True),
    ("!nvidia-smi", "", False),
    ("!rm -rf out", "", True),
    (
        "!mkdir -p 'a b' c",
        "import os; os.makedirs('a b', exist_ok=True); os.makedirs('c', exist_ok=True)",
        False,
    ),
    ("!mkdir $x", "", True),
    ("!mkdir a && rm b", "", True),
    ("!python train.py", "", True),
    ("!python --version", "", False),
    ("files = !ls data", "files = __import__('subprocess').getoutput('ls data').splitlines()", False),
    ("files = !ls {data}", "files = None", True),
    ("here = %pwd", "here = __import__('os').getcwd()", False),
    ("y = %time f(x)", "y = f(x)", False),
    ("y = %timeit -o f(x)", "y = None", True),
    ("x?", "", False),
    ("?x", "", False),
    ("torch.nn.Linear??", "", False),
    ("get_ipython().magic('matplotlib inline')", "", False),
    ("get_ipython().run_line_magic('cd', 'data')", "", True),
    ("if x:\n    get_ipython().system('rm x')", "if x:\n    pass", True),
    ("x = get_ipython().getoutput('ls')", "x = __import__('subprocess').getoutput('ls').splitlines()", False),
    ("%%time\nx = 1", "\nx = 1", False),
    ("%%capture out\n!ls\nx = 1", "\n\nx = 1", False),
    ("%%time\n%%capture\nx = 1", "\n\nx = 1", False),
    ("%%never_heard_of\nx = 1", "\nx = 1", True),
    ("%%never_heard_of\nselect * from x", "\n", True),
    ("%%html\n<b>it's</b>", "\n", False),
    ("%%bash\nrm a", "\n", True),
    ("%%bash\nls", "\n", False),
    ("%%timeit\nf(x)", "\n", True),
    ("%%python2\nprint 1", "\n", True),
    ("%%writefile notes.txt\nhello", "\n", True),
    ("from __future__ import print_function\nx = 1", "\nx = 1", False),
    ("x = 1\nglobal x", "x = 1\n", False),
    ("  x = 1\n  !ls\n  y = 2", "x = 1\n\ny = 2", False),
]


@pytest.mark.parametrize(("cell", "program", "loses"), KEPT)
def test_what_is_not_python_is_replaced_on_its_line_and_remembered(
    cell: str, program: str, loses: bool
) -> None:
    made = one(cell)
    assert made.failure is None
    assert made.text == program
    assert any(x.loses for x in made.changes) == loses
    assert made.changes
    assert all((x.reason and x.before in cell) or "\n" in x.before for x in made.changes)
    ast.parse(made.text)


def test_the_magic_takes_the_pylab_names_along() -> None:
    text = one("%pylab inline").text
    assert "\n" not in text
    assert {"numpy", "plt", "pylab"} <= {x.id if isinstance(x, ast.Name) else x.name for x in _names(text)}


def _names(text: str) -> list[ast.Name | ast.alias]:
    return [x for x in ast.walk(ast.parse(text)) if isinstance(x, ast.Name | ast.alias)]


def test_each_change_names_the_line_of_the_cell() -> None:
    changes = one("x = 1\n\n%matplotlib inline\ny = 2\n!ls\n").changes
    assert [(x.cell, x.line, x.before) for x in changes] == [(1, 3, "%matplotlib inline"), (1, 5, "!ls")]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("!pip install torch", ["torch"]),
        ("!pip3 install -q 'torch>=2' \\\n   tqdm", ["torch>=2", "tqdm"]),
        ("%pip install torch==2.1 -f https://example.org/whl", ["torch==2.1"]),
        ("pip install tqdm", ["tqdm"]),
        ("!{sys.executable} -m pip install tqdm", ["tqdm"]),
        ("!python -m pip install --upgrade pip tqdm", ["pip", "tqdm"]),
        ("!apt-get install -y x && pip install gym", ["gym"]),
        ("%%bash\n# first\npip install a\npip install b", ["a", "b"]),
        ("get_ipython().system('pip install gym')", ["gym"]),
        ("!pip list", []),
    ],
)
def test_what_is_installed_is_a_requirement(line: str, wanted: list[str]) -> None:
    assert [x.what for x in one(line).requirements] == wanted


def test_a_requirements_file_is_named_as_lost() -> None:
    made = one("!pip install -r needs.txt")
    assert made.requirements == ()
    assert [(x.loses, "needs.txt" in x.reason) for x in made.changes] == [(True, True)]


@pytest.mark.parametrize(
    ("line", "url", "target"),
    [
        ("!wget https://example.org/a.zip", "https://example.org/a.zip", ""),
        ("!wget -q 'https://example.org/a?b=1&c=2' -O a.zip", "https://example.org/a?b=1&c=2", "a.zip"),
        ("!curl -L -o a.zip https://example.org/a.zip", "https://example.org/a.zip", "a.zip"),
        ("%%bash\nmkdir x\nwget https://example.org/a.zip\n", "https://example.org/a.zip", ""),
    ],
)
def test_what_is_fetched_is_remembered_with_its_address(line: str, url: str, target: str) -> None:
    made = one(line)
    assert [(x.what, x.target) for x in made.downloads] == [(url, target)]
    assert any(x.loses and url in x.reason for x in made.changes)


def test_a_file_that_a_cell_writes_is_a_local_module() -> None:
    made = one("%%writefile nets/small.py\n# !ls\nWIDTH = 3\n")
    assert [(x.name, x.text, x.line) for x in made.written] == [("nets/small.py", "# !ls\nWIDTH = 3\n", 2)]
    assert made.text.strip() == ""


@pytest.mark.parametrize("name", ["/etc/x.py", "../x.py", "-a x.py", "$HOME/x.py"])
def test_a_file_that_is_written_elsewhere_is_lost(name: str) -> None:
    made = one(f"%%writefile {name}\nx = 1\n")
    assert made.written == ()
    assert made.changes[0].loses


def test_annotations_of_the_future_are_left_to_the_top_of_the_program() -> None:
    made = one("x = 1\nfrom __future__ import annotations, division\n")
    assert made.text == "x = 1\n\n"
    assert made.futures == ("annotations",)


@pytest.mark.parametrize(
    ("cell", "line", "message"),
    [
        ("x = 1\ny = = 2", 2, "invalid syntax"),
        ("x = 'abc\n!ls", 1, "unterminated string"),
        ("x = (1,\n!ls\n", 1, "never closed"),
        ("x = '''a\n!ls\n", 1, "unterminated triple-quoted"),
        ("!ls\nprint 'hello'\n", 2, "Missing parentheses"),
        ("if x:\n\ty = 1\n        z = 2\n", 3, "tabs and spaces"),
        ("x = 1\nawait f()\n", 2, "outside function"),
        ("return 1", 1, "outside function"),
        ("x = 1 \\", 1, "unexpected EOF"),
    ],
)
def test_a_cell_that_is_no_python_3_says_where(cell: str, line: int, message: str) -> None:
    failure = one(cell).failure
    assert failure is not None
    assert failure.line == line
    assert message in failure.message
