"""What an optimizer was made with, and how a copy of its state takes other values.

Population based training (Jaderberg et al. 2017, "Population Based Training of Neural Networks") goes
on from another trial's checkpoint with settings of its own. A checkpoint holds what the other one's
options have become under its schedule; what was changed is put in as a ratio, so the schedule stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

# Values by option, a group each: plain data, so that a checkpoint can hold them.
Options = list[dict[str, Any]]

_SCHEDULED = ("lr", "initial_lr", "max_lr", "min_lr")


def options_of(optimizer: Optimizer) -> Options:
    """Return the numbers, and tuples of numbers, that each group of an optimizer has now."""
    return [
        {name: _plain(value) for name, value in group.items() if name != "params" and _is_plain(value)}
        for group in optimizer.param_groups
    ]


def put_in(tracked: Mapping[str, Any], before: Mapping[str, Options], now: Mapping[str, Options]) -> None:
    """Change restored optimizers and their schedulers to the options of this run.

    Args:
        tracked: restored objects by name.
        before: options that the optimizers of the saved run were made with, by name.
        now: options that those of this run were made with.
    """
    ratios: dict[int, list[float]] = {}
    for name, optimizer in tracked.items():
        if not isinstance(optimizer, Optimizer) or name not in before or name not in now:
            continue
        pairs = list(zip(optimizer.param_groups, before[name], now[name], strict=False))
        ratios[id(optimizer)] = [_ratio(old, new) for _, old, new in pairs]
        for group, old, new in pairs:
            _change(group, old, new)
    for value in tracked.values():
        _reschedule(value, ratios)


def _change(group: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> None:
    ratio = _ratio(old, new)
    for option in new.keys() & group.keys():
        if option in _SCHEDULED:
            if ratio == ratio:
                group[option] = group[option] * ratio
            else:
                group[option] = new[option]
        elif old.get(option) != new[option]:
            # Schedules of momenta are rare, and end up where the new value begins.
            group[option] = new[option] if not isinstance(group[option], tuple) else tuple(new[option])


def _ratio(old: dict[str, Any], new: dict[str, Any]) -> float:
    """Return by what a group's learning rate was changed; not a number if it was 0."""
    option = "initial_lr" if "initial_lr" in old and "initial_lr" in new else "lr"
    if option not in old or option not in new or old[option] == new[option]:
        return 1.0
    return float(new[option] / old[option]) if old[option] else float("nan")


def _reschedule(scheduler: Any, ratios: Mapping[int, list[float]]) -> None:
    """Change the rates that a scheduler computes from, and those of schedulers inside it."""
    changed = ratios.get(id(getattr(scheduler, "optimizer", None)))
    if changed is None:
        return
    for attribute in ("base_lrs", "_last_lr", "min_lrs"):
        rates = getattr(scheduler, attribute, None)
        if isinstance(rates, list) and len(rates) == len(changed):
            scaled = [
                rate * ratio if ratio == ratio else rate for rate, ratio in zip(rates, changed, strict=True)
            ]
            setattr(scheduler, attribute, scaled)
    for inner in getattr(scheduler, "_schedulers", ()):
        _reschedule(inner, ratios)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(isinstance(x, int | float) for x in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
