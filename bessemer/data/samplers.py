"""The batches that a sampler of the research code draws, as a function of (seed, pass) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, Subset

from bessemer.data.generators import preserved_generators, seed_generators
from bessemer.data.order import CanonicalPlan, ListedPlan, ReplacingPlan, mix
from bessemer.data.sources.base import Source
from bessemer.data.windows import WindowedPlan


def canonical_plan(loader: DataLoader[Any], key: int) -> CanonicalPlan | ReplacingPlan | WindowedPlan | None:
    """Return the plan of a loader that is shuffled or not, or draws at random; None with other samplers.

    A native source that is larger than a window is shuffled in windows; one that fits into a window has
    the order that any data set has.
    """
    sampler = loader.sampler
    size = len(loader.dataset)  # type: ignore[arg-type]
    own_batches = loader.batch_sampler is not None and loader.batch_size is None
    if type(sampler) is RandomSampler and sampler.replacement and not own_batches:
        source = len(sampler.data_source)
        return ReplacingPlan(source, len(sampler), loader.batch_size or 1, bool(loader.drop_last), key)
    shuffled = type(sampler) is RandomSampler and not sampler.replacement
    plain = shuffled or type(sampler) is SequentialSampler
    if own_batches or not plain or len(sampler) != size:  # type: ignore[arg-type]
        return None
    dataset, batch_size = loader.dataset, loader.batch_size or 1
    if shuffled and isinstance(dataset, Source) and size > dataset.window_rows:
        return WindowedPlan(dataset.group_sizes, dataset.window_rows, batch_size, bool(loader.drop_last), key)
    return CanonicalPlan(
        num_samples=size,
        batch_size=batch_size,
        shuffle=shuffled,
        drop_last=bool(loader.drop_last),
        key=key,
    )


def scattered(loader: DataLoader[Any]) -> str | None:
    """Say so if a loader takes rows from all over a native source, most of which it must then read anew."""
    dataset = loader.dataset
    source = dataset
    while isinstance(source, Subset):
        source = source.dataset
    if not isinstance(source, Source) or len(source) <= source.window_rows:
        return None
    in_order = type(loader.sampler) is SequentialSampler
    if isinstance(dataset, Subset):
        planned = in_order and bool((np.diff(np.asarray(dataset.indices)) > 0).all())
    else:
        planned = in_order or (type(loader.sampler) is RandomSampler and not loader.sampler.replacement)
    if planned:
        return None
    what = "a Subset" if dataset is not source else type(loader.sampler).__name__
    return (
        f"{what} takes rows of a {type(source).__name__} from anywhere, and it is larger than its window: "
        "most rows read a whole group; declare a source for each part, or raise window_bytes"
    )


class DrawnBatches:
    """Lets the samplers of a loader draw, pass after pass.

    Args:
        loader: the research code's own.
        key: 64 bits that seed the generators before each pass.
    """

    def __init__(self, loader: DataLoader[Any], key: int) -> None:
        self._loader = loader
        self._key = key
        self._num_drawn = 0

    def plan(self, number: int) -> ListedPlan:
        """Draw pass `number`.

        What a sampler keeps for itself is made up for by drawing the passes before it again.
        """
        if self._num_drawn > number or self._are_torchs():
            self._num_drawn = number
        while True:
            with preserved_generators():
                seed = mix(self._key, self._num_drawn)
                seed_generators(seed)
                drawn = list(self._draw(seed))
            self._num_drawn += 1
            if self._num_drawn > number:
                return ListedPlan(tuple(tuple(int(index) for index in batch) for batch in drawn))

    def _parts(self) -> list[Any]:
        inner = getattr(self._loader.batch_sampler, "sampler", None)
        parts = (self._loader.batch_sampler, self._loader.sampler, inner)
        return [part for part in parts if part is not None]

    def _are_torchs(self) -> bool:
        """Whether what draws the batches is torch's own, which keeps nothing from pass to pass."""
        return all(type(part).__module__.startswith("torch.utils.data") for part in self._parts())

    def _draw(self, seed: int) -> Iterator[Sequence[int]]:
        own = [self._loader.generator, *(getattr(part, "generator", None) for part in self._parts())]
        for generator in own:
            if isinstance(generator, torch.Generator):
                generator.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
        yield from self._loader.batch_sampler or ([index] for index in self._loader.sampler)
