"""The random generators of this process: Python's, NumPy's and torch's on the CPU."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_generators(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators of this process from 64 bits."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)


class Generators:
    """The state of all three at one moment."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy: Any = np.random.get_state()
        self._torch = torch.get_rng_state()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Generators):
            return NotImplemented
        return (
            torch.equal(self._torch, other._torch)
            and self._numpy[2:] == other._numpy[2:]
            and bool((self._numpy[1] == other._numpy[1]).all())
            and self._python == other._python
        )

    __hash__ = None  # type: ignore[assignment]  # compared by value, and never kept in a set

    def restore(self) -> None:
        """Put them back to this state."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Put the generators back to where they were before."""
    before = Generators()
    try:
        yield
    finally:
        before.restore()
