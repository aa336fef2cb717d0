"""Settings of the transformer."""

from __future__ import annotations

from pydantic import Field

import bessemer


class Settings(bessemer.Settings):
    """A tiny causal transformer over a synthetic text."""

    epochs: int = Field(3, ge=1, description="Passes over the text (epochs).")
    batch_size: int = Field(16, ge=1, description="Pieces of text in a global batch (count).")
    num_accumulated: int = Field(4, ge=1, description="Batches whose gradients make a step (count).")
    num_pieces: int = Field(1600, ge=1, description="Pieces of text to train on (count).")
    length: int = Field(16, ge=2, description="Tokens of a piece (count).")
    width: int = Field(32, ge=4, description="Numbers that describe a token (count).")
    num_layers: int = Field(2, ge=1, description="Blocks of attention (count).")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of units that are dropped (1).")
    lr: float = Field(3e-3, gt=0, description="Largest learning rate (1).")
    max_norm: float = Field(1.0, gt=0, description="Norm that gradients are clipped to (1).")
    warm_up: int = Field(10, ge=1, description="Steps until the largest learning rate (count).")
    evaluate_every: int = Field(10, ge=1, description="Steps between two evaluations (count).")
    seed: int = Field(1, ge=0, description="Random seed.")
