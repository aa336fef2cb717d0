"""`criterion(output, target[i])`: one label of several was a tensor of one element, and has no dimension now.

Since PyTorch 0.4 an index takes the dimension away, and losses over classes want one. Only in a file that
did not run since then for another reason (`loss.data[0]`): a file of today may mean a sample without a batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise import one_number
from bessemer.conversion.modernise.base import Case, Change, Code, Found
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.modernise.scalars import Scalars
from bessemer.conversion.syntax import argument

WORDS = frozenset({"CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss"})
_CRITERIA = frozenset({"torch.nn.CrossEntropyLoss", "torch.nn.NLLLoss"})
_FUNCTIONS = frozenset({"torch.nn.functional.cross_entropy", "torch.nn.functional.nll_loss"})
_REASON = (
    "one label of a tensor has no dimension since PyTorch 0.4, where it had one element; "
    "what has dimensions stays as it is"
)


def find(code: Code) -> Iterator[Found]:
    """Yield labels that are taken by an index and handed to a loss over classes."""
    scalars = Scalars(code)
    labels = [label for call in code.calls() if (label := _label(code, scalars, call)) is not None]
    torch = _torch(code)
    if not labels or not torch or not _is_old(code):
        return
    for label in labels:
        start, end = code.text.span(label)
        edits = (Edit((start, start), (f"{torch}.atleast_1d(",)), Edit((end, end), (")",)))
        yield Change(label, edits, _REASON)


def _label(code: Code, scalars: Scalars, call: cst.Call) -> cst.Subscript | None:
    """Return the labels that a loss over classes is given, if they are one of several."""
    is_function = code.called(call) in _FUNCTIONS
    if not is_function and not scalars.is_made(call.func, lambda x: code.called(x) in _CRITERIA):
        return None
    found = argument(call, "target", 1)
    if not isinstance(found, cst.Subscript) or len(found.slice) != 1:
        return None
    index = found.slice[0].slice
    is_place = isinstance(index, cst.Index) and isinstance(index.value, cst.Integer | cst.Name)
    return found if is_place else None


def _torch(code: Code) -> str:
    """Return what the file calls torch wherever it is read, or ""."""
    for statement in code.every(cst.Import):
        for alias in statement.names:
            if isinstance(alias.name, cst.Name) and alias.name.value == "torch":
                name = alias.evaluated_alias or "torch"
                uses = [x for x in code.every(cst.Name) if x.value == name]
                bound = {y for x in uses for y in code.program.bindings(x)}
                return name if bound == {statement} else ""
    return ""


def _is_old(code: Code) -> bool:
    """Tell whether the file takes the first element of a loss, which fails since the same version."""
    return any(isinstance(x, Change) for x in one_number.find(code))


def _case(why: str, body: str, after: str | None, *, gives: str = "", is_old: bool = True) -> Case:
    head = (
        "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
        "torch.manual_seed(0)\nx = torch.zeros(1, 4)\nlabels = torch.tensor([1, 3])\n"
        "criterion = nn.CrossEntropyLoss()\n"
    )
    then = "\nresult = round(loss.{}, 4)".format
    old, new = (then("data[0]"), then("item()")) if is_old else (then("item()"), then("item()"))
    changed = f"{head}{after}{new}" if after is not None else f"{head}{body}{new}" if is_old else None
    return Case(why, head + body + old, changed, gives)


CASES = (
    _case(
        "a label of a line",
        "i = 1\nloss = criterion(x, labels[i])",
        "i = 1\nloss = criterion(x, torch.atleast_1d(labels[i]))",
        gives="1.3863",
    ),
    _case(
        "labels that are summed up",
        "loss = 0\nfor i in range(2):\n    loss += F.nll_loss(F.log_softmax(x, 1), target=labels[i])",
        "loss = 0\nfor i in range(2):\n"
        "    loss += F.nll_loss(F.log_softmax(x, 1), target=torch.atleast_1d(labels[i]))",
        gives="2.7726",
    ),
    _case(
        "a row of labels keeps its dimension",
        "rows = labels.view(2, 1)\nloss = criterion(x, rows[0])",
        "rows = labels.view(2, 1)\nloss = criterion(x, torch.atleast_1d(rows[0]))",
        gives="1.3863",
    ),
    _case("several labels", "loss = criterion(x, labels[:1])", None, gives="1.3863"),
    _case("a sample without a batch", "loss = criterion(x[0], labels[0])", None, is_old=False),
)
