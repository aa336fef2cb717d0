"""Confidence intervals by the percentile bootstrap over samples (Efron and Tibshirani, 1993, chapter 13).

A resample draws as many samples as there are, with replacement; what matters of it is how often each was
drawn, its weights. Beyond some thousand samples they are first dealt to blocks at random, and blocks are
drawn: the variance of a sum over random blocks is that of a sum over samples, at a cost that does not
grow with the data. The draws depend on the seed and the number of samples alone, so two models that
were judged on the same samples are resampled together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bessemer.judgement.metrics.measure import Floats, Ints, Measure, Values

_MOST_BLOCKS = 20_000
_LEAST_BLOCKS = 1_000
# Sums of all blocks, and weights of some resamples, may take so many numbers.
_MOST_NUMBERS = 40_000_000
_CHUNK_NUMBERS = 4_000_000
# Ranking is done anew for each resample; with more numbers than this to go through there is no interval.
_MOST_RANKED = 120_000_000


def num_blocks_for(num_samples: int, width: int) -> int:
    """Return into how many blocks samples are dealt: as many as there are samples, if those are few."""
    affordable = max(_LEAST_BLOCKS, _MOST_NUMBERS // max(1, width))
    return min(num_samples, _MOST_BLOCKS, affordable)


def resampled(
    measure: Measure, num_samples: int, num_resamples: int, seed: int, num_blocks: int = 0
) -> Values:
    """Compute metrics of resamples.

    Args:
        measure: how they are computed.
        num_samples: N.
        num_resamples: R.
        seed: of the draws.
        num_blocks: B; 0 to decide.

    Returns:
        float64 [R] by name; a metric that would take too long is not among them.
    """
    num_blocks = num_blocks or num_blocks_for(num_samples, measure.sums.width)
    generator = np.random.default_rng([seed, num_samples])
    block = _dealt(num_samples, num_blocks, generator)
    sums = measure.sums.by_block(block, num_blocks)
    ranks = measure.of_weights if measure.cost * num_resamples <= _MOST_RANKED else None
    per_chunk = max(1, _CHUNK_NUMBERS // (num_samples if ranks is not None else num_blocks))
    found: dict[str, list[Floats]] = {}
    for weights in _weights(num_blocks, num_resamples, per_chunk, generator):
        values = measure.of_sums({name: weights @ value for name, value in sums.items()})
        if ranks is not None:
            values = {**values, **ranks(weights if num_blocks == num_samples else weights[:, block])}
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: np.concatenate(values) for name, values in found.items()}


def interval(values: Floats, confidence: float) -> tuple[float, float] | None:
    """Return the percentile interval of a metric's resampled values [R]; None where too few are numbers.

    A resample without a class may have no value of a metric; it is left out.
    """
    known = values[np.isfinite(values)]
    if len(known) < max(2, len(values) // 2):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _dealt(num_samples: int, num_blocks: int, generator: np.random.Generator) -> Ints:
    if num_blocks == num_samples:
        return np.arange(num_samples, dtype=np.int64)
    # Blocks of the same size, or one more.
    dealt: Ints = generator.permutation(np.arange(num_samples, dtype=np.int64) % num_blocks)
    return dealt


def _weights(
    num_blocks: int, num_resamples: int, per_chunk: int, generator: np.random.Generator
) -> Iterator[Floats]:
    """Yield how often each block was drawn: float64 [R, B], some resamples at a time."""
    for start in range(0, num_resamples, per_chunk):
        num = min(per_chunk, num_resamples - start)
        drawn = generator.integers(num_blocks, size=(num, num_blocks))
        cells = drawn + np.arange(num)[:, None] * num_blocks
        counts = np.bincount(cells.ravel(), minlength=num * num_blocks)
        yield counts.reshape(num, num_blocks).astype(np.float64)
