"""Says whether two runs computed the same: every logged point and every tracked value, bit by bit.

Pure: what is compared was read elsewhere. Metrics that measure time differ between any two runs and
do not count. A run at another number of workers adds in another order, so `within` compares it
up to a relative tolerance.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bessemer.utils.bits import bytes_of

Point = tuple[str, int, float]

_VALUES_SHOWN = 3
_OF_TIME = ("epoch/duration_s", "epoch/samples_per_s", "epoch/data_wait_fraction")
_OF_TIME_PREFIXES = ("system/", "timing/", "usage/")


@dataclass(frozen=True)
class Result:
    """What a run came to, as far as it must not depend on what happened to it.

    Attributes:
        points: (name, step, value) of every logged metric.
        tracked: state of what the program tracks, in the last checkpoint.
        step: optimizer steps of that checkpoint (count).
    """

    points: tuple[Point, ...]
    tracked: Mapping[str, Any]
    step: int


@dataclass(frozen=True)
class Difference:
    """The first place where two runs differ.

    Attributes:
        where: a metric and its step, or a path in the tracked state.
        reference: value of the undisturbed run.
        found: value of the other run.
    """

    where: str
    reference: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reference} undisturbed, {self.found} here"


def is_of_time(name: str) -> bool:
    """Say whether a metric measures time or the machine, so that no two runs agree on it."""
    return name in _OF_TIME or name.startswith(_OF_TIME_PREFIXES)


def first_difference(reference: Result, found: Result) -> Difference | None:
    """Compare two runs to the last bit; return the first difference, points before weights."""
    return (
        _in_steps(reference, found)
        or _in_points(reference.points, found.points, _same_bits)
        or _in_state(reference.tracked, found.tracked, _same_bits)
    )


def first_beyond(reference: Result, found: Result, relative: float) -> Difference | None:
    """Compare two runs up to a relative tolerance; return the first difference."""

    def near(one: float, other: float) -> bool:
        return _same_bits(one, other) or math.isclose(one, other, rel_tol=relative, abs_tol=relative)

    return (
        _in_steps(reference, found)
        or _in_points(reference.points, found.points, near)
        or _in_state(reference.tracked, found.tracked, near, relative)
    )


def first_of_other_steps(reference: Result, found: Result) -> Difference | None:
    """Compare only which metrics were logged at which steps, not their values."""
    return _in_steps(reference, found) or _in_points(reference.points, found.points, lambda *_values: True)


def is_exact_enough(tracked: Mapping[str, Any]) -> bool:
    """Say whether all weights are float64, where another order of additions stays invisible."""
    tensors = [leaf for _, leaf in _leaves(tracked, "") if isinstance(leaf, torch.Tensor)]
    # What an optimizer counts in float32 are steps, which are whole.
    return all(t.dtype == torch.float64 for t in tensors if t.is_floating_point() and t.numel() > 1)


def _in_steps(reference: Result, found: Result) -> Difference | None:
    if reference.step == found.step:
        return None
    return Difference("steps of the last checkpoint", str(reference.step), str(found.step))


def _in_points(reference: Iterable[Point], found: Iterable[Point], same: Any) -> Difference | None:
    expected, here = _by_place(reference), _by_place(found)
    # In the order of steps, since what differs first explains what differs later.
    for step, name in sorted(expected.keys() | here.keys()):
        ours, theirs = expected.get((step, name), []), here.get((step, name), [])
        if len(ours) != len(theirs) or not all(same(a, b) for a, b in zip(ours, theirs, strict=True)):
            return Difference(f"{name} at step {step}", _values(ours), _values(theirs))
    return None


def _by_place(points: Iterable[Point]) -> dict[tuple[int, str], list[float]]:
    places: dict[tuple[int, str], list[float]] = {}
    for name, step, value in points:
        if not is_of_time(name):
            places.setdefault((step, name), []).append(value)
    # Where a program logs a name twice at a step, the store does not promise an order.
    return {
        place: sorted(values, key=lambda value: struct.pack(">d", value)) for place, values in places.items()
    }


def _values(values: list[float]) -> str:
    more = f" and {len(values) - _VALUES_SHOWN} more" if len(values) > _VALUES_SHOWN else ""
    return ", ".join(map(repr, values[:_VALUES_SHOWN])) + more if values else "nothing"


def _same_bits(one: float, other: float) -> bool:
    return struct.pack("<d", one) == struct.pack("<d", other)


def _in_state(
    reference: Mapping[str, Any], found: Mapping[str, Any], same: Any, relative: float = 0.0
) -> Difference | None:
    ours, theirs = dict(_leaves(reference, "")), dict(_leaves(found, ""))
    for path in [*ours, *(path for path in theirs if path not in ours)]:
        if path not in ours or path not in theirs:
            present = [_shown(leaves[path]) if path in leaves else "nothing" for leaves in (ours, theirs)]
            return Difference(path, *present)
        one, other = ours[path], theirs[path]
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
            difference = _in_tensor(path, one, other, relative)
            if difference is not None:
                return difference
        elif type(one) is not type(other) or not _same_leaf(one, other, same):
            return Difference(path, _shown(one), _shown(other))
    return None


def _same_leaf(one: Any, other: Any, same: Any) -> bool:
    return bool(same(one, other)) if isinstance(one, float) else bool(one == other)


def _in_tensor(path: str, one: torch.Tensor, other: torch.Tensor, relative: float) -> Difference | None:
    if one.dtype != other.dtype or one.shape != other.shape:
        kinds = [f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in (one, other)]
        return Difference(path, *kinds)
    flat, flat_other = one.contiguous().flatten(), other.contiguous().flatten()
    if flat.numel() == 0 or torch.equal(bytes_of(flat), bytes_of(flat_other)):
        return None
    width = flat.element_size()
    if relative and flat.is_floating_point():
        close = torch.isclose(flat, flat_other, rtol=relative, atol=relative, equal_nan=True)
        differs = ~close
    else:
        rows = [bytes_of(tensor).reshape(-1, width) for tensor in (flat, flat_other)]
        differs = (rows[0] != rows[1]).any(dim=1)
    if not bool(differs.any()):
        return None
    index = int(differs.nonzero()[0])
    more = f" and {int(differs.sum()) - 1} more" if int(differs.sum()) > 1 else ""
    return Difference(f"{path}[{index}]{more}", repr(flat[index].item()), repr(flat_other[index].item()))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of nested containers with their paths, in the order that they have."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")
    else:
        yield path, value


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return repr(value)[:80]
