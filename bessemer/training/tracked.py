"""What a program named for its checkpoints, in the order in which it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from bessemer.training.hyperparameters import Options, options_of
from bessemer.training.values import Tensors


class Tracked(dict[str, Any]):
    """Objects with a state, by name.

    Attributes:
        options: what optimizers and schedulers were made with, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.options: dict[str, Options] = {}

    def add(self, name: str, value: Any) -> None:
        """Remember an object under a name; another one of that name gets a number: `model_2`."""
        if self.holds(value):
            return
        number, free = 1, name
        while free in self:
            number += 1
            free = f"{name}_{number}"
        self[free] = value
        options = options_of(value)
        if options is not None:
            self.options[free] = options

    def holds(self, value: Any) -> bool:
        """Tell whether an object is among these, whatever its name."""
        return any(known is value for known in self.values())

    @property
    def has_optimizer(self) -> bool:
        """Whether the program has an optimizer; else it updates its parameters by hand."""
        return any(isinstance(value, Optimizer) for value in self.values())


def with_models(tracked: Mapping[str, Any], models: Sequence[nn.Module]) -> dict[str, Any]:
    """Return what was tracked, and models that were only placed."""
    chosen = dict(tracked)
    for number, model in enumerate(models):
        if not any(value is model for value in chosen.values()):
            chosen[f"placed.{number}"] = model
    return chosen


def loose_parameters(chosen: Mapping[str, Any]) -> dict[str, Tensors]:
    """Return the parameters that optimizers step and nothing else holds, by the optimizer's name.

    A model that a program keeps where nobody looked (in a dictionary) is trained all the same.
    """
    held: set[int] = set()
    for value in chosen.values():
        if isinstance(value, nn.Module):
            held.update(map(id, value.parameters()))
        elif isinstance(value, Tensors):
            held.update(map(id, value.tensors().values()))
    found = {}
    for name, value in chosen.items():
        if isinstance(value, Optimizer):
            stepped = [x for group in value.param_groups for x in group["params"] if id(x) not in held]
            held.update(map(id, stepped))
            if stepped:
                found[f"{name}.parameters"] = Tensors(stepped)
    return found
