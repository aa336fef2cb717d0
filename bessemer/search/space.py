"""The search space: ranges by setting name, checked against the settings' own types and bounds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bessemer.config.loading import fields_of
from bessemer.config.settings import Settings
from bessemer.errors import SettingsError, nearest

Plain = int | float | bool | str
Values = dict[str, Any]


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both included; whole numbers if both bounds are.

    Attributes:
        low: smallest value.
        high: largest value.
        log: whether values are uniform in their logarithm.
        num: points of a grid; 0: every whole number (count).
    """

    low: int | float
    high: int | float
    log: bool = False
    num: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def points(self) -> tuple[Plain, ...]:
        """Return the points of a grid, evenly spaced, in their logarithm if it is so."""
        if not self.num:
            return tuple(range(int(self.low), int(self.high) + 1))
        low, high = (math.log(x) if self.log else x for x in (self.low, self.high))
        places = [low + (high - low) * i / (self.num - 1) for i in range(self.num)] if self.num > 1 else [low]
        values = [min(self.high, max(self.low, math.exp(x) if self.log else x)) for x in places]
        return tuple(dict.fromkeys(round(x) for x in values)) if self.is_whole else tuple(values)

    def __str__(self) -> str:
        kind = "whole numbers " if self.is_whole else ""
        return f"{kind}{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Plain, ...]

    def points(self) -> tuple[Plain, ...]:
        """Return the points of a grid."""
        return self.values

    def __str__(self) -> str:
        return " | ".join(str(value) for value in self.values)


Space = dict[str, Range | Choices]


def space_of(settings: Settings) -> Space:
    """Return what is searched: `tuning.space`, and the suggestions that `tuning.search` names.

    Raises:
        SettingsError: it is empty, or a name or a range in it is wrong.
    """
    tuning = settings.tuning
    for name in tuning.search:
        if name not in tuning.suggestions:
            known = ", ".join(tuning.suggestions) or "none"
            raise SettingsError(
                f"tuning.search names {name}, which is no suggestion",
                expected=nearest(name, tuning.suggestions) or f"one of [tuning.suggestions]: {known}",
                todo=f"or add its range under [tuning.space], such as {name} = {{low = 0.1, high = 1.0}}",
            )
        if name in tuning.space:
            raise SettingsError(
                f"tuning.search names {name}, which tuning.space has a range for",
                expected="one range for each setting",
                todo="take it away from one of them",
            )
    chosen = {**tuning.space, **{name: tuning.suggestions[name] for name in tuning.search}}
    if not chosen:
        suggested = ", ".join(f'"{name}"' for name in tuning.suggestions)
        raise SettingsError(
            "there is nothing to search: tuning.space and tuning.search are empty",
            expected="ranges by setting name",
            todo=f"add search = [{suggested}] under [tuning] in settings.toml, for these suggestions"
            if suggested
            else "add [tuning.space] to settings.toml, such as: lr = {low = 0.1, high = 2.0, log = true}",
        )
    space = {name: parsed(name, bounds) for name, bounds in sorted(chosen.items())}
    _check(settings, space)
    return space


def contains(space: Space, values: Mapping[str, Any]) -> bool:
    """Whether values lie in a space."""
    return all(_holds(entry, values[name]) for name, entry in space.items())


def _holds(entry: Range | Choices, value: Any) -> bool:
    if isinstance(entry, Choices):
        # To Python, True is 1.
        kinds = (isinstance(choice, bool) == isinstance(value, bool) for choice in entry.values)
        return any(same and value == choice for same, choice in zip(kinds, entry.values, strict=True))
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return entry.low <= value <= entry.high and (not entry.is_whole or value == int(value))


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return settings with some values replaced, checked as any other setting.

    Raises:
        SettingsError: a value has the wrong type or is out of range.
    """
    tree = settings.model_dump()
    for dotted, value in values.items():
        *sections, name = dotted.split(".")
        node = tree
        for section in sections:
            node = node[section]
        node[name] = value
    try:
        return type(settings)(**tree)
    except ValidationError as error:
        raise SettingsError(
            f"the search space gives {', '.join(f'{n} = {v!r}' for n, v in values.items())}",
            expected=error.errors()[0]["msg"],
            todo="narrow its range under [tuning]",
        ) from None


def grid_points(space: Space) -> Iterator[Values]:
    """Yield every point of the grid, the last setting first."""
    axes = [entry.points() for entry in space.values()]
    for values in itertools.product(*axes):
        yield dict(zip(space, values, strict=True))


def grid_size(space: Space) -> int:
    """Return how many points the grid has (count)."""
    return math.prod(len(entry.points()) for entry in space.values())


def parsed(name: str, bounds: Mapping[str, Any]) -> Range | Choices:
    """Read what settings say of a range.

    Raises:
        SettingsError: it is none.
    """
    choices = bounds.get("choices")
    if choices is not None:
        different = isinstance(choices, list) and len({repr(x) for x in choices}) == len(choices)
        if not isinstance(choices, list) or not choices or not different or set(bounds) != {"choices"}:
            raise SettingsError(
                f"the range of {name} is {dict(bounds)}", expected="{choices = [a, b]} with different values"
            )
        return Choices(tuple(choices))
    low, high = bounds.get("low"), bounds.get("high")
    log, num = bounds.get("log", False), bounds.get("num", 0)
    if (
        not (isinstance(low, int | float) and isinstance(high, int | float) and isinstance(num, int))
        or any(isinstance(x, bool) for x in (low, high, num))
        or not isinstance(log, bool)
        or set(bounds) - {"low", "high", "log", "num"}
    ):
        raise SettingsError(
            f"the range of {name} is {dict(bounds)}",
            expected="{low = 0.1, high = 1.0, log = true} or {choices = [a, b]}",
        )
    if not (math.isfinite(low) and math.isfinite(high) and low < high and num >= 0) or (log and low <= 0):
        raise SettingsError(
            f"the range of {name} is {dict(bounds)}",
            expected="low < high, both above 0 if log; num: a count",
        )
    return Range(low, high, log, num)


def _check(settings: Settings, space: Space) -> None:
    """Refuse names that are no settings, and ranges that leave a setting's type or bounds."""
    known = dict(fields_of(type(settings)))
    for name, entry in space.items():
        if name not in known:
            raise SettingsError(
                f"the search space has {name}, which is no setting",
                expected=nearest(name, known) or "a name that `bessemer config` shows",
            )
        if name.startswith(("tuning.", "tracking.", "cluster.")) or name == "checkpoint.storage_path":
            raise SettingsError(
                f"the search space has {name}, which does not change what is trained",
                expected="a setting that the numbers depend on",
            )
        ends = entry.values if isinstance(entry, Choices) else (entry.low, entry.high)
        whole = known[name].annotation is int
        if whole and isinstance(entry, Range) and not entry.is_whole:
            raise SettingsError(
                f"the range of {name} is {entry}, with parts of whole numbers",
                expected="whole bounds, as the setting is a whole number",
            )
        for value in ends:
            with_values(settings, {name: value})
        if (
            settings.tuning.sampler == "grid"
            and isinstance(entry, Range)
            and not (entry.num or entry.is_whole)
        ):
            raise SettingsError(
                f"the range of {name} is {entry}, and a grid needs points",
                expected="{choices = [...]}, or num = 5 in the range",
            )
