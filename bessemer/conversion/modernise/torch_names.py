"""Names that PyTorch has taken away or will, each with one that does the same.

Functions that changed a tensor in place got an underscore. What only has another default, another order of
arguments or another shape of results is no name: `algebra` has the first, the last stays and is named here.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found, Leave
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.modernise.renaming import New, renamed
from bessemer.conversion.syntax import source_module

_V04 = "PyTorch 0.4"
_INITIALIZERS = (
    "uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal", "kaiming_uniform",
    "kaiming_normal", "orthogonal", "sparse",
)  # fmt: skip

TABLE = {
    **{f"torch.nn.init.{x}": New(f"torch.nn.init.{x}_", _V04, is_gone=False) for x in _INITIALIZERS},
    "torch.nn.utils.clip_grad_norm": New("torch.nn.utils.clip_grad_norm_", _V04, is_gone=False),
    "torch.nn.functional.upsample": New(
        "torch.nn.functional.interpolate", "PyTorch 0.4.1", "it called it", is_gone=False
    ),
    "torch.nn.functional.nll_loss2d": New(
        "torch.nn.functional.nll_loss", "PyTorch 1.0", "it takes images as well"
    ),
    "torch.nn.NLLLoss2d": New("torch.nn.NLLLoss", _V04, "it takes images as well", is_gone=False),
    "torch._six.inf": New("math.inf", "PyTorch 1.13"),
    "torch._six.nan": New("math.nan", "PyTorch 1.13"),
}
_GONE = {
    "torch.utils.ffi": "PyTorch 1.0 took away the extensions that were built by ffi",
    "torch.legacy": "PyTorch 1.0 took away Lua Torch's modules",
    "torch.utils.serialization": "PyTorch 1.0 took away the reading of Lua Torch's files",
    "torchtext": "the last version of torchtext is of PyTorch 2.3",
    "torch.rfft": "torch.fft.rfft has complex numbers since PyTorch 1.8",
    "torch.irfft": "torch.fft.irfft has complex numbers since PyTorch 1.8",
    "torch.ifft": "torch.fft.ifft has complex numbers since PyTorch 1.8",
    "torch.eig": "torch.linalg.eig has complex numbers since PyTorch 1.9",
    "torch.lstsq": "torch.linalg.lstsq has other results and another order since PyTorch 1.9",
    "torch.gels": "torch.linalg.lstsq has other results and another order since PyTorch 1.9",
}
_SIX = {
    "string_classes": "(str, bytes)",
    "int_classes": "int",
    "container_abcs": "",
}

WORDS = (
    frozenset(x.rpartition(".")[2] for x in TABLE)
    | frozenset(x.rpartition(".")[2] for x in _GONE)
    | frozenset(_SIX)
)


def find(code: Code) -> Iterator[Found]:
    """Yield what PyTorch does not have any more, or will not."""
    yield from renamed(code, TABLE)
    for statement in code.imports():
        yield from _six(code, statement)
    yield from _imported_modules(code)
    for name, full in code.read:
        if full in _GONE:
            yield Leave(name, f"it fails: {_GONE[full]}; it must be written anew")


def _imported_modules(code: Code) -> Iterator[Found]:
    """Yield the imports of modules that are gone."""
    imported: list[tuple[cst.CSTNode, list[str]]] = [
        (x, [y.evaluated_name for y in x.names]) for x in code.every(cst.Import)
    ]
    imported += [(x, [source_module(x)]) for x in code.imports()]
    for statement, names in imported:
        for gone, reason in _GONE.items():
            if any(x == gone or x.startswith(f"{gone}.") for x in names):
                yield Leave(statement, f"it fails: {reason}; it must be written anew")


def _six(code: Code, statement: cst.ImportFrom) -> Iterator[Found]:
    """Say what `torch._six` named, which only knew Python 2 from 3."""
    if source_module(statement) != "torch._six" or isinstance(statement.names, cst.ImportStar):
        return
    if any(x.evaluated_name not in _SIX for x in statement.names):
        return
    pieces = []
    for alias in statement.names:
        name, bound = alias.evaluated_name, alias.evaluated_alias or alias.evaluated_name
        is_module = name == "container_abcs"
        pieces.append(f"import collections.abc as {bound}" if is_module else f"{bound} = {_SIX[name]}")
    edit = Edit(code.text.span(statement), ("; ".join(pieces),))
    yield Change(statement, (edit,), "torch._six is gone since PyTorch 1.13: this is what it named")


_NN = "import torch\nfrom torch import nn\n"


def _initializers() -> Iterator[Case]:
    values = {
        "constant": "0.5", "eye": "", "dirac": "", "sparse": "0.5", "uniform": "0, 1", "normal": "0, 1",
    }  # fmt: skip
    for name in _INITIALIZERS:
        weight = "torch.zeros(2, 2, 3)" if name == "dirac" else "torch.zeros(2, 3)"
        rest = f", {values[name]}" if values.get(name) else ""
        yield Case(
            name,
            f"{_NN}result = nn.init.{name}({weight}{rest})",
            f"{_NN}result = nn.init.{name}_({weight}{rest})",
            fails=False,
        )


_CLIP = (
    "from torch import nn\nfrom torch.nn.utils import clip_grad_norm{0}\n"
    "layer = nn.Linear(2, 1)\nlayer.weight.sum().backward()\nresult = clip_grad_norm(layer.parameters(), 0.5)"
)

CASES = (
    *_initializers(),
    Case(
        "by the name that an import gives it",
        "import torch\nfrom torch.nn.init import xavier_uniform as start, calculate_gain\n"
        "result = start(torch.zeros(2, 3))",
        "import torch\nfrom torch.nn.init import xavier_uniform_ as start, calculate_gain\n"
        "result = start(torch.zeros(2, 3))",
        fails=False,
    ),
    Case(
        "clipping gradients",
        _CLIP.format(""),
        _CLIP.format("_ as clip_grad_norm"),
        fails=False,
    ),
    Case(
        "making images larger",
        "import torch\nimport torch.nn.functional as F\n"
        "result = F.upsample(torch.rand(1, 1, 2, 2), scale_factor=2)",
        "import torch\nimport torch.nn.functional as F\n"
        "result = F.interpolate(torch.rand(1, 1, 2, 2), scale_factor=2)",
        fails=False,
    ),
    Case(
        "a loss of images",
        f"{_NN}result = nn.NLLLoss2d()(torch.ones(1, 2, 1, 1), torch.zeros(1, 1, 1).long())",
        f"{_NN}result = nn.NLLLoss()(torch.ones(1, 2, 1, 1), torch.zeros(1, 1, 1).long())",
        fails=False,
    ),
    Case(
        "infinity",
        "from torch._six import inf\nresult = inf",
        "from math import inf\nresult = inf",
        "float('inf')",
    ),
    Case(
        "kinds of containers and strings",
        "from torch._six import container_abcs, string_classes\n"
        "result = [isinstance({}, container_abcs.Mapping), isinstance('', string_classes)]",
        "import collections.abc as container_abcs; string_classes = (str, bytes)\n"
        "result = [isinstance({}, container_abcs.Mapping), isinstance('', string_classes)]",
        "[True, True]",
    ),
    Case("a method of that name", "class A:\n    def normal(self):\n        return self.normal", None),
    Case(
        "that is there still", f"{_NN}import torch.nn.functional as F\nresult = F.tanh(torch.ones(1))", None
    ),
    Case("that is gone", "import torch\nresult = torch.rfft(torch.ones(4), 1)", None, asks=True),
    Case("a library that is gone", "from torchtext import data", None, asks=True),
)
