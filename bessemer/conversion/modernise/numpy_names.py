"""Names that NumPy has taken away, and calls that it refuses.

`np.bool` and `np.long` are names again since 2.0 and stay. Types are the builtins that the old names were.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.modernise.renaming import New, renamed
from bessemer.conversion.syntax import argument

_V20, _V124, _V24 = "NumPy 2.0", "NumPy 1.24", "NumPy 2.4"


def _table() -> dict[str, New]:
    same = {
        _V20: {
            "Inf": "inf", "Infinity": "inf", "infty": "inf", "PINF": "inf", "NaN": "nan", "NAN": "nan",
            "float_": "float64", "complex_": "complex128", "unicode_": "str_", "string_": "bytes_",
            "singlecomplex": "complex64", "cfloat": "complex128", "longfloat": "longdouble",
            "clongfloat": "clongdouble", "longcomplex": "clongdouble", "product": "prod",
            "cumproduct": "cumprod", "alltrue": "all", "sometrue": "any", "round_": "round",
            "mat": "asmatrix", "issubsctype": "issubdtype",
        },
        _V124: {"bool8": "bool_", "object0": "object_", "str0": "str_", "bytes0": "bytes_", "rank": "ndim"},
        _V24: {"trapz": "trapezoid"},
    }  # fmt: skip
    found = {
        f"numpy.{old}": New(f"numpy.{new}", since)
        for since, names in same.items()
        for old, new in names.items()
    }
    for old in ("float", "int", "complex", "object", "str"):
        found[f"numpy.{old}"] = New(old, _V124, f"it was Python's own {old}")
    found["numpy.row_stack"] = New("numpy.vstack", _V20, is_gone=False)
    found["numpy.unicode"] = New("str", _V124, "it was Python's own str")
    return found


TABLE = _table()
_CALLS = frozenset({"in1d", "asscalar", "asfarray", "msort", "random_integers", "fromstring", "copy", "NINF"})
_STACKS = frozenset(
    f"numpy.{x}" for x in ("stack", "vstack", "hstack", "dstack", "concatenate", "column_stack")
)
_LAZY = frozenset({"builtins.map", "builtins.filter", "builtins.zip", "builtins.reversed"})
WORDS = frozenset(x.rpartition(".")[2] for x in [*TABLE, *_STACKS]) | _CALLS


def find(code: Code) -> Iterator[Found]:
    """Yield what NumPy does not have any more."""
    yield from renamed(code, TABLE)
    for node, full in code.read:
        if full == "numpy.NINF":
            edit = Edit(code.text.span(node), ("(-", node.value, ".inf)"))
            yield Change(node, (edit,), f"{full} is gone since {_V20}")
    for call in code.calls():
        yield from _call(code, call)


def _call(code: Code, call: cst.Call) -> Iterator[Found]:
    full = code.called(call)
    is_plain = bool(call.args) and not any(x.star or x.keyword for x in call.args)
    func, span = call.func, code.text.span
    gone = f"{full} is gone since"
    if full in _STACKS:
        yield from _stacked(code, call, full)
    elif full == "numpy.array":
        yield from _uncopied(code, call)
    elif not is_plain or not isinstance(func, cst.Attribute):
        return
    elif full == "numpy.asscalar" and len(call.args) == 1:
        edit = Edit(span(call), ("(", call.args[0].value, ").item()"))
        yield Change(call, (edit,), f"{gone} NumPy 1.23: it was the array's item()")
    elif full == "numpy.in1d" and len(call.args) == 2:
        first = call.args[0].value
        edits = (
            Edit(span(func.attr), ("isin",)),
            Edit(code.text.whole(first), (func.value, ".ravel(", first, ")")),
        )
        yield Change(call, edits, f"{gone} {_V24}: isin keeps a shape where in1d had one row")
    elif full == "numpy.asfarray" and len(call.args) == 1:
        edits = (
            Edit(span(func.attr), ("asarray",)),
            code.text.added(call, f"dtype={_code(code, func.value)}.float64"),
        )
        yield Change(call, edits, f"{gone} {_V20}: without a dtype it made float64")
    elif full == "numpy.msort" and len(call.args) == 1:
        edits = (Edit(span(func.attr), ("sort",)), code.text.added(call, "axis=0"))
        yield Change(call, edits, f"{gone} {_V20}: it sorted along the first axis")
    elif full == "numpy.random.random_integers":
        yield from _integers(code, call, func)


def _code(code: Code, node: cst.CSTNode) -> str:
    return code.text.code(code.text.span(node))


def _stacked(code: Code, call: cst.Call, full: str) -> Iterator[Found]:
    """Make a list of what is given as a generator, which older versions did themselves."""
    first = call.args[0].value if call.args and not call.args[0].star else None
    lazy = isinstance(first, cst.Call) and code.called(first) in _LAZY
    if first is None or not (lazy or isinstance(first, cst.GeneratorExp)):
        return
    if not code.is_builtin("list", call):
        return
    # A generator that is the only argument may share its parentheses with the call.
    edit = Edit(code.text.whole(first), ("list", first) if first.lpar else ("list(", first, ")"))
    yield Change(call, (edit,), f"since NumPy 1.24 {full} takes no generator: it made a list of one itself")


def _uncopied(code: Code, call: cst.Call) -> Iterator[Found]:
    value = argument(call, "copy")
    if not (isinstance(value, cst.Name) and value.value == "False" and isinstance(call.func, cst.Attribute)):
        return
    if any(x.keyword is None for x in call.args[1:]) or any(
        x.keyword is not None and x.keyword.value not in ("copy", "dtype") for x in call.args
    ):
        return
    arg = next(x for x in call.args if x.value is value)
    edits = (Edit(code.text.span(call.func.attr), ("asarray",)), code.text.removed(call, arg))
    reason = "since NumPy 2.0 copy=False fails where a copy is needed; it made one then, as asarray does"
    yield Change(call, edits, reason)


def _integers(code: Code, call: cst.Call, func: cst.Attribute) -> Iterator[Found]:
    """Write `random_integers(low, high, size)`, whose high is drawn too, as what it called itself."""
    span, args = code.text.span, call.args
    if len(args) > 3:
        return
    low: tuple[str | cst.CSTNode, ...] = (args[0].value,) if len(args) > 1 else ("1",)
    high = args[min(1, len(args) - 1)].value
    size: tuple[str | cst.CSTNode, ...] = (", ", args[2].value) if len(args) == 3 else ()
    parts = (func.value, ".randint(", *low, ", int(", high, ") + 1", *size, ', dtype="l")')
    reason = "numpy.random.random_integers is deprecated since NumPy 1.11: it called randint in this way"
    yield Change(call, (Edit(span(call), parts),), reason)


def _renames() -> Iterator[Case]:
    """One case for each name, with the value that it had."""
    values = {
        "product": "([2, 3])", "cumproduct": "([2, 3])", "alltrue": "([1, 0])", "sometrue": "([1, 0])",
        "round_": "(2.567, 1)", "trapz": "([1.0, 2.0])", "row_stack": "([[1], [2]])", "mat": "([1])",
        "rank": "([[1]])", "issubsctype": "(np.float32, np.floating)",
    }  # fmt: skip
    for old, new in TABLE.items():
        name, to = old.rpartition(".")[2], new.name.replace("numpy.", "np.")
        rest = values.get(name, "")
        head = "import numpy as np\nresult = "
        yield Case(name, f"{head}np.{name}{rest}", f"{head}{to}{rest}", f"{to}{rest}", name != "row_stack")


CASES = (
    *_renames(),
    Case(
        "under the name that an import gives it",
        "from numpy import Inf, NaN as missing\nresult = [Inf, missing]",
        "from numpy import inf as Inf, nan as missing\nresult = [Inf, missing]",
        "[np.inf, np.nan]",
    ),
    Case(
        "minus infinity",
        "import numpy as np\nresult = 2 ** np.NINF",
        "import numpy as np\nresult = 2 ** (-np.inf)",
        "0.0",
    ),
    Case(
        "an array of one number",
        "import numpy\nresult = numpy.asscalar(numpy.ones(1))",
        "import numpy\nresult = (numpy.ones(1)).item()",
        "1.0",
    ),
    Case(
        "membership, of a matrix in one row",
        "import numpy as np\nresult = np.in1d([[1, 2], [3, 4]], [2, 3])",
        "import numpy as np\nresult = np.isin(np.ravel([[1, 2], [3, 4]]), [2, 3])",
        "np.array([False, True, True, False])",
    ),
    Case(
        "numbers as floats",
        "import numpy as np\nresult = np.asfarray([1, 2])",
        "import numpy as np\nresult = np.asarray([1, 2], dtype=np.float64)",
        "np.array([1.0, 2.0])",
    ),
    Case(
        "sorted along the first axis",
        "import numpy as np\nresult = np.msort([[2, 1], [1, 2]])",
        "import numpy as np\nresult = np.sort([[2, 1], [1, 2]], axis=0)",
        "np.array([[1, 1], [2, 2]])",
    ),
    Case(
        "integers of which the last one may be drawn",
        "import numpy as np\nnp.random.seed(0)\nresult = np.random.random_integers(1, 6, (2, 3))",
        'import numpy as np\nnp.random.seed(0)\nresult = np.random.randint(1, int(6) + 1, (2, 3), dtype="l")',
        fails=False,
    ),
    Case(
        "integers from one",
        "import numpy as np\nnp.random.seed(0)\nresult = np.random.random_integers(6)",
        'import numpy as np\nnp.random.seed(0)\nresult = np.random.randint(1, int(6) + 1, dtype="l")',
        fails=False,
    ),
    Case(
        "arrays from a generator",
        "import numpy as np\nresult = np.stack(np.ones(2) * i for i in range(2))",
        "import numpy as np\nresult = np.stack(list(np.ones(2) * i for i in range(2)))",
        "np.array([[0.0, 0.0], [1.0, 1.0]])",
    ),
    Case(
        "arrays from a map",
        "import numpy as np\nresult = np.vstack(map(np.atleast_1d, (1, 2)))",
        "import numpy as np\nresult = np.vstack(list(map(np.atleast_1d, (1, 2))))",
        "np.array([[1], [2]])",
    ),
    Case(
        "no copy, if none is needed",
        "import numpy as np\nresult = np.array([1], copy=False, dtype=np.float32)",
        "import numpy as np\nresult = np.asarray([1], dtype=np.float32)",
        "np.array([1], dtype=np.float32)",
    ),
    Case("a name that is one again", "import numpy as np\nresult = np.bool", None),
    Case("a name of the file's own", "class np:\n    Inf = 3\nresult = np.Inf", None),
    Case(
        "a builtin that means something else here",
        "import numpy as np\ndef f(int):\n    return np.int(int)",
        None,
        asks=True,
    ),
)
