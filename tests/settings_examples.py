"""Settings classes, and what comes of a command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from bessemer.config.loading import LoadedSettings, load_settings
from bessemer.config.settings import Settings
from bessemer.errors import SettingsError


class Digits(Settings):
    lr: float = Field(0.5, description="Learning rate (1).")
    shift: float = Field(0.0, description="Any number (1).")
    epochs: int = Field(10, ge=1, description="Turns (epochs).")
    no_cuda: bool = Field(False, description="Whether GPUs are left alone.")
    save_model: bool = Field(True, description="Whether the model is kept.")
    sizes: list[int] = Field([32, 64], description="Widths of the layers (count).")
    optimizer: Literal["sgd", "adam"] = Field("sgd", description="Which optimizer.")
    limit: int | None = Field(None, description="Most samples (count), or None for all.")
    title: str = Field("", description="A name.")
    weights: dict[str, float] = Field(default_factory=dict, description="Weights by class.")


class Torn(Settings):
    cuda: bool = Field(True, description="Whether GPUs are used.")
    no_cuda: bool = Field(False, description="Whether GPUs are left alone.")


class Needy(Settings):
    path: str = Field(description="Where the data lies.")


Write = Callable[[str], Path]


def typed(*arguments: str) -> Digits:
    """What the user types after the command."""
    return settings_of(load_settings(Digits, arguments))


def settings_of(loaded: LoadedSettings) -> Digits:
    assert isinstance(loaded.settings, Digits)
    return loaded.settings


def refused(*arguments: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        typed(*arguments)
    return caught.value
