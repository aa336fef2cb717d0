"""What a checkpoint holds besides tensors: random generators, and the names that objects have.

Pure bookkeeping on plain values, so that a checkpoint loads with `weights_only=True`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


def generator_states() -> dict[str, Any]:
    """Return the state of every random generator of this process, as tensors and numbers."""
    version, words, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    words_of_numpy = numpy["state"]["key"].astype(np.int64)
    return {
        "python": [version, list(words), gauss],
        "numpy": [
            torch.from_numpy(words_of_numpy),
            numpy["state"]["pos"],
            numpy["has_gauss"],
            numpy["gauss"],
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_generators(state: dict[str, Any]) -> None:
    """Put every random generator of this process back to a saved state."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


@dataclass
class Created:
    """How many outer loops, loaders and carried values the program has made so far.

    The n-th of a kind is the same object in every attempt, because the program runs again from its
    first line; that is how saved state finds its owner.
    """

    counts: dict[str, int] = field(default_factory=dict)

    def next(self, kind: str) -> int:
        """Return the number of a new object of a kind, from 0."""
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        return number
