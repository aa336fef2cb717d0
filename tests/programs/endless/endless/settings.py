"""Settings of the endless loop."""

from __future__ import annotations

from pydantic import Field

import bessemer


class Settings(bessemer.Settings):
    """A regression in an endless loop."""

    num_steps: int = Field(200, ge=1, description="Optimizer steps (count).")
    batch_size: int = Field(48, ge=1, description="Samples of a global batch (count).")
    num_samples: int = Field(500, ge=1, description="Samples of the data set (count).")
    width: int = Field(32, ge=1, description="Units of the hidden layer (count).")
    lr: float = Field(0.05, gt=0, description="Learning rate (1).")
    warm_up: int = Field(20, ge=1, description="Steps until the full learning rate (count).")
    seed: int = Field(1, ge=0, description="Random seed.")
