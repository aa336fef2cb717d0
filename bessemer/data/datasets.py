"""Fetches the samples of a plan from the researcher's own `Dataset`, with its own collate function.

The same few lines serve every source of batches: a Ray Data task, the training process, a test.
Random transforms are seeded by (key, pass, sample id) for each sample, so a batch has the same
content wherever it is fetched, and however many workers share the work.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bessemer.data.order import Ids, Plan, mix, share_of
from bessemer.data.wire import encode
from bessemer.errors import DataError

NUM_FINGERPRINT_SAMPLES = 64


@dataclass(frozen=True)
class Recipe:
    """All that is needed to make any batch of a loader, anywhere.

    Attributes:
        dataset: the researcher's map-style data set.
        plan: which samples form which batch.
        key: 64 bits that seed the random transforms.
        collate_fn: makes a batch from a list of samples.
        worker_init_fn: called once with 0 in each process that fetches, or None.
    """

    dataset: Dataset[Any]
    plan: Plan
    key: int
    collate_fn: Callable[[list[Any]], Any]
    worker_init_fn: Callable[[int], None] | None = None


@dataclass(frozen=True)
class Fetched:
    """One worker's part of one global batch.

    Attributes:
        batch: what the collate function returned.
        num_samples: real samples of this worker (count); 0 where the global batch has fewer
            samples than there are workers: then `batch` holds a stand-in that must not count.
        num_global: samples of the whole global batch (count).
    """

    batch: Any
    num_samples: int
    num_global: int


def fetch(recipe: Recipe, number: int, step: int, rank: int, world_size: int) -> Fetched:
    """Make one worker's part of global batch `step` of pass `number`.

    The process's random generators are left as they were.

    Raises:
        DataError: the data set or the collate function failed; names the sample.
    """
    ids = recipe.plan.batch(number, step)
    start, stop = share_of(len(ids), rank, world_size)
    # A worker without a sample computes on the first one, so that every worker takes every step.
    mine = ids[start:stop] if stop > start else ids[:1]
    with preserved_generators():
        samples = [sample(recipe.dataset, int(index), mix(recipe.key, number, int(index))) for index in mine]
        try:
            batch = recipe.collate_fn(samples)
        except Exception as error:
            raise DataError(
                f"the collate function failed on samples {mine.tolist()}: {_named(error)}",
                expected="samples of one shape, or a collate_fn that can join them",
            ) from error
    return Fetched(batch, stop - start, len(ids))


def sample(dataset: Dataset[Any], index: int, seed: int) -> Any:
    """Return `dataset[index]` with every random generator seeded by `seed` just before.

    Raises:
        DataError: the data set failed on that index.
    """
    seed_generators(seed)
    try:
        return dataset[index]
    except Exception as error:
        name = type(dataset).__qualname__
        raise DataError(f"{name}[{index}] failed: {_named(error)}") from error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def seed_generators(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators of this process from 64 bits."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Put Python's, NumPy's and torch's CPU generators back to where they were before."""
    python, numpy, tensor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(tensor)


def fingerprint(dataset: Dataset[Any]) -> str:
    """Hash what a data set holds: its class, its length and up to 64 samples spread over it.

    Cheap enough for every run; a change of a sample that is not among the 64 goes unnoticed.

    Returns:
        16 hexadecimal digits.
    """
    length = len(dataset)  # type: ignore[arg-type]
    digest = hashlib.sha256(f"{type(dataset).__qualname__} {length}".encode())
    chosen: Ids = np.unique(np.linspace(0, length - 1, NUM_FINGERPRINT_SAMPLES).astype(np.int64))
    with preserved_generators():
        for index in chosen if length else []:
            head, buffers = encode(sample(dataset, int(index), mix(0, int(index))))
            digest.update(head)
            for buffer in buffers:
                digest.update(buffer)
    return digest.hexdigest()[:16]
