"""Which settings are tried next: Optuna's samplers, or every point of a grid.

A choice depends on the search's seed, the trial's number and what the trials before it have reported,
and on nothing else; so a search that was interrupted chooses as if it had not been.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from bessemer.search.rungs import Losses
from bessemer.search.space import Choices, Range, Space, Values, grid_points, grid_size

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

State = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Known:
    """What is known of a trial when the next one is chosen.

    Attributes:
        values: what it trains with.
        state: done: it trained to its end; stopped: it was ended early.
        losses: what it has reported by turn; smaller is better.
    """

    values: Values
    state: State
    losses: Losses


class Chooser(Protocol):
    """Chooses what a trial trains with; another way of choosing needs no more than this."""

    def load(self) -> None:
        """Import what it needs, which may take seconds."""

    def choose(self, number: int, known: Sequence[Known]) -> Values | None:
        """Return the values of a trial, or None if there is nothing left to try.

        Args:
            number: of the trial, from 0.
            known: the trials before it, by number.
        """


@dataclass(frozen=True)
class GridChooser:
    """Tries every point of the grid once, in order."""

    space: Space

    def load(self) -> None:
        """Import nothing."""

    def choose(self, number: int, known: Sequence[Known]) -> Values | None:
        """Return the point with this number."""
        if number >= grid_size(self.space):
            return None
        return next(itertools.islice(grid_points(self.space), number, None))


@dataclass(frozen=True)
class OptunaChooser:
    """Asks a sampler of Optuna, made anew for each trial from what is known.

    Attributes:
        space: what is searched.
        sampler: which one.
        seed: of the search.
        num_startup: trials at random before TPE learns (count).
    """

    space: Space
    sampler: Literal["tpe", "random"]
    seed: int
    num_startup: int

    def load(self) -> None:
        """Import Optuna."""
        self.choose(0, [])

    def choose(self, number: int, known: Sequence[Known]) -> Values | None:
        """Return what the sampler suggests."""
        study = as_study(self.space, known, self._sampler(number))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asked = study.ask(distributions_of(self.space))
        return {name: _plain(entry, asked.params[name]) for name, entry in self.space.items()}

    def _sampler(self, number: int) -> BaseSampler:
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        if self.sampler == "random":
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of its options are experimental, and say so
            return TPESampler(n_startup_trials=self.num_startup, seed=seed, constant_liar=True)


def as_study(space: Space, known: Sequence[Known], sampler: BaseSampler | None = None) -> Study:
    """Return what is known as a study of Optuna, which minimises.

    Args:
        space: what is searched.
        known: trials by number.
        sampler: of the study.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    distributions = distributions_of(space)
    for trial in known:
        study.add_trial(_frozen(trial, distributions))
    return study


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Return a space as Optuna writes it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for name, entry in space.items():
        if isinstance(entry, Choices):
            found[name] = CategoricalDistribution(entry.values)
        elif entry.is_whole:
            found[name] = IntDistribution(int(entry.low), int(entry.high), log=entry.log)
        else:
            found[name] = FloatDistribution(float(entry.low), float(entry.high), log=entry.log)
    return found


def _frozen(trial: Known, distributions: Mapping[str, BaseDistribution]) -> Any:
    from optuna.trial import TrialState, create_trial

    finite = {turn: loss for turn, loss in trial.losses.items() if math.isfinite(loss)}
    last = trial.losses[max(trial.losses)] if trial.losses else math.nan
    states = {
        "running": TrialState.RUNNING,
        # To a sampler, a trial that ends with no number is as one that failed.
        "done": TrialState.COMPLETE if math.isfinite(last) else TrialState.FAIL,
        "stopped": TrialState.PRUNED if finite else TrialState.FAIL,
        "failed": TrialState.FAIL,
    }
    state = states[trial.state]
    return create_trial(
        state=state,
        value=last if state == TrialState.COMPLETE else None,
        params={name: trial.values[name] for name in distributions},
        distributions=dict(distributions),
        intermediate_values=finite,
    )


def _plain(entry: Range | Choices, value: Any) -> Any:
    if isinstance(entry, Range):
        return int(value) if entry.is_whole else float(value)
    return value
