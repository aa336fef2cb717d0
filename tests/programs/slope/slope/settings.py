"""Settings of the descent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

import bessemer


class Settings(bessemer.Settings):
    """What is searched, and how a trial behaves."""

    lr: float = Field(0.03, gt=0, le=2, description="Learning rate (1).")
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum (1).")
    width: int = Field(4, ge=1, description="Units (count).")
    turns: int = Field(9, ge=1, description="Turns (epochs).")
    wait_s: float = Field(0.0, ge=0, description="Pause in each turn (seconds).")
    seed: int = Field(1, description="Seed of the weights.")
    bad: Literal["", "nan", "error"] = Field("", description="How a trial goes wrong.")
