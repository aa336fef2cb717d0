"""Functions of autograd that are objects: `forward(self, x)`, which PyTorch 1.5 and later refuse.

What they keep on `self` between `forward` and `backward` would have to become a context, and the calls of
objects `apply`: nothing that a rule can do without changing what is computed. So they are named, and stay.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Code, Found, Leave
from bessemer.conversion.syntax import method_named

WORDS = frozenset({"Function", "InplaceFunction"})
_BASES = frozenset(
    f"torch.autograd.{x}"
    for x in ("Function", "function.Function", "InplaceFunction", "function.InplaceFunction")
)


def find(code: Code) -> Iterator[Found]:
    """Yield the classes whose `forward` is a method of an object."""
    for owner in code.every(cst.ClassDef):
        forward = method_named(owner, "forward")
        if forward is None or not any(code.program.imported(x.value) in _BASES for x in owner.bases):
            continue
        if not any(getattr(x.decorator, "value", "") == "staticmethod" for x in forward.decorators):
            yield Leave(
                forward,
                f"{owner.name.value} is a function of autograd in the style before PyTorch 0.2, which fails "
                "since 1.5: make forward and backward static methods that are given a context, and call "
                f"{owner.name.value}.apply(...)",
            )


_CLASS = "import torch\nclass Twice(torch.autograd.Function):\n"

CASES = (
    Case(
        "an object",
        f"{_CLASS}    def forward(self, x):\n        return 2 * x\n"
        "    def backward(self, g):\n        return 2 * g",
        None,
        asks=True,
    ),
    Case(
        "static methods",
        f"{_CLASS}    @staticmethod\n    def forward(ctx, x):\n        return 2 * x\n",
        None,
    ),
    Case(
        "a class of that name",
        "class Function:\n    pass\nclass A(Function):\n    def forward(self, x):\n        return x",
        None,
    ),
)
