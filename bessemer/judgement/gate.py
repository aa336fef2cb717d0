"""May a model be promoted? A pure decision on numbers, with each condition and what was found of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bessemer.config.judgement_settings import Registry
from bessemer.errors import SettingsError
from bessemer.utils.console import guess_direction


@dataclass(frozen=True)
class Rule:
    """What decides.

    Attributes:
        metric: its name.
        smaller_is_better: its direction.
        threshold: worst value that may be promoted, or None.
        better_than_champion: whether it must be better than the model in its place.
        min_improvement: by how much.
    """

    metric: str
    smaller_is_better: bool
    threshold: float | None = None
    better_than_champion: bool = True
    min_improvement: float = 0.0


@dataclass(frozen=True)
class Mark:
    """What is known of a version of a model.

    Attributes:
        label: name and number.
        value: of the metric; None if it was not evaluated.
        split: of the data that it was evaluated on.
        fingerprint: of these data.
        todo: the command that evaluates it.
    """

    label: str
    value: float | None = None
    split: str = ""
    fingerprint: str = ""
    todo: str = ""


@dataclass(frozen=True)
class Condition:
    """One condition of a gate.

    Attributes:
        name: in a few words.
        holds: whether it is met.
        found: what there was, with the value.
        todo: what can be done, if it is not met.
    """

    name: str
    holds: bool
    found: str
    todo: str = ""


def rule_of(registry: Registry, best_metric: str, best_mode: str, known: Sequence[str] = ()) -> Rule:
    """Return the rule that settings give.

    Args:
        registry: settings.
        best_metric: of the checkpoints, which decides if the registry names none.
        best_mode: its direction.
        known: metrics that the model was measured by, for the error.

    Raises:
        SettingsError: no metric is named, or nobody knows whether a smaller one is better.
    """
    metric = registry.metric or best_metric
    if not metric:
        raise SettingsError(
            "registry.metric is not set, and neither is checkpoint.best_metric",
            expected=f"one of: {', '.join(known) or 'the metrics that bessemer evaluate shows'}",
            todo="set registry.metric in settings.toml",
        )
    mode = registry.mode or (best_mode if metric == best_metric else "")
    smaller = mode == "min" if mode else guess_direction(metric)
    if smaller is None:
        raise SettingsError(
            f"nobody knows whether a smaller {metric} is better",
            expected="min or max",
            todo="set registry.mode in settings.toml",
        )
    return Rule(metric, smaller, registry.threshold, registry.better_than_champion, registry.min_improvement)


def judge(rule: Rule, candidate: Mark, champion: Mark | None) -> list[Condition]:
    """Return each condition of the gate, those that follow from a missing value left out.

    Args:
        rule: what decides.
        candidate: who is to be promoted.
        champion: who has the place, or None if nobody has.
    """
    evaluated = candidate.value is not None and candidate.value == candidate.value
    conditions = [
        Condition(
            f"{rule.metric} is known",
            evaluated,
            f"{candidate.value:.6g} on {candidate.split}"
            if candidate.value is not None
            else f"{candidate.label} was not evaluated",
            candidate.todo,
        )
    ]
    if candidate.value is None or not evaluated:
        return conditions
    value = candidate.value
    if rule.threshold is not None:
        fits = value <= rule.threshold if rule.smaller_is_better else value >= rule.threshold
        sign = "<=" if rule.smaller_is_better else ">="
        conditions.append(
            Condition(
                f"{rule.metric} {sign} {rule.threshold:g}", fits, f"{value:.6g}", "train a better model"
            )
        )
    if not rule.better_than_champion:
        return conditions
    if champion is None:
        conditions.append(Condition("better than the champion", True, "there is no champion yet"))
        return conditions
    if champion.value is None:
        conditions.append(
            Condition(
                "better than the champion",
                False,
                f"the champion {champion.label} was not evaluated",
                champion.todo,
            )
        )
        return conditions
    same = (candidate.split, candidate.fingerprint) == (champion.split, champion.fingerprint)
    conditions.append(
        Condition(
            "on the same data",
            same and bool(candidate.fingerprint),
            f"{candidate.label}: {_data(candidate)}; champion {champion.label}: {_data(champion)}",
            f"evaluate both by the same data; {champion.todo}",
        )
    )
    gain = champion.value - value if rule.smaller_is_better else value - champion.value
    enough = gain >= rule.min_improvement if rule.min_improvement else gain > 0
    least = f"by at least {rule.min_improvement:g}" if rule.min_improvement else "at all"
    conditions.append(
        Condition(
            f"better than the champion {least}",
            enough,
            f"{value:.6g} against {champion.value:.6g} of {champion.label}: better by {gain:.6g}"
            if gain > 0
            else f"{value:.6g} against {champion.value:.6g} of {champion.label}: not better",
            "train a better model, or lower registry.min_improvement",
        )
    )
    return conditions


def _data(mark: Mark) -> str:
    return f"{mark.split} {mark.fingerprint or 'without a fingerprint'}"
