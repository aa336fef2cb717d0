"""Models as the workers hold them: on the right device, equal everywhere, and described in a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from bessemer.utils.collectives import Group
from bessemer.utils.events import LayerRow, ModelPlaced

_NUM_EXAMPLE_SAMPLES = 4


def place(model: nn.Module, device: torch.device, group: Group) -> nn.Module:
    """Move a model to its device and make it equal on all workers; the main worker's values count.

    The model is changed in place and returned, not wrapped.
    """
    model = model.to(device)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            _broadcast(tensor.data, group)
    return model


def synchronise_buffers(models: list[nn.Module], group: Group) -> None:
    """Give every worker the main worker's buffers, such as running batch statistics."""
    for model in models:
        for buffer in model.buffers():
            _broadcast(buffer, group)


def _broadcast(tensor: torch.Tensor, group: Group) -> None:
    if tensor.is_contiguous():
        group.broadcast_(tensor)
    else:
        tensor.copy_(group.broadcast_(tensor.contiguous()))


def summarise(model: nn.Module) -> ModelPlaced:
    """Describe a model, one level deep."""
    rows = tuple(
        LayerRow(name, type(child).__name__, sum(p.numel() for p in child.parameters()))
        for name, child in model.named_children()
    )
    parameters = list(model.parameters())
    tensors = [*parameters, *model.buffers()]
    return ModelPlaced(
        kind=type(model).__name__,
        rows=rows,
        num_parameters=sum(p.numel() for p in parameters),
        num_trainable=sum(p.numel() for p in parameters if p.requires_grad),
        size_bytes=sum(t.numel() * t.element_size() for t in tensors),
    )


def on_first_input(model: nn.Module, keep: Callable[[np.ndarray[Any, Any]], None]) -> None:
    """Hand over a few samples of the first input that a model is called with, if it takes one tensor.

    Nothing is handed over of a tensor that NumPy has no array for, such as one of bfloat16 or a sparse one.

    Args:
        model: a module; it is watched until its first call.
        keep: called with an array [samples, ...] of the input's dtype, four samples at most.
    """

    def seen(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        handle.remove()
        if len(inputs) == 1 and isinstance(inputs[0], torch.Tensor) and inputs[0].ndim:
            try:
                example = inputs[0].detach()[:_NUM_EXAMPLE_SAMPLES].cpu().clone().numpy()
            except (TypeError, RuntimeError):
                return
            keep(example)

    handle = model.register_forward_pre_hook(seen)
