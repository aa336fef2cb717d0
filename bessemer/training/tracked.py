"""What a program named for its checkpoints, in the order in which it did."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer


class Tracked(dict[str, Any]):
    """Objects with a state, by name."""

    def add(self, name: str, value: Any) -> None:
        """Remember an object under a name; another one of that name gets a number: `model_2`."""
        if self.holds(value):
            return
        number, free = 1, name
        while free in self:
            number += 1
            free = f"{name}_{number}"
        self[free] = value

    def holds(self, value: Any) -> bool:
        """Tell whether an object is among these, whatever its name."""
        return any(known is value for known in self.values())

    @property
    def has_optimizer(self) -> bool:
        """Whether the program has an optimizer; else it updates its parameters by hand."""
        return any(isinstance(value, Optimizer) for value in self.values())
