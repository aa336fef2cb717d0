"""Population based training: who goes on from whose state, with which settings.

Jaderberg et al. 2017, "Population Based Training of Neural Networks": after every so many turns the
worst members take over the state of the best and go on with settings that are nudged or drawn anew.
Members wait for each other, so that what is decided depends on no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bessemer.search.rungs import worst_if_not_finite
from bessemer.search.space import Choices, Range, Space, Values

_NUDGES = (0.8, 1.2)


@dataclass(frozen=True)
class Copy:
    """A member that goes on from another's state.

    Attributes:
        source: number of the member whose state it takes.
        values: what it goes on with.
    """

    source: int
    values: Values


def compared(
    space: Space,
    losses: Mapping[int, float],
    values: Mapping[int, Values],
    share: float,
    resample: float,
    seed: int,
    turn: int,
) -> dict[int, Copy]:
    """Decide after a round.

    Args:
        space: what is searched.
        losses: of the members that came so far, by number; smaller is better.
        values: what each trains with.
        share: of the population that is replaced, and that is copied.
        resample: probability that a setting is drawn anew.
        seed: of the search.
        turn: of the round (count).

    Returns:
        Copies by number; who is not among them goes on as it is.
    """
    ranked = sorted(losses, key=lambda number: (worst_if_not_finite(losses[number]), number))
    num = min(max(1, round(share * len(ranked))), len(ranked) // 2)
    if not num:
        return {}
    generator = np.random.default_rng([seed, turn])
    copies = {}
    for number in ranked[-num:]:
        source = ranked[int(generator.integers(num))]
        if worst_if_not_finite(losses[source]) < worst_if_not_finite(losses[number]):
            copies[number] = Copy(source, explored(space, values[source], resample, generator))
    return copies


def explored(space: Space, values: Values, resample: float, generator: np.random.Generator) -> Values:
    """Return values near some others: each is drawn anew, or nudged by a fifth or to a neighbour."""
    new: Values = {}
    for name, entry in space.items():
        if generator.random() < resample:
            new[name] = drawn(entry, generator)
        else:
            new[name] = _nudged(entry, values[name], int(generator.integers(2)))
    return new


def drawn(entry: Range | Choices, generator: np.random.Generator) -> Any:
    """Draw a value: uniform, or uniform in the logarithm."""
    if isinstance(entry, Choices):
        return entry.values[int(generator.integers(len(entry.values)))]
    # Every whole number stands for the interval around it, so that both ends are as likely as others.
    half = 0.5 if entry.is_whole else 0.0
    low, high = entry.low - half, entry.high + half
    value = float(
        np.exp(generator.uniform(np.log(low), np.log(high))) if entry.log else generator.uniform(low, high)
    )
    return _within(entry, value)


def _nudged(entry: Range | Choices, value: Any, up: int) -> Any:
    if isinstance(entry, Choices):
        place = entry.values.index(value) + (1 if up else -1)
        return entry.values[min(len(entry.values) - 1, max(0, place))]
    nudged = value * _NUDGES[up]
    if entry.is_whole and round(nudged) == value:
        nudged = value + (1 if up else -1)
    return _within(entry, nudged)


def _within(entry: Range, value: float) -> int | float:
    value = min(entry.high, max(entry.low, value))
    return round(value) if entry.is_whole else value
