"""What a search asks, and whether a study that was begun before asked the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bessemer.config.tuning_settings import Tuning
from bessemer.errors import SettingsError
from bessemer.search.choosing import Chooser, GridChooser, OptunaChooser
from bessemer.search.journal import Line, Opened
from bessemer.search.rungs import Asha, Median, Never, Scheduler
from bessemer.search.space import Choices, Range, Space, Values, grid_size
from bessemer.training.identity import differences


@dataclass(frozen=True)
class Question:
    """What a search asks; a study answers one.

    Attributes:
        program: `package.module:function`.
        metric: that judges.
        mode: whether a smaller or a larger metric is better.
        space: what is searched.
        tuning: how; budgets may change when the search goes on, the rest may not.
        identity: what trials are made of, beside what is searched: code, lock file, settings.
        first: what the first trial trains with; None: what the sampler chooses.
    """

    program: str
    metric: str
    mode: Literal["min", "max"]
    space: Space
    tuning: Tuning
    identity: Mapping[str, str] = field(default_factory=dict)
    first: Values | None = None

    @property
    def smaller_is_better(self) -> bool:
        """Whether a smaller metric is better."""
        return self.mode == "min"

    @property
    def num_trials(self) -> int:
        """Trials in all (count)."""
        tuning = self.tuning
        if tuning.scheduler == "pbt":
            return tuning.population
        return (
            min(tuning.num_trials, grid_size(self.space)) if tuning.sampler == "grid" else tuning.num_trials
        )

    def plain(self) -> dict[str, Any]:
        """Return what must stay the same, as plain data."""
        tuning = self.tuning
        kept = {
            "program": self.program,
            "metric": self.metric,
            "mode": self.mode,
            "sampler": tuning.sampler,
            "scheduler": tuning.scheduler,
            "seed": tuning.seed,
            "grace_turns": tuning.grace_turns,
            "num_startup": tuning.num_startup,
            "first trial": self.first,
        }
        if tuning.scheduler == "asha":
            kept["reduction"] = tuning.reduction
        if tuning.scheduler == "pbt":
            kept |= {
                name: getattr(tuning, name)
                for name in ("population", "interval_turns", "quantile", "resample")
            }
        for name, entry in self.space.items():
            kept[f"range of {name}"] = _plain_entry(entry)
        return {**kept, **self.identity}

    def loss(self, value: float) -> float:
        """Return a value of the metric with the sign that makes smaller better; infinity for no number."""
        if not math.isfinite(value):
            return math.inf
        return value if self.smaller_is_better else -value

    def value(self, loss: float) -> float:
        """Return the value of the metric that a loss was made of."""
        if not math.isfinite(loss):
            return math.nan
        return loss if self.smaller_is_better else -loss

    def scheduler(self) -> Scheduler:
        """Return what ends trials early."""
        tuning = self.tuning
        if tuning.scheduler == "asha":
            return Asha(tuning.grace_turns, tuning.reduction)
        if tuning.scheduler == "median":
            return Median(tuning.grace_turns, tuning.num_startup)
        return Never()

    def chooser(self) -> Chooser:
        """Return what chooses settings."""
        tuning = self.tuning
        if tuning.sampler == "grid":
            return GridChooser(self.space)
        return OptunaChooser(self.space, tuning.sampler, tuning.seed, tuning.num_startup)

    def check_same(self, first: Line, name: str) -> None:
        """Refuse to go on with a study that was begun with another question.

        Raises:
            SettingsError: names each difference with both values.
        """
        changed = differences(first.question if isinstance(first, Opened) else {}, self.plain())
        if not changed:
            return
        raise SettingsError(
            f"the search {name} was begun with something else: {changed}",
            expected="the same space, metric, code and settings; budgets may change",
            todo="put them back, or begin another search: --study NAME",
        )


def _plain_entry(entry: Range | Choices) -> Any:
    # As JSON gives it back.
    return list(entry.values) if isinstance(entry, Choices) else asdict(entry)
