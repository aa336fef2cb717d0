"""Settings of the GAN."""

from __future__ import annotations

from pydantic import Field

import bessemer


class Settings(bessemer.Settings):
    """A small GAN on points of a ring."""

    epochs: int = Field(12, ge=1, description="Passes over the points (epochs).")
    batch_size: int = Field(64, ge=1, description="Points of a global batch (count).")
    num_points: int = Field(1000, ge=1, description="Points of the ring (count).")
    num_noise: int = Field(8, ge=1, description="Numbers that a point is generated from (count).")
    width: int = Field(64, ge=1, description="Units of a hidden layer (count).")
    lr: float = Field(2e-3, gt=0, description="Learning rate of both optimizers (1).")
    seed: int = Field(1, ge=0, description="Random seed.")
