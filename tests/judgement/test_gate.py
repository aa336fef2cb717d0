"""The gate of a promotion: each condition with its value, and nothing else decides."""

from __future__ import annotations

import pytest

from bessemer.config.judgement_settings import Registry
from bessemer.errors import SettingsError
from bessemer.judgement.gate import Mark, Rule, judge, rule_of

DATA = "abc"
NEW = Mark("digits/2", 0.90, "test", DATA, "evaluate two")


def old(value: float | None, split: str = "test", data: str = DATA) -> Mark:
    return Mark("digits/1", value, split, data, "evaluate one")


LARGER = Rule("accuracy", smaller_is_better=False)


@pytest.mark.parametrize(
    ("rule", "candidate", "champion", "failing"),
    [
        (LARGER, NEW, None, []),
        (LARGER, NEW, old(0.89), []),
        (LARGER, NEW, old(0.90), ["better than the champion at all"]),
        (LARGER, NEW, old(0.91), ["better than the champion at all"]),
        (Rule("loss", True), NEW, old(0.91), []),
        (Rule("loss", True), NEW, old(0.89), ["better than the champion at all"]),
        (Rule("accuracy", False, threshold=0.9), NEW, None, []),
        (Rule("accuracy", False, threshold=0.95), NEW, None, ["accuracy >= 0.95"]),
        (Rule("loss", True, threshold=0.5), NEW, None, ["loss <= 0.5"]),
        (Rule("accuracy", False, min_improvement=0.005), NEW, old(0.89), []),
        (
            Rule("accuracy", False, min_improvement=0.05),
            NEW,
            old(0.89),
            ["better than the champion by at least 0.05"],
        ),
        (LARGER, NEW, old(None), ["better than the champion"]),
        (LARGER, NEW, old(0.8, data="other"), ["on the same data"]),
        (LARGER, NEW, old(0.8, split="val"), ["on the same data"]),
        (LARGER, Mark("digits/2", todo="evaluate two"), old(0.8), ["accuracy is known"]),
        (LARGER, Mark("digits/2", float("nan"), "test", DATA), None, ["accuracy is known"]),
        (Rule("accuracy", False, better_than_champion=False), NEW, old(0.99), []),
        (LARGER, Mark("digits/2", 0.9, "test", ""), old(0.8, data=""), ["on the same data"]),
    ],
)
def test_a_gate_holds_if_all_of_its_conditions_do(
    rule: Rule, candidate: Mark, champion: Mark | None, failing: list[str]
) -> None:
    conditions = judge(rule, candidate, champion)
    assert [condition.name for condition in conditions if not condition.holds] == failing
    assert all(condition.found for condition in conditions)


def test_a_missing_evaluation_names_its_command() -> None:
    (condition,) = judge(LARGER, Mark("digits/2", todo="bessemer evaluate --run two"), None)
    assert condition.todo == "bessemer evaluate --run two"


def test_the_metric_is_that_of_the_registry_else_that_of_the_checkpoints() -> None:
    assert rule_of(Registry(), "test/loss", "min").metric == "test/loss"
    assert rule_of(Registry(), "test/score", "max").smaller_is_better is False
    named = rule_of(Registry(metric="accuracy"), "test/loss", "min")
    assert (named.metric, named.smaller_is_better) == ("accuracy", False)
    assert rule_of(Registry(metric="score", mode="min"), "", "min").smaller_is_better


def test_a_gate_without_a_metric_or_a_direction_is_refused() -> None:
    with pytest.raises(SettingsError, match="is not set, and neither"):
        rule_of(Registry(), "", "min", ["accuracy"])
    with pytest.raises(SettingsError, match="whether a smaller score is better"):
        rule_of(Registry(metric="score"), "test/loss", "min")
