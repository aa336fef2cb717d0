"""Calls of pandas, Matplotlib and scikit-learn whose arguments have other names now, or none.

A table is one that pandas surely read or made: `as_matrix` may be anybody's.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.syntax import argument, literal_text

_KEYWORDS = {
    ("matplotlib.pyplot.hist", "normed"): ("density", "Matplotlib 3.1"),
    ("matplotlib.pyplot.grid", "b"): ("visible", "Matplotlib 3.6"),
    ("sklearn.preprocessing.OneHotEncoder", "sparse"): ("sparse_output", "scikit-learn 1.4"),
    ("sklearn.manifold.TSNE", "n_iter"): ("max_iter", "scikit-learn 1.7"),
}
WORDS = frozenset(
    {"hist", "grid", "use", "hold", "OneHotEncoder", "TSNE"} | {"as_matrix", "read_csv", "read_table"}
)


def find(code: Code) -> Iterator[Found]:
    """Yield calls that these libraries do not take any more."""
    for call in code.calls():
        yield from _call(code, call)


def _call(code: Code, call: cst.Call) -> Iterator[Found]:
    full = code.called(call)
    for arg in call.args:
        new = _KEYWORDS.get((full, arg.keyword.value if arg.keyword is not None else ""))
        if new is not None and arg.keyword is not None:
            edit = Edit(code.text.span(arg.keyword), (new[0],))
            yield Change(call, (edit,), f"{arg.keyword.value} is called {new[0]} since {new[1]}")
    if full == "matplotlib.pyplot.style.use" and call.args:
        style = call.args[0].value
        text = literal_text(style)
        if isinstance(style, cst.SimpleString) and text is not None and _is_old_style(text):
            edit = Edit(
                code.text.span(style), (style.quote, text.replace("seaborn", "seaborn-v0_8"), style.quote)
            )
            yield Change(call, (edit,), "the styles that imitate seaborn have a version since Matplotlib 3.6")
    elif full == "matplotlib.pyplot.hold" and isinstance(code.program.parents.get(call), cst.Expr):
        value = call.args[0].value if call.args else None
        if value is None or (isinstance(value, cst.Name) and value.value == "True"):
            edit = Edit(code.text.span(call), ("pass",))
            yield Change(call, (edit,), "hold is gone since Matplotlib 3.0, and plots are held always")
    elif full in ("pandas.read_csv", "pandas.read_table"):
        yield from _read_csv(code, call)
    elif not full and isinstance(call.func, cst.Attribute) and call.func.attr.value == "as_matrix":
        is_frame = not call.args and _is_frame(code, call.func.value)
        if is_frame:
            edit = Edit((code.text.whole(call.func.value)[1], code.text.span(call)[1]), (".values",))
            yield Change(call, (edit,), "as_matrix is gone since pandas 1.0: it gave the values")


def _is_old_style(text: str) -> bool:
    return text == "seaborn" or (text.startswith("seaborn-") and not text.startswith("seaborn-v"))


def _read_csv(code: Code, call: cst.Call) -> Iterator[Found]:
    for arg in call.args:
        name = arg.keyword.value if arg.keyword is not None else ""
        value = arg.value.value if isinstance(arg.value, cst.Name) else ""
        new = ""
        if name == "error_bad_lines" and value == "False":
            new, since = 'on_bad_lines="warn"', "pandas 2.0"
            if (quiet := argument(call, "warn_bad_lines")) is not None:
                if not isinstance(quiet, cst.Name):
                    continue
                new = 'on_bad_lines="skip"' if quiet.value == "False" else new
        elif name == "delim_whitespace" and value == "True" and argument(call, "sep", 1) is None:
            new, since = 'sep=r"\\s+"', "pandas 3.0"
        if new:
            edits = [Edit(code.text.span(arg), (new,))]
            edits += [
                code.text.removed(call, x)
                for x in call.args
                if "on_bad" in new and x.keyword is not None and x.keyword.value == "warn_bad_lines"
            ]
            yield Change(call, tuple(edits), f"{name} is gone since {since}")


def _is_frame(code: Code, node: cst.BaseExpression, depth: int = 8) -> bool:
    """Tell whether an expression surely is a table of pandas, or a part of one."""
    if depth == 0:
        return False
    if isinstance(node, cst.Subscript):
        return _is_frame(code, node.value, depth - 1)
    if isinstance(node, cst.Attribute) and node.attr.value in ("iloc", "loc", "T"):
        return _is_frame(code, node.value, depth - 1)
    if isinstance(node, cst.Call):
        full = code.called(node)
        return full.startswith("pandas.read_") or full in ("pandas.DataFrame", "pandas.Series")
    if isinstance(node, cst.Name):
        values = [_given(code, x) for x in code.program.bindings(node)]
        return bool(values) and all(x is not None and _is_frame(code, x, depth - 1) for x in values)
    return False


def _given(code: Code, target: cst.CSTNode) -> cst.BaseExpression | None:
    holder = code.program.parents.get(target)
    statement = code.program.parents.get(holder) if isinstance(holder, cst.AssignTarget) else None
    return statement.value if isinstance(statement, cst.Assign) else None


_PLOT = "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\n"
_ONE_ROW = "import io\nimport pandas as pd\ntable = pd.read_csv(io.StringIO('a,b\\n1,2'))\n"

CASES = (
    Case(
        "codes of categories",
        "from sklearn.preprocessing import OneHotEncoder\n"
        "result = OneHotEncoder(sparse=False).fit_transform([[0], [1]])",
        "from sklearn.preprocessing import OneHotEncoder\n"
        "result = OneHotEncoder(sparse_output=False).fit_transform([[0], [1]])",
        "np.eye(2)",
        needs=("sklearn",),
    ),
    Case(
        "a map of points",
        "from sklearn.manifold import TSNE\nresult = TSNE(n_iter=300).max_iter",
        "from sklearn.manifold import TSNE\nresult = TSNE(max_iter=300).max_iter",
        "300",
        needs=("sklearn",),
    ),
    Case(
        "values of a table",
        f"{_ONE_ROW}result = table[['a']].as_matrix()",
        f"{_ONE_ROW}result = table[['a']].values",
        "np.array([[1]])",
        needs=("pandas",),
    ),
    Case("a matrix that is not known", "import pandas\ndef f(x):\n    return x.as_matrix()", None),
    Case(
        "columns between blanks",
        "import io\nimport pandas as pd\n"
        "result = pd.read_csv(io.StringIO('a b'), delim_whitespace=True).shape",
        "import io\nimport pandas as pd\nresult = pd.read_csv(io.StringIO('a b'), sep=r\"\\s+\").shape",
        "(0, 2)",
        needs=("pandas",),
    ),
    Case(
        "lines that are wrong",
        "import io\nimport pandas as pd\n"
        "result = pd.read_csv(io.StringIO('a\\n1,2,3'), error_bad_lines=False, warn_bad_lines=False).shape",
        "import io\nimport pandas as pd\n"
        "result = pd.read_csv(io.StringIO('a\\n1,2,3'), on_bad_lines=\"skip\").shape",
        needs=("pandas",),
        runs=False,
    ),
    Case(
        "a style",
        f"{_PLOT}plt.style.use('seaborn-whitegrid')\nplt.rcdefaults()\nresult = 1",
        f"{_PLOT}plt.style.use('seaborn-v0_8-whitegrid')\nplt.rcdefaults()\nresult = 1",
        "1",
        needs=("matplotlib",),
    ),
    Case(
        "a histogram",
        f"{_PLOT}result = plt.hist([1.0, 2.0], 2, normed=True)[0]\nplt.close('all')",
        f"{_PLOT}result = plt.hist([1.0, 2.0], 2, density=True)[0]\nplt.close('all')",
        "np.array([1.0, 1.0])",
        needs=("matplotlib",),
    ),
    Case(
        "plots that are held",
        f"{_PLOT}plt.hold(True)\nresult = 1",
        f"{_PLOT}pass\nresult = 1",
        "1",
        needs=("matplotlib",),
    ),
)
