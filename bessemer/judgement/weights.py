"""Puts the weights of a registered model into the program's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from bessemer.errors import UserError


def put_weights(file: Path, models: Sequence[nn.Module]) -> None:
    """Load weights into the placed model that has the same names and shapes.

    Args:
        file: what `torch.save` wrote of a state dictionary.
        models: that the program has placed.

    Raises:
        UserError: no model has them; names the first difference.
    """
    weights: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    differences = []
    for model in models:
        difference = _difference(weights, model.state_dict())
        if not difference:
            model.load_state_dict(weights)
            return
        differences.append(f"{type(model).__name__} {difference}")
    raise UserError(
        "the registered model is none of the program's: " + ("; ".join(differences) or "it places no model"),
        expected="weights of the names and shapes that a model of the program has",
        todo="choose the run that it was trained in with --run, or judge a checkpoint",
    )


def _difference(weights: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> str:
    if missing := own.keys() - weights.keys():
        return f"has {min(missing)}, which it lacks"
    if more := weights.keys() - own.keys():
        return f"has no {min(more)}"
    for name, value in own.items():
        if value.shape != weights[name].shape:
            return f"has {name} of shape {list(value.shape)} instead of {list(weights[name].shape)}"
    return ""
