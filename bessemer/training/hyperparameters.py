"""What optimizers and schedulers were made with, and how a copy of their state takes other values.

Population based training (Jaderberg et al. 2017, "Population Based Training of Neural Networks") goes
on from another trial's checkpoint with settings of its own. A checkpoint holds what the other one's
options have become under its schedule. What was changed of a learning rate is put in as a ratio, so the
schedule stays where it is; everything else takes the value that this run's object was made with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

# Plain data, so that a checkpoint can hold it: of an optimizer the options of each group, of a scheduler
# its attributes, and those of schedulers inside it.
Options = dict[str, Any]

# What a schedule makes of the learning rate, or makes it from, in an optimizer's group.
_RATES = ("lr", "initial_lr", "max_lr", "min_lr")
_LAST_RATES = "_last_lr"


def options_of(tracked: Any) -> Options | None:
    """Return the numbers that an optimizer or scheduler has now; None of any other object."""
    if isinstance(tracked, Optimizer):
        return {"groups": [_plain(group, leave="params") for group in tracked.param_groups]}
    if isinstance(getattr(tracked, "optimizer", None), Optimizer) and hasattr(tracked, "state_dict"):
        inner = [options_of(scheduler) for scheduler in getattr(tracked, "_schedulers", ())]
        return {"plain": _plain(vars(tracked)), "inner": inner}
    return None


def put_in(tracked: Mapping[str, Any], before: Mapping[str, Options], now: Mapping[str, Options]) -> None:
    """Change restored optimizers and schedulers to the options of this run.

    Args:
        tracked: restored objects by name.
        before: options that the objects of the saved run were made with, by name.
        now: options that those of this run were made with.
    """
    ratios: dict[int, list[float]] = {}
    both = [name for name in tracked if name in before and name in now]
    for name in both:
        optimizer = tracked[name]
        if isinstance(optimizer, Optimizer):
            pairs = list(zip(before[name]["groups"], now[name]["groups"], strict=False))
            ratios[id(optimizer)] = [_ratio(old, new) for old, new in pairs]
            for group, (old, new) in zip(optimizer.param_groups, pairs, strict=False):
                _change(group, old, new)
    for name in both:
        if not isinstance(tracked[name], Optimizer):
            _reschedule(tracked[name], before[name], now[name], ratios)


def _change(group: dict[str, Any], old: Options, new: Options) -> None:
    ratio = _ratio(old, new)
    for option in _RATES:
        if option in group and math.isfinite(ratio):
            group[option] = group[option] * ratio
        elif option in group and option in new:
            group[option] = new[option]
    for option in new.keys() - set(_RATES):
        if old.get(option) != new[option]:
            group[option] = tuple(new[option]) if isinstance(group.get(option), tuple) else new[option]


def _ratio(old: Options, new: Options) -> float:
    """Return by what a group's learning rate was changed; not a number if it was 0."""
    option = "initial_lr" if "initial_lr" in old and "initial_lr" in new else "lr"
    if option not in old or option not in new or old[option] == new[option]:
        return 1.0
    return float(new[option] / old[option]) if old[option] else math.nan


def _reschedule(scheduler: Any, old: Options, new: Options, ratios: Mapping[int, list[float]]) -> None:
    """Give a scheduler, and those inside it, what this run's were made with, at the place it is at."""
    for name, value in new["plain"].items():
        if name != _LAST_RATES and old["plain"].get(name) != value:
            setattr(scheduler, name, tuple(value) if isinstance(getattr(scheduler, name), tuple) else value)
    changed, rates = ratios.get(id(scheduler.optimizer)), getattr(scheduler, _LAST_RATES, None)
    if changed is not None and isinstance(rates, list) and len(rates) == len(changed):
        known = [ratio if math.isfinite(ratio) else 1.0 for ratio in changed]
        setattr(scheduler, _LAST_RATES, [x * ratio for x, ratio in zip(rates, known, strict=True)])
    inner = zip(getattr(scheduler, "_schedulers", ()), old["inner"], new["inner"], strict=False)
    for each, was, is_now in inner:
        if was is not None and is_now is not None:
            _reschedule(each, was, is_now, ratios)


def _plain(values: Mapping[str, Any], leave: str = "") -> dict[str, Any]:
    """Return the numbers, and lists of numbers, among some values."""
    found = {}
    for name, value in values.items():
        several = isinstance(value, tuple | list)
        if name != leave and all(_is_number(x) for x in (value if several else [value])):
            found[name] = list(value) if several else value
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
