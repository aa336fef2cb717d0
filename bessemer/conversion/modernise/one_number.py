"""`loss.data[0]`: a tensor of one number had one element, and has no dimension since PyTorch 0.4.

It gave a number of Python's own, as `item()` does. A row of a tensor, `rows.data[0]`, is written alike and
stays: only what surely holds one number is changed (`scalars`), and what looks like a loss is asked about.
Behind `numpy()` it gave a number of NumPy's, as `ravel()[0]` does for any array of one number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Ask, Case, Change, Code, Found
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.modernise.scalars import Scalars

WORDS = frozenset({"data", "numpy", "detach"})
_PASSES = frozenset({"cpu", "detach", "numpy"})
_LIKE_A_LOSS = re.compile(r"(?:^|[._])(?:\w*loss|\w*err[DG]?|cost)(?:$|[._])", re.IGNORECASE)
_REASON = "a tensor of one number has no dimension since PyTorch 0.4: item() is the number that it gave"
_OF_NUMPY = "a tensor of one number has no dimension since PyTorch 0.4, and its array none either"


def find(code: Code) -> Iterator[Found]:
    """Yield what takes the first element of a tensor of one number."""
    scalars = Scalars(code)
    for node in code.every(cst.Subscript):
        if not _is_first(node) or not code.program.is_load(node):
            continue
        if isinstance(code.program.parents.get(node), cst.Attribute):
            continue  # a number of Python's own has nothing to be asked for
        base, through = _base(node.value)
        if "data" not in through and "detach" not in through:
            continue
        if scalars.is_one(base):
            yield _change(code, node, through)
        elif _LIKE_A_LOSS.search(code.program.code(base)):
            yield Ask(
                node,
                f"whether {code.program.code(base)} holds one number cannot be seen here; if it does, "
                f"{code.program.code(node)} fails since PyTorch 0.4",
                "write .item() in place of .data[0] if it is one number",
            )


def _is_first(node: cst.Subscript) -> bool:
    if len(node.slice) != 1:
        return False
    index = node.slice[0].slice
    return isinstance(index, cst.Index) and isinstance(index.value, cst.Integer) and index.value.value == "0"


def _base(node: cst.BaseExpression) -> tuple[cst.BaseExpression, list[str]]:
    """Return the tensor that a chain of `.data`, `.cpu()`, `.numpy()` begins with, and the chain."""
    through: list[str] = []
    while not node.lpar:
        if isinstance(node, cst.Attribute) and node.attr.value == "data":
            through.append("data")
            node = node.value
        elif (
            isinstance(node, cst.Call)
            and not node.args
            and isinstance(node.func, cst.Attribute)
            and node.func.attr.value in _PASSES
        ):
            through.append(node.func.attr.value)
            node = node.func.value
        else:
            break
    return node, through


def _change(code: Code, node: cst.Subscript, through: list[str]) -> Change:
    end = code.text.span(node)[1]
    start = code.text.whole(node.value)[1]
    if "numpy" in through:
        return Change(node, (Edit((start, start), (".ravel()",)),), _OF_NUMPY)
    if through[0] == "data" and isinstance(node.value, cst.Attribute):
        start = code.text.whole(node.value.value)[1]
    return Change(node, (Edit((start, end), (".item()",)),), _REASON)


_HEAD = """
import torch
from torch import nn
import torch.nn.functional as F
x = torch.arange(6.0).view(2, 3).requires_grad_()
y = torch.ones(2, 3)
""".lstrip()


def _case(why: str, before: str, after: str | None, gives: str = "", *, asks: bool = False) -> Case:
    return Case(why, _HEAD + before, None if after is None else _HEAD + after, gives, asks=asks)


CASES = (
    _case(
        "the loss of a criterion",
        "criterion = nn.MSELoss()\nloss = criterion(x, y)\nresult = loss.data[0]",
        "criterion = nn.MSELoss()\nloss = criterion(x, y)\nresult = loss.item()",
        "float(torch.tensor(31.0) / 6)",
    ),
    _case(
        "a loss, where it is made",
        "result = 0.0\nresult += F.l1_loss(x, y, reduction='sum').data[0]",
        "result = 0.0\nresult += F.l1_loss(x, y, reduction='sum').item()",
        "11.0",
    ),
    _case(
        "a variable that goes backward",
        "def loss_of(x, f):\n    loss = f(x)\n    loss.backward(retain_graph=True)\n    return loss.data[0]\n"
        "result = loss_of(x, lambda x: x.sum())",
        "def loss_of(x, f):\n    loss = f(x)\n    loss.backward(retain_graph=True)\n    return loss.item()\n"
        "result = loss_of(x, lambda x: x.sum())",
        "15.0",
    ),
    _case(
        "a function of the file that returns a loss",
        "def both(a, b):\n    first = F.l1_loss(a, b, reduction='sum')\n    second = -0.5 * torch.sum(a)\n"
        "    return first + second\nresult = both(x, y).data[0]",
        "def both(a, b):\n    first = F.l1_loss(a, b, reduction='sum')\n    second = -0.5 * torch.sum(a)\n"
        "    return first + second\nresult = both(x, y).item()",
        "3.5",
    ),
    _case(
        "a sum that begins with a number",
        "loss = 0\nfor row in x:\n    loss += row.sum()\nresult = loss.data[0] / len(x)",
        "loss = 0\nfor row in x:\n    loss += row.sum()\nresult = loss.item() / len(x)",
        "7.5",
    ),
    _case(
        "an attribute",
        "class Net(nn.Module):\n    def forward(self, x):\n        self.error = x.mean()\n        return x\n"
        "    def show(self):\n        return self.error.data[0]\n"
        "net = Net()\nnet(x)\nresult = net.show()",
        "class Net(nn.Module):\n    def forward(self, x):\n        self.error = x.mean()\n        return x\n"
        "    def show(self):\n        return self.error.item()\n"
        "net = Net()\nnet(x)\nresult = net.show()",
        "2.5",
    ),
    _case(
        "one of several that a function returns",
        "def parts(x):\n    return x.sum(), x\ntotal, rest = parts(x)\nresult = total.data[0]",
        "def parts(x):\n    return x.sum(), x\ntotal, rest = parts(x)\nresult = total.item()",
        "15.0",
    ),
    _case(
        "how many are right",
        "result = (x == y).sum().data[0]",
        "result = (x == y).sum().item()",
        "1",
    ),
    _case(
        "by way of the processor",
        "loss = x.sum()\nresult = [loss.data.cpu()[0], loss.cpu().data[0]]",
        "loss = x.sum()\nresult = [loss.data.cpu().item(), loss.cpu().item()]",
        "[15.0, 15.0]",
    ),
    _case(
        "as a number of NumPy's",
        "loss = x.sum()\nresult = loss.data.cpu().numpy()[0]",
        "loss = x.sum()\nresult = loss.data.cpu().numpy().ravel()[0]",
        "np.float32(15)",
    ),
    _case("the first row", "rows = x * 2\nresult = rows.data[0]", None),
    _case("the first of a sum over a dimension", "result = x.sum(1).data[0]", None),
    _case(
        "losses of a batch that are reduced later",
        "loss = F.l1_loss(x, y, reduction='none')\nfirst = loss.data[0]\nloss = loss.mean()\nloss.backward()",
        None,
        asks=True,
    ),
    _case("a loss that is not seen here", "def show(loss):\n    return loss.data[0]", None, asks=True),
    _case("a name that nothing here gives a value", "def show():\n    return rows.data[0]", None),
    _case("something that is written to", "loss = x.sum()\nw = torch.ones(1)\nw.data[0] = 3", None),
)
