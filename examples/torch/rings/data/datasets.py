"""A data set of the project's own: points on two rings, computed when they are asked for."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.data import Dataset

from rings.settings import Settings


class Rings(Dataset[tuple[Tensor, int]]):
    """Points on an inner and an outer ring; the position alone decides where one lies.

    Args:
        num_points: of both rings (count).
    """

    def __init__(self, num_points: int) -> None:
        self.num_points = num_points

    def __len__(self) -> int:
        return self.num_points

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        angle, ring = 2 * math.pi * (index * 0.618033988749895 % 1.0), index % 2
        radius = 1 + ring + 0.2 * math.sin(7.0 * index)
        return torch.tensor([radius * math.cos(angle), radius * math.sin(angle)]), ring


def make_rings(settings: Settings) -> Rings:
    """Return the data set that [data.sources.train] names."""
    return Rings(1000)
