"""Names that Python's own library has taken away.

`time.clock` was the processor's time on Unix, where training runs, and is its name now.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found, Leave
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.modernise.renaming import New, renamed
from bessemer.conversion.syntax import bound_name

_ABSTRACT = (
    "Awaitable", "Coroutine", "AsyncIterable", "AsyncIterator", "AsyncGenerator", "Hashable", "Iterable",
    "Iterator", "Generator", "Reversible", "Container", "Collection", "Callable", "Set", "MutableSet",
    "Mapping", "MutableMapping", "MappingView", "KeysView", "ItemsView", "ValuesView", "Sequence",
    "MutableSequence", "ByteString", "Sized",
)  # fmt: skip
TABLE = {
    **{f"collections.{x}": New(f"collections.abc.{x}", "Python 3.10") for x in _ABSTRACT},
    "time.clock": New("time.process_time", "Python 3.8", "on Unix it was the processor's time"),
    "base64.encodestring": New("base64.encodebytes", "Python 3.9"),
    "base64.decodestring": New("base64.decodebytes", "Python 3.9"),
    "imp.reload": New("importlib.reload", "Python 3.12"),
}
_SAME_FIELDS = frozenset({"args", "varargs", "defaults"})
WORDS = frozenset(x.rpartition(".")[2] for x in TABLE) | {"getargspec", "sample", "imp"}


def find(code: Code) -> Iterator[Found]:
    """Yield what Python does not have any more."""
    yield from _imp(code)
    yield from (x for x in renamed(code, TABLE) if not _is_of_imp(code, x))
    for call in code.calls():
        if code.called(call) == "random.sample" and len(call.args) > 1 and _is_set(code, call.args[0].value):
            first = call.args[0].value
            edit = Edit(code.text.whole(first), ("tuple(", first, ")"))
            yield Change(call, (edit,), "random.sample takes no set since Python 3.11: it made a tuple of it")
    for name, full in code.read:
        if full == "inspect.getargspec":
            yield _getargspec(code, name)


def _is_of_imp(code: Code, found: Found) -> bool:
    """`imp.reload` is changed where `imp` is imported."""
    return isinstance(found.node, cst.Attribute) and code.program.imported(found.node) == "imp.reload"


def _imp(code: Code) -> Iterator[Found]:
    """The module that reloads others, where that is all it is used for."""
    uses = {full for _, full in code.read if full.startswith("imp.")}
    for statement in code.every(cst.Import):
        for alias in statement.names:
            if alias.evaluated_name != "imp":
                continue
            reason = "imp is gone since Python 3.12"
            if uses <= {"imp.reload"}:
                text = "importlib" if alias.asname else "importlib as imp"
                edit = Edit(code.text.span(alias.name), (text,))
                yield Change(statement, (edit,), f"{reason}: reload is importlib's")
            else:
                yield Leave(
                    statement, f"{reason}; importlib has other names for what {bound_name(alias)} does"
                )


def _is_set(code: Code, node: cst.BaseExpression) -> bool:
    if isinstance(node, cst.Set | cst.SetComp):
        return True
    if not isinstance(node, cst.Call):
        return False
    is_keys = isinstance(node.func, cst.Attribute) and node.func.attr.value == "keys" and not node.args
    return is_keys or code.called(node) in ("builtins.set", "builtins.frozenset")


def _getargspec(code: Code, name: cst.Attribute) -> Found:
    """The fields of the new result are others from the third on, but for those that are named."""
    call = code.program.parent(name)
    field = code.program.parents.get(call)
    if isinstance(call, cst.Call) and isinstance(field, cst.Attribute) and field.attr.value in _SAME_FIELDS:
        edit = Edit(code.text.span(name.attr), ("getfullargspec",))
        return Change(field, (edit,), "inspect.getargspec is gone since Python 3.11")
    return Leave(name, "inspect.getargspec is gone since Python 3.11, and getfullargspec has more fields")


CASES = (
    Case(
        "abstract containers",
        "from collections import Iterable, Mapping as Map\n"
        "result = [issubclass(list, Iterable), Map.__name__]",
        "from collections.abc import Iterable, Mapping as Map\n"
        "result = [issubclass(list, Iterable), Map.__name__]",
        "[True, 'Mapping']",
    ),
    Case(
        "among others",
        "from collections import OrderedDict, Sequence\nresult = [OrderedDict.__name__, Sequence.__name__]",
        "from collections import OrderedDict; from collections.abc import Sequence\n"
        "result = [OrderedDict.__name__, Sequence.__name__]",
        "['OrderedDict', 'Sequence']",
    ),
    Case(
        "among others, on several lines",
        "from collections import (Iterable,\n    deque)\nresult = [Iterable.__name__, deque.__name__]",
        "from collections.abc import Iterable; from collections import (deque\n)\n"
        "result = [Iterable.__name__, deque.__name__]",
        "['Iterable', 'deque']",
    ),
    Case(
        "by way of the module",
        "import collections\nresult = isinstance({}, collections.Mapping)",
        "import collections, collections.abc\nresult = isinstance({}, collections.abc.Mapping)",
        "True",
    ),
    Case(
        "by another name of it",
        "import collections as c\nresult = isinstance([], c.Sequence) and isinstance({}, c.Mapping)",
        "import collections as c, collections.abc\n"
        "result = isinstance([], collections.abc.Sequence) and isinstance({}, collections.abc.Mapping)",
        "True",
    ),
    Case("what is there still", "from collections import OrderedDict\nresult = OrderedDict()", None),
    Case(
        "a variable where the module would be",
        "import collections as c\ncollections = [1]\nresult = isinstance([], c.Sequence)",
        None,
        asks=True,
    ),
    Case(
        "the processor's time",
        "import time\nresult = time.clock() >= 0",
        "import time\nresult = time.process_time() >= 0",
        "True",
    ),
    Case(
        "the same, imported alone",
        "from time import clock, time\nresult = clock() >= 0 and time() > 0",
        "from time import process_time as clock, time\nresult = clock() >= 0 and time() > 0",
        "True",
    ),
    Case(
        "a sample of a set",
        "import random\nrandom.seed(0)\n"
        "result = sorted(random.sample({1, 2}, 2)) + random.sample({3: 4}.keys(), 1)",
        "import random\nrandom.seed(0)\n"
        "result = sorted(random.sample(tuple({1, 2}), 2)) + random.sample(tuple({3: 4}.keys()), 1)",
        "[1, 2, 3]",
    ),
    Case(
        "the arguments of a function",
        "import inspect\ndef f(a, b=1):\n    pass\nresult = inspect.getargspec(f).args",
        "import inspect\ndef f(a, b=1):\n    pass\nresult = inspect.getfullargspec(f).args",
        "['a', 'b']",
    ),
    Case(
        "all that is known of them", "import inspect\na, v, k, d = inspect.getargspec(print)", None, asks=True
    ),
    Case(
        "modules that are loaded again",
        "import imp, json\nresult = imp.reload(json) is json",
        "import importlib as imp, json\nresult = imp.reload(json) is json",
        fails=False,
    ),
    Case(
        "text of bytes",
        "import base64\nresult = base64.encodestring(b'a')",
        "import base64\nresult = base64.encodebytes(b'a')",
        "b'YQ==\\n'",
    ),
)
