"""`Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))` of images that have one channel.

Up to torchvision 0.2 channels, means and deviations were gone through together, up to the shortest of them;
since then three means for one channel fail. Only where the images surely have one: those of MNIST and of the
sets in its format, through transforms that leave channels as they are. torchvision is not installed beside
this, so the cases are not run.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.syntax import argument

WORDS = frozenset({"Normalize"})
_SETS = frozenset(f"torchvision.datasets.{x}" for x in ("MNIST", "FashionMNIST", "KMNIST", "QMNIST"))
_TRANSFORMS = "torchvision.transforms."
_KEEPING = frozenset(
    {"ToTensor", "Normalize", "Resize", "Scale", "CenterCrop", "RandomCrop", "RandomResizedCrop", "Pad"}
    | {"RandomHorizontalFlip", "RandomVerticalFlip", "RandomRotation", "RandomAffine", "RandomErasing"}
)
_TRANSFORM_POSITION = 2
_REASON = (
    "MNIST has one channel: up to torchvision 0.2 the other means and deviations were not looked at, "
    "since then they fail"
)


def find(code: Code) -> Iterator[Found]:
    """Yield normalisations of one channel with the numbers of several."""
    given = {
        value
        for call in code.calls()
        if code.called(call) in _SETS
        if (value := argument(call, "transform", _TRANSFORM_POSITION)) is not None
    }
    pipelines = {x for value in given if (x := _pipeline(code, value, given)) is not None}
    for pipeline in sorted(pipelines, key=code.program.place):
        for call in _steps(code, pipeline):
            edits = _edits(code, call) if code.called(call) == f"{_TRANSFORMS}Normalize" else ()
            if edits:
                yield Change(call, edits, _REASON)


def _pipeline(code: Code, value: cst.BaseExpression, given: set[cst.BaseExpression]) -> cst.Call | None:
    """Return the call that makes a transform, if it goes to such sets and nowhere else."""
    if isinstance(value, cst.Call):
        return value
    bound = code.program.bindings(value) if isinstance(value, cst.Name) else ()
    if len(bound) != 1:
        return None
    uses = [
        x for x in code.every(cst.Name) if code.program.is_load(x) and bound[0] in code.program.bindings(x)
    ]
    target = code.program.parents.get(bound[0])
    made = code.program.parents.get(target) if isinstance(target, cst.AssignTarget) else None
    if not isinstance(made, cst.Assign) or not set(uses) <= given:
        return None
    return made.value if isinstance(made.value, cst.Call) else None


def _steps(code: Code, pipeline: cst.Call) -> list[cst.Call]:
    """Return the transforms of a `Compose`, if each leaves the channels of an image as they are."""
    listed = argument(pipeline, "transforms", 0)
    if code.called(pipeline) != f"{_TRANSFORMS}Compose" or not isinstance(listed, cst.List | cst.Tuple):
        return []
    steps = [x.value for x in listed.elements if isinstance(x.value, cst.Call)]
    names = {code.called(x).removeprefix(_TRANSFORMS) for x in steps}
    return steps if len(steps) == len(listed.elements) and names <= _KEEPING else []


def _edits(code: Code, call: cst.Call) -> tuple[Edit, ...]:
    """Return the edits that leave the first mean and the first deviation; none if there is but one."""
    numbers = [argument(call, name, place) for place, name in enumerate(("mean", "std"))]
    edits = []
    for several in numbers:
        if not isinstance(several, cst.Tuple | cst.List) or len(several.elements) < 2:
            return ()
        first, last = several.elements[0].value, several.elements[-1].value
        comma = "," if isinstance(several, cst.Tuple) else ""
        start, end = code.text.whole(first)[1], code.text.whole(last)[1]
        edits.append(Edit((start, end), (comma,)))
    return tuple(edits)


def _case(why: str, before: str, after: str | None) -> Case:
    head = "from torchvision import datasets, transforms\n"
    return Case(why, head + before, head + after if after is not None else None, runs=False)


_OF_THREE = (
    "way = transforms.Compose([transforms.ToTensor(),\n"
    "                          transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])\n"
)
CASES = (
    _case(
        "three means for one channel",
        _OF_THREE
        + "train = datasets.MNIST('data', transform=way)\ntest = datasets.MNIST('data', False, way)",
        "way = transforms.Compose([transforms.ToTensor(),\n"
        "                          transforms.Normalize((0.5,), (0.5,))])\n"
        "train = datasets.MNIST('data', transform=way)\ntest = datasets.MNIST('data', False, way)",
    ),
    _case(
        "in the call itself, as lists",
        "train = datasets.FashionMNIST('data', transform=transforms.Compose([\n"
        "    transforms.ToTensor(), transforms.Normalize(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6]),\n]))",
        "train = datasets.FashionMNIST('data', transform=transforms.Compose([\n"
        "    transforms.ToTensor(), transforms.Normalize(mean=[0.1], std=[0.4]),\n]))",
    ),
    _case(
        "one mean",
        "way = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])\n"
        "train = datasets.MNIST('data', transform=way)",
        None,
    ),
    _case(
        "images of three channels use it too",
        _OF_THREE
        + "train = datasets.MNIST('data', transform=way)\ntest = datasets.SVHN('data', transform=way)",
        None,
    ),
    _case(
        "channels that are repeated",
        "way = transforms.Compose([transforms.Grayscale(3), transforms.ToTensor(),\n"
        "                          transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])\n"
        "train = datasets.MNIST('data', transform=way)",
        None,
    ),
)
