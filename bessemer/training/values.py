"""Values that a loop keeps for itself and that must survive a restart."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bessemer.utils.collectives import Group


class Carried:
    """Loop-carried values as attributes: `best = run.carry(accuracy=0.0)`, then `best.accuracy`.

    Only names that were given at the start can be set, so a misspelt one is an error.
    """

    def __init__(self, initial: dict[str, Any]) -> None:
        object.__setattr__(self, "_values", dict(initial))

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name not in values:
            raise AttributeError(f"no value {name!r} is carried; there are: {', '.join(values)}")
        return values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._values:
            raise AttributeError(
                f"no value {name!r} is carried; there are: {', '.join(self._values)}; "
                "name it with its first value in run.carry() or run.totals()"
            )
        self._values[name] = value

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self._values.items())
        return f"{type(self).__name__}({inside})"

    def state_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(self._values)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put saved values back; what a defaultdict makes up is not saved, so it stays."""
        for name, value in state.items():
            present = self._values.get(name)
            if isinstance(present, defaultdict):
                present.clear()
                present.update(value)
            else:
                self._values[name] = value


class Kept(Carried):
    """Attributes of one of the program's own objects, read from it and put back into it.

    An attribute that is not set yet is left out, and so is one whose value is no plain data.

    Args:
        owner: the object.
        names: its attributes.
    """

    def __init__(self, owner: Any, names: tuple[str, ...]) -> None:
        super().__init__({})
        object.__setattr__(self, "owner", owner)
        object.__setattr__(self, "names", names)

    def state_dict(self) -> dict[str, Any]:
        """Return the attributes by name."""
        owner = self.__dict__["owner"]
        found = {name: getattr(owner, name) for name in self.__dict__["names"] if hasattr(owner, name)}
        return {name: value for name, value in found.items() if is_plain(value)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put saved attributes back."""
        for name, value in state.items():
            setattr(self.__dict__["owner"], name, value)


class Last(Carried):
    """Values that a loop leaves behind and that are read after it; one that is no plain data is left out."""

    def state_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return {name: value for name, value in super().state_dict().items() if is_plain(value)}


class Tensors:
    """Tensors that are no part of a model, as something with a state; it is put back in place.

    Args:
        value: a tensor, or a list, tuple or dict of them.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    @staticmethod
    def accept(value: Any) -> bool:
        """Tell whether a value is a tensor or holds nothing else."""
        inside = value.values() if isinstance(value, dict) else value
        if isinstance(value, list | tuple | dict):
            return bool(value) and all(isinstance(x, torch.Tensor) for x in inside)
        return isinstance(value, torch.Tensor)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors by name or number."""
        if isinstance(self.value, torch.Tensor):
            return {"": self.value}
        if isinstance(self.value, dict):
            return {str(name): tensor for name, tensor in self.value.items()}
        return {str(number): tensor for number, tensor in enumerate(self.value)}

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the values by name or number."""
        return {name: tensor.detach().clone() for name, tensor in self.tensors().items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Copy saved values into the tensors."""
        with torch.no_grad():
            for name, tensor in self.tensors().items():
                tensor.copy_(state[name])


def is_plain(value: Any) -> bool:
    """Tell whether a value is data, which a checkpoint can hold: numbers, text, tensors, collections."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return True
    if isinstance(value, torch.Tensor | np.ndarray):
        return isinstance(value, torch.Tensor) or not value.dtype.hasobject
    if type(value) in (list, tuple, set, frozenset, deque):
        return all(is_plain(x) for x in value)
    if type(value) in (dict, OrderedDict, Counter):
        return all(is_plain(x) for pair in value.items() for x in pair)
    return False


class Totals(Carried):
    """Carried values that are sums: what workers added in a loop over a sharded loader is summed.

    Args:
        initial: numbers or tensors by name.
        number: which carried value of the program this is, by order of creation.
        settle: called before a value is read, so that a loop that was left early is summed first.
    """

    number: int

    def __init__(self, initial: dict[str, Any], number: int, settle: Callable[[], None]) -> None:
        super().__init__(initial)
        object.__setattr__(self, "number", number)
        object.__setattr__(self, "_settle", settle)
        object.__setattr__(self, "_start", None)
        object.__setattr__(self, "_before_step", None)

    def __getattr__(self, name: str) -> Any:
        if "_settle" in self.__dict__:
            self._settle()
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._settle()
        super().__setattr__(name, value)

    @property
    def in_pass(self) -> bool:
        """Whether a loop that is being run will sum these."""
        return self.__dict__["_start"] is not None

    def begin_pass(self, begun: dict[str, Any] | None = None) -> None:
        """Remember the values before a loop over a sharded loader; after a restart, those that were."""
        object.__setattr__(self, "_start", _copied(begun or self._values))

    @property
    def begun(self) -> dict[str, Any]:
        """The values before the loop that sums these."""
        return dict(self.__dict__["_start"] or {})

    def begin_step(self, counts: bool) -> None:
        """Begin a batch; what is added during one that does not `count` is taken back."""
        self.end_step()
        object.__setattr__(self, "_before_step", None if counts else _copied(self._values))

    def end_pass(self, group: Group) -> None:
        """Replace what this worker added since `begin_pass` by what all workers added."""
        self.end_step()
        start = self._start
        object.__setattr__(self, "_start", None)
        if start is None or group.size == 1:
            return
        for name in sorted(start):
            value = self._values[name]
            if isinstance(value, torch.Tensor):
                self._values[name] = start[name] + group.sum_(value.detach() - start[name])
            else:
                added = torch.tensor(value - start[name], dtype=torch.float64)
                total = start[name] + group.sum_(added).item()
                whole = isinstance(value, int) and isinstance(start[name], int)
                self._values[name] = round(total) if whole else total

    def end_step(self) -> None:
        """End a batch: take back what was added during one that does not count."""
        if self._before_step is not None:
            self._values.update(self._before_step)
            object.__setattr__(self, "_before_step", None)


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().clone() if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
    }


def combined(begun: dict[str, Any], of_workers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return sums in the middle of a loop as one worker would have them: begun and all that was added."""
    return {
        name: start + sum(values[name] - start for values in of_workers) if name in of_workers[0] else start
        for name, start in begun.items()
    }
