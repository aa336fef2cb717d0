"""The kinds of things that matter to the converter: what they are, what makes them, how they join."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import libcst as cst


class Kind(Enum):
    """The kinds of things that matter to the converter."""

    MODULE = "torch.nn.Module"
    CRITERION = "a loss object of torch.nn"
    OPTIMIZER = "optimizer"
    SCHEDULER = "learning rate scheduler"
    SCALER = "gradient scaler"
    PARAMETER = "a tensor that is trained and is on no model"
    LOADER = "loader"
    BATCHES = "iterator over a loader, whose place the loader keeps"
    BAR = "progress bar around an iterable"
    DATASET = "dataset"
    DEVICE = "torch.device"
    DEVICE_NAME = "name of a device"
    SETTINGS = "parsed options"
    OBJECT = "an instance of one of the program's own classes, or a namespace"
    NUMBER = "a whole number that is written out"
    NOTHING = "None"
    TUPLE = "tuple"
    SEVERAL = "things of one kind in a list or dictionary, whose number is not known"


@dataclass(frozen=True)
class Value:
    """A kind, where values of it were made, and for a tuple what is in it.

    `origins` are the constructor calls that the value may come from; `optional` says that it may
    also be None; `owner` is the program's own class that it is an instance of. What stands for several
    things has one of them as its only item, and its origins.
    """

    kind: Kind
    origins: frozenset[cst.Call] = frozenset()
    items: tuple[Value | None, ...] = ()
    optional: bool = False
    owner: cst.ClassDef | None = None


STATEFUL = frozenset({Kind.MODULE, Kind.OPTIMIZER, Kind.SCHEDULER, Kind.SCALER})
"""Kinds with a state that must survive a crash."""

NEVER_CARRIED = STATEFUL | {
    Kind.LOADER,
    Kind.BATCHES,
    Kind.DATASET,
    Kind.DEVICE,
    Kind.CRITERION,
    Kind.SETTINGS,
}
"""Kinds that survive, or are made again, in a way of their own."""

_IN_LISTS = STATEFUL | {Kind.PARAMETER, Kind.CRITERION, Kind.LOADER}

BARS = frozenset({"tqdm.tqdm", "tqdm", "tqdm.tqdm_notebook", "rich.progress.track"})
DATASET_BASES = (
    "torch.utils.data.Dataset",
    "torch.utils.data.IterableDataset",
    "torch.utils.data.TensorDataset",
    "torch.utils.data.ConcatDataset",
    "torch.utils.data.Subset",
)
_MADE = {
    "torch.device": Kind.DEVICE,
    "torch.accelerator.current_accelerator": Kind.DEVICE,
    "torch.utils.data.DataLoader": Kind.LOADER,
    "torch.nn.Parameter": Kind.PARAMETER,
    "types.SimpleNamespace": Kind.OBJECT,
    "torch.amp.GradScaler": Kind.SCALER,
    "torch.cuda.amp.GradScaler": Kind.SCALER,
}


def kind_made_by(name: str) -> Kind | None:
    """Return the kind of what a call of an imported function or class makes.

    Args:
        name: its full dotted name.
    """
    last = name.rpartition(".")[2]
    if name in _MADE:
        return _MADE[name]
    if name in DATASET_BASES or name.startswith("torchvision.datasets."):
        return Kind.DATASET
    if name.startswith("torch.optim.lr_scheduler."):
        return Kind.SCHEDULER
    if name.startswith("torch.optim.") and last[:1].isupper():
        return Kind.OPTIMIZER
    if name.startswith("torch.nn.") and last.endswith("Loss"):
        return Kind.CRITERION
    is_layer = name.startswith("torch.nn.") and last[:1].isupper()
    if is_layer and not name.startswith(("torch.nn.functional.", "torch.nn.utils.")):
        return None if last == "Buffer" else Kind.MODULE
    is_model = name.startswith("torchvision.models.") and not last.endswith("_Weights")
    return Kind.MODULE if is_model else None


def several(element: Value | None) -> Value | None:
    """Return the value of a list of things of one kind, if it is one that is followed there."""
    if element is None or element.kind not in _IN_LISTS:
        return None
    return Value(Kind.SEVERAL, element.origins, (element,))


def element_of(value: Value | None) -> Value | None:
    """Return what any of the things in a tuple, a list or a dictionary may be."""
    is_known = value is not None and value.kind in (Kind.TUPLE, Kind.SEVERAL)
    return joined(value.items) if value is not None and is_known else None


def item_of(value: Value | None, path: list[int]) -> Value | None:
    """Return what stands in a tuple at a path of indices, the innermost first; None if that is unknown."""
    for index in reversed(path):
        if value is not None and value.kind is Kind.SEVERAL:
            value = value.items[0]
        elif value is None or value.kind is not Kind.TUPLE or index >= len(value.items):
            return None
        else:
            value = value.items[index]
    return value


def together(columns: Sequence[Value | None]) -> Value | None:
    """Return what `zip` makes of lists: tuples of what goes together."""
    lengths = [len(x.items) for x in columns if x is not None and x.kind is Kind.TUPLE]
    if not lengths:
        rows = Value(Kind.TUPLE, items=tuple(element_of(x) for x in columns))
        origins = frozenset[cst.Call]().union(*(x.origins for x in columns if x is not None))
        return Value(Kind.SEVERAL, origins, (rows,)) if any(rows.items) else None
    rows_of = zip(*(_column(x, min(lengths)) for x in columns), strict=True)
    return Value(Kind.TUPLE, items=tuple(Value(Kind.TUPLE, items=row) for row in rows_of))


def _column(value: Value | None, length: int) -> tuple[Value | None, ...]:
    if value is not None and value.kind is Kind.TUPLE:
        return value.items[:length]
    return (element_of(value),) * length


def joined(values: Iterable[Value | None]) -> Value | None:
    """Return what several values have in common; beside `None` it is optional."""
    found = [value for value in values if value is not None]
    solid = [value for value in found if value.kind is not Kind.NOTHING] or found[:1]
    if not solid or len({value.kind for value in solid}) > 1:
        kinds = {value.kind for value in solid}
        if kinds == {Kind.DEVICE, Kind.DEVICE_NAME}:
            return Value(Kind.DEVICE_NAME)
        return None
    optional = len(solid) < len(found) or any(value.optional for value in solid)
    owner = solid[0].owner if len({value.owner for value in solid}) == 1 else None
    first = replace(solid[0], optional=optional, owner=owner)
    if first.kind is Kind.TUPLE:
        if len({len(value.items) for value in solid}) > 1:
            return None
        columns = zip(*(value.items for value in solid), strict=True)
        return replace(first, items=tuple(joined(column) for column in columns))
    origins: frozenset[cst.Call] = frozenset().union(*(value.origins for value in solid))
    items = (joined(value.items[0] for value in solid),) if first.kind is Kind.SEVERAL else ()
    return replace(first, origins=origins, items=items)
