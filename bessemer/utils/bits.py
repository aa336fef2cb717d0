"""The memory of a tensor as bytes."""

from __future__ import annotations

import torch


def bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the memory of a contiguous tensor, uint8 [bytes]; nothing is copied.

    One element may have any stride and be contiguous (a column of a table), which `view` alone does not take.
    """
    flat = tensor.detach().view(-1)
    if flat.stride(0) != 1:
        flat = flat.as_strided(flat.shape, (1,))
    return flat.view(torch.uint8)
