"""Promotes a version of a model to a place, such as champion, if the gate in the settings holds."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.config.settings import Settings
from bessemer.errors import TrackingError, UserError
from bessemer.judgement.gate import Condition, Rule, judge, rule_of
from bessemer.judgement.marks import FORCED_TAG, mark_of, reports_for
from bessemer.judgement.registration import CHALLENGER
from bessemer.tracking import Version, move_alias, tag_version, versions

PREVIOUS = "previous"


@dataclass(frozen=True)
class Promotion:
    """What came of a promotion.

    Attributes:
        version: that was to be promoted.
        place: alias that it was to get.
        rule: what decided.
        conditions: of the gate.
        done: whether it has the place now.
        before: version that had it, or None.
        forced: why the gate was passed over; "" if it was not.
        was_there: whether it had the place already.
    """

    version: Version
    place: str
    rule: Rule
    conditions: tuple[Condition, ...]
    done: bool
    before: Version | None = None
    forced: str = ""
    was_there: bool = False


def promote(uri: str, name: str, settings: Settings, number: int, place: str, forced: str) -> Promotion:
    """Give a version of a model a place, if the gate holds; nothing changes if it does not.

    Args:
        uri: tracking store.
        name: of the model.
        settings: of the project.
        number: of the version; 0 for the challenger.
        place: alias.
        forced: why it is promoted though the gate does not hold; "" if it is not to be.

    Raises:
        TrackingError: there is no such version, or the registry cannot be reached.
        UserError: the place is one that other commands use.
    """
    if place in (CHALLENGER, PREVIOUS):
        raise UserError(
            f"{place} is given by bessemer itself",
            expected="another place, such as champion",
            todo="bessemer promote --to champion",
        )
    known = versions(uri, name)
    version = _wanted(known, name, number)
    known_metrics = sorted({metric for report in reports_for(version) for metric in report.names})
    checkpoint = settings.checkpoint
    rule = rule_of(settings.registry, checkpoint.best_metric, checkpoint.best_mode, known_metrics)
    before = next((each for each in known if place in each.aliases), None)
    split = settings.registry.split
    candidate = mark_of(version, rule.metric, split)
    if before is not None and before.number == version.number:
        return Promotion(version, place, rule, (), True, before, was_there=True)
    champion = mark_of(before, rule.metric, split) if before is not None else None
    conditions = tuple(judge(rule, candidate, champion))
    passed = all(condition.holds for condition in conditions)
    if not passed and not forced:
        return Promotion(version, place, rule, conditions, False, before)
    if not passed:
        # Before the alias: a version in that place without the reason must not be there for a moment.
        tag_version(uri, name, version.number, {FORCED_TAG: forced})
    move_alias(uri, name, place, version.number)
    if before is not None:
        move_alias(uri, name, PREVIOUS, before.number)
    return Promotion(version, place, rule, conditions, True, before, forced if not passed else "")


def _wanted(known: list[Version], name: str, number: int) -> Version:
    if not known:
        raise TrackingError(
            f"no version of the model {name} is registered",
            expected="a version to promote",
            todo="bessemer register",
        )
    if number:
        found = [version for version in known if version.number == number]
    else:
        found = [version for version in known if CHALLENGER in version.aliases]
    if not found:
        numbers = ", ".join(str(version.number) for version in known)
        what = f"has no version {number}" if number else f"has no version with the alias {CHALLENGER}"
        raise TrackingError(
            f"the model {name} {what}", expected=f"one of the versions {numbers}", todo="--version N"
        )
    return found[0]
