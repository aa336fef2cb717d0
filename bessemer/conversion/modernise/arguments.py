"""Arguments that PyTorch does not know any more.

`volatile` has had no effect since 0.4. It told PyTorch to keep no graph of what was computed from a variable,
and nothing could go backward through that, so all numbers are the same without it. Only memory is not, and
where a `with torch.no_grad():` belongs, its author must say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Ask, Case, Change, Code, Found
from bessemer.conversion.modernise.edits import Edit

WORDS = frozenset({"Variable", "volatile", "retain_variables", "verbose", "data_tensor"})
_VARIABLES = frozenset({"torch.autograd.Variable", "torch.autograd.variable.Variable"})
_BACKWARD = frozenset({"torch.autograd.backward", "torch.autograd.grad"})
_SCHEDULER = re.compile(r"torch\.optim\.lr_scheduler\.[A-Z]\w*$")
_TENSOR_DATASETS = frozenset({"torch.utils.data.TensorDataset", "torch.utils.data.dataset.TensorDataset"})
_VOLATILE = 2


def find(code: Code) -> Iterator[Found]:
    """Yield calls with an argument that is gone."""
    asked: set[cst.CSTNode] = set()
    own = {x.name.value for x in code.every(cst.Param)}
    for call in code.calls():
        full = code.called(call)
        if full in _TENSOR_DATASETS:
            yield from _tensors(code, call)
        for place, arg in enumerate(call.args):
            name = arg.keyword.value if arg.keyword is not None else ""
            if full in _VARIABLES and (name == "volatile" or (not name and place == _VOLATILE)):
                yield from _volatile(code, call, arg, asked)
            elif name == "verbose" and _SCHEDULER.match(full):
                reason = f"{full} is silent since PyTorch 2.7: it printed when it changed a learning rate"
                yield Change(call, (code.text.removed(call, arg),), reason)
            elif name == "retain_variables" and name not in own and _goes_backward(call, full):
                assert arg.keyword is not None
                edit = Edit(code.text.span(arg.keyword), ("retain_graph",))
                yield Change(call, (edit,), "retain_variables is called retain_graph since PyTorch 0.2")


def _tensors(code: Code, call: cst.Call) -> Iterator[Found]:
    """Take the names from what a data set is made of; it is given by place, and its order is the same."""
    names = [x.keyword.value if x.keyword is not None else "" for x in call.args]
    if names in (["data_tensor", "target_tensor"], ["", "target_tensor"]):
        edits = tuple(Edit(code.text.span(x), (x.value,)) for x in call.args if x.keyword is not None)
        yield Change(
            call, edits, "a TensorDataset takes any number of tensors, without names, since PyTorch 0.4"
        )


def _goes_backward(call: cst.Call, full: str) -> bool:
    is_method = isinstance(call.func, cst.Attribute) and call.func.attr.value == "backward"
    return full in _BACKWARD or (is_method and not full)


def _volatile(code: Code, call: cst.Call, arg: cst.Arg, asked: set[cst.CSTNode]) -> Iterator[Found]:
    if arg.star or not isinstance(arg.value, cst.Name | cst.Attribute | cst.UnaryOperation):
        return
    yield Change(call, (code.text.removed(call, arg),), "volatile has had no effect since PyTorch 0.4")
    place = code.program.enclosing(call, cst.FunctionDef) or code.program.module
    is_off = isinstance(arg.value, cst.Name) and arg.value.value == "False"
    if is_off or place in asked or _is_without_gradients(code, call):
        return
    asked.add(place)
    yield Ask(
        call,
        "volatile kept no graph of what is computed from here on; now one is kept: all numbers are the same, "
        "and evaluation takes more memory and time",
        "put what was volatile under `with torch.no_grad():`, if memory is short",
    )


def _is_without_gradients(code: Code, node: cst.CSTNode) -> bool:
    for outer in code.program.ancestors(node):
        held = [x.item for x in outer.items] if isinstance(outer, cst.With) else []
        held += [x.decorator for x in outer.decorators] if isinstance(outer, cst.FunctionDef) else []
        if any(isinstance(x, cst.Call) and code.called(x) == "torch.no_grad" for x in held):
            return True
    return False


_HEAD = "import torch\nfrom torch.autograd import Variable\nx = torch.arange(3.0)\n"
_STEP = (
    "import torch\nfrom torch.optim.lr_scheduler import {0}\nlayer = torch.nn.Linear(1, 1)\n"
    "optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)\nscheduler = {1}\n"
    "result = optimizer.param_groups[0]['lr']"
)
_PLATEAU = "ReduceLROnPlateau"

CASES = (
    Case(
        "a data set of two tensors",
        f"{_HEAD}from torch.utils.data import TensorDataset\n"
        "result = TensorDataset(data_tensor=x, target_tensor=(x + 1))[1]",
        f"{_HEAD}from torch.utils.data import TensorDataset\nresult = TensorDataset(x, (x + 1))[1]",
        "(torch.tensor(1.0), torch.tensor(2.0))",
    ),
    Case(
        "volatile",
        f"{_HEAD}result = Variable(x, volatile=True)",
        f"{_HEAD}result = Variable(x)",
        fails=False,
        asks=True,
    ),
    Case(
        "volatile, before another argument",
        f"{_HEAD}result = Variable(volatile=True, data=x, requires_grad=False)",
        f"{_HEAD}result = Variable(data=x, requires_grad=False)",
        fails=False,
        asks=True,
    ),
    Case(
        "volatile by its place",
        f"{_HEAD}result = Variable(x, False, True)",
        f"{_HEAD}result = Variable(x, False)",
        fails=False,
        asks=True,
    ),
    Case(
        "volatile where no gradients are computed anyway",
        f"{_HEAD}with torch.no_grad():\n    result = Variable(x,\n        volatile=True)\nline = 6",
        f"{_HEAD}with torch.no_grad():\n    result = Variable(x\n)\nline = 6",
        fails=False,
    ),
    Case("not volatile", f"{_HEAD}result = Variable(x, requires_grad=True)", None),
    Case(
        "a variable of one's own",
        "def Variable(x, volatile=False):\n    return x\nVariable(1, volatile=True)",
        None,
    ),
    Case(
        "a graph that is kept",
        f"{_HEAD}y = Variable(x, requires_grad=True)\nloss = (y * y).sum()\n"
        "loss.backward(retain_variables=True)\nloss.backward()\nresult = y.grad",
        f"{_HEAD}y = Variable(x, requires_grad=True)\nloss = (y * y).sum()\n"
        "loss.backward(retain_graph=True)\nloss.backward()\nresult = y.grad",
        "4 * torch.arange(3.0)",
    ),
    Case(
        "a backward of one's own",
        "class A:\n    def backward(self, retain_variables):\n        pass\n"
        "A().backward(retain_variables=True)",
        None,
    ),
    Case(
        "a scheduler that speaks",
        _STEP.format(_PLATEAU, f"{_PLATEAU}(optimizer, 'min', verbose=True, patience=2)"),
        _STEP.format(_PLATEAU, f"{_PLATEAU}(optimizer, 'min', patience=2)"),
        "0.1",
    ),
    Case(
        "a scheduler of steps",
        _STEP.format("StepLR", "StepLR(optimizer, 1, verbose=False)"),
        _STEP.format("StepLR", "StepLR(optimizer, 1)"),
        "0.1",
    ),
)
