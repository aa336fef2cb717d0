"""Settings of the example."""

from __future__ import annotations

from pydantic import Field

import bessemer


class Settings(bessemer.Settings):
    """Tells rings from squares, a folder of images for each."""

    epochs: int = Field(5, ge=1, description="Passes over the data (epochs).")
    batch_size: int = Field(32, ge=1, description="Samples of a global batch (count).")
    lr: float = Field(1e-2, gt=0, description="Learning rate (1).")
    seed: int = Field(1, ge=0, description="Seeds the model and the order of the samples.")
