"""Files that are read with a default that became safer: what was read before must be asked for now.

`torch.load` reads weights only since 2.6, `yaml.load` wants to be told how since PyYAML 6, `np.load`
unpickles nothing since 1.16.3. Unpickling can run code that is in the file, and that is said where it is
asked for. What goes straight into `load_state_dict` is weights, and is read in the safe way; so is all that a
file loads which saves weights and plain numbers only.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Ask, Case, Change, Code, Found, Leave
from bessemer.conversion.syntax import argument

WORDS = frozenset({"load", "load_all"})
_RISK = "which can run code that is in it"


def find(code: Code) -> Iterator[Found]:
    """Yield calls that read files in the old way."""
    saved = [x.args[0].value for x in code.calls() if code.called(x) == "torch.save" and x.args]
    is_safe = bool(saved) and all(_is_plain(code, x) for x in saved)
    for call in code.calls():
        full = code.called(call)
        if not call.args or any(x.star for x in call.args):
            continue
        if full == "torch.load" and argument(call, "weights_only") is None and not is_safe:
            yield from _torch(code, call, bool(saved))
        elif full in ("yaml.load", "yaml.load_all") and argument(call, "Loader", 1) is None:
            yield _yaml(code, call, full)
        elif full == "numpy.load" and argument(call, "allow_pickle", 2) is None and _is_object(code, call):
            reason = f"since NumPy 1.16.3 np.load unpickles nothing unless told to: that reads this, {_RISK}"
            yield Change(call, (code.text.added(call, "allow_pickle=True"),), reason)


def _torch(code: Code, call: cst.Call, saves: bool) -> Iterator[Found]:
    holder = code.program.parents.get(code.program.parent(call))
    if (
        isinstance(holder, cst.Call)
        and isinstance(holder.func, cst.Attribute)
        and holder.func.attr.value == "load_state_dict"
    ):
        return
    reason = (
        "since PyTorch 2.6 torch.load refuses all but weights; it unpickled the file, and does so still, "
        f"{_RISK}: read none from people you do not trust"
    )
    yield Change(call, (code.text.added(call, "weights_only=False"),), reason)
    if not saves:
        yield Ask(
            call,
            f"this file is unpickled, {_RISK}, and nothing beside this line writes it",
            "weights_only=True if it holds only weights, or if you do not trust who made it",
        )


def _is_plain(code: Code, node: cst.BaseExpression, depth: int = 6) -> bool:
    """Tell whether what is saved is surely made of weights, texts and numbers of Python's own."""
    match node:
        case cst.Integer() | cst.Float() | cst.SimpleString():
            return True
        case cst.Call(func=cst.Attribute(attr=cst.Name("state_dict" | "item"))):
            return True
        case cst.BinaryOperation():
            return _is_plain(code, node.left, depth) and _is_plain(code, node.right, depth)
        case cst.Dict():
            held = [x.value for x in node.elements if isinstance(x, cst.DictElement)]
            return len(held) == len(node.elements) and all(_is_plain(code, x, depth) for x in held)
        case cst.Name() if depth > 0:
            given = [_given(code, x) for x in code.program.bindings(node)]
            return bool(given) and all(x is not None and _is_plain(code, x, depth - 1) for x in given)
    return False


def _given(code: Code, target: cst.CSTNode) -> cst.BaseExpression | None:
    """Return what a name is given; a counter of `range` is given a number."""
    holder = code.program.parents.get(target)
    if isinstance(holder, cst.For) and isinstance(holder.iter, cst.Call):
        return cst.Integer("0") if code.called(holder.iter) == "builtins.range" else None
    statement = code.program.parents.get(holder) if isinstance(holder, cst.AssignTarget) else None
    return statement.value if isinstance(statement, cst.Assign) else None


def _yaml(code: Code, call: cst.Call, full: str) -> Found:
    reason = f"{full} must be told since PyYAML 6 how to read"
    if not isinstance(call.func, cst.Attribute):
        return Leave(call, f"{reason}; give it Loader=yaml.FullLoader")
    module = code.text.code(code.text.span(call.func.value))
    edit = code.text.added(call, f"Loader={module}.FullLoader")
    return Change(call, (edit,), f"{reason}: as PyYAML 5 did, which runs no code that is in the file")


def _is_object(code: Code, call: cst.Call) -> bool:
    """Tell whether one object is taken out of an array, as only pickled ones are: `np.load(f).item()`."""
    method = code.program.parents.get(call)
    asked = code.program.parents.get(method) if method is not None else None
    return (
        isinstance(method, cst.Attribute)
        and method.attr.value == "item"
        and isinstance(asked, cst.Call)
        and not asked.args
    )


_FILE = "import io\nfile = io.BytesIO()\n"
_SAVED = f"import torch\n{_FILE}torch.save(torch.nn.ReLU(), file)\nfile.seek(0)\n"
_STATE = "import torch\nlayer = torch.nn.Linear(1, 1)\nlayer.load_state_dict(torch.load('state.pt'))"

CASES = (
    Case(
        "what the program saved itself",
        f"{_SAVED}result = str(torch.load(file))",
        f"{_SAVED}result = str(torch.load(file, weights_only=False))",
        "'ReLU()'",
    ),
    Case(
        "what others made",
        "import torch\ndef read(path):\n    return torch.load(path, map_location='cpu')",
        "import torch\ndef read(path):\n    return torch.load(path, map_location='cpu', weights_only=False)",
        asks=True,
        runs=False,
    ),
    Case("weights", _STATE, None),
    Case(
        "weights and numbers that the file saves itself",
        f"import torch\n{_FILE}layer = torch.nn.Linear(1, 1)\nfor epoch in range(2):\n"
        "    state = {'epoch': epoch + 1, 'net': layer.state_dict(), 'kind': 'a'}\n"
        "    torch.save(state, file)\nfile.seek(0)\nresult = torch.load(file)['epoch']",
        None,
    ),
    Case("a way that is given", "import torch\ndef f(p):\n    return torch.load(p, weights_only=True)", None),
    Case(
        "settings",
        "import yaml\nresult = yaml.load('rate: 0.1')",
        "import yaml\nresult = yaml.load('rate: 0.1', Loader=yaml.FullLoader)",
        "{'rate': 0.1}",
        needs=("yaml",),
    ),
    Case("a loader that is given", "import yaml\nresult = yaml.load('a: 1', yaml.Loader)", None),
    Case(
        "a function that is imported alone", "from yaml import load\nresult = load('a: 1')", None, asks=True
    ),
    Case(
        "an object in an array",
        f"import numpy as np\n{_FILE}np.save(file, {{'a': 1}}, allow_pickle=True)\nfile.seek(0)\n"
        "result = np.load(file).item()",
        f"import numpy as np\n{_FILE}np.save(file, {{'a': 1}}, allow_pickle=True)\nfile.seek(0)\n"
        "result = np.load(file, allow_pickle=True).item()",
        "{'a': 1}",
    ),
    Case("an array", "import numpy as np\ndef f(p):\n    return np.load(p)", None),
)
