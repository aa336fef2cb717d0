"""Verification never says equal when something differs, or when nothing was compared."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bessemer.proof.command import joined_verdict, to_json
from bessemer.proof.comparison import (
    TOLERANCE,
    Difference,
    Verdict,
    compare,
    judge_one,
    judge_original,
    judge_several,
    reach,
    relative,
    rounding_may_explain,
)
from bessemer.proof.tapes import Loss, Step, Tape, UnequalWorkersError, joined


def tape(losses: Sequence[float], *, totals: Sequence[float] = (), digest: str = "d") -> Tape:
    events: list[Loss | Step] = []
    for number, loss in enumerate(losses):
        events.append(Loss(loss))
        events.append(Step("Adam", f"{digest}{number}", totals[number] if totals else 1.0))
    return Tape(tuple(events))


def with_losses(losses: Sequence[float], share: float, rank: int = 0) -> Tape:
    return replace(tape(losses), events=tuple(Loss(x, share=share) for x in losses), rank=rank)


def test_the_same_tape_is_equal() -> None:
    found = judge_one(tape([1.0, math.nan]), [tape([1.0, math.nan])])
    assert (found.verdict, found.steps_compared, found.workers) == ("equal", 2, 1)
    assert (found.max_difference, found.first_difference) == (0.0, None)


def test_the_last_bit_of_a_loss_is_a_difference() -> None:
    found = judge_one(tape([1.0, 2.0]), [tape([1.0, math.nextafter(2.0, 3.0)])])
    assert found.verdict == "different"
    assert found.first_difference == Difference(2, "loss", 2.0, math.nextafter(2.0, 3.0))
    assert found.steps_compared == 1


def test_signs_of_zero_differ() -> None:
    assert compare(tape([0.0]), tape([-0.0])).first is not None


def test_parameters_that_differ_though_their_sum_does_not_are_a_difference() -> None:
    found = compare(tape([1.0, 1.0]), tape([1.0, 1.0], digest="other")).first
    assert found == Difference(1, "digest of the parameters after Adam", "d0", "other0")


def test_parameters_before_a_loss_count_where_updates_are_made_by_hand() -> None:
    ours, theirs = Tape((Loss(1.0, "a"), Loss(1.0, "b"))), Tape((Loss(1.0, "a"), Loss(1.0, "c")))
    found = compare(ours, theirs)
    assert found.first is not None
    assert (found.first.step, found.num_steps) == (2, 1)
    assert "no optimizer" in found.compared


@pytest.mark.parametrize("more", [tape([1.0, 2.0]), Tape((*tape([1.0]).events, Loss(3.0)))])
def test_a_side_that_goes_on_longer_differs(more: Tape) -> None:
    for first, second in ((tape([1.0]), more), (more, tape([1.0]))):
        found = judge_one(first, [second])
        assert found.verdict == "different"
        assert found.first_difference is not None
        assert (found.first_difference.step, found.first_difference.name) == (2, "what happens")


def test_another_optimizer_or_another_kind_of_event_differs() -> None:
    ours = tape([1.0])
    sgd = Tape((Loss(1.0), Step("SGD", "d0", 1.0)))
    two = Tape((Loss(1.0), Loss(1.0)))
    assert compare(ours, sgd).first == Difference(1, "optimizer", "Adam", "SGD")
    assert compare(ours, two).first == Difference(1, "what happens", "a step of Adam", "loss 1.0")


@pytest.mark.parametrize("tapes", [[], [tape([1.0]), tape([1.0])]])
def test_no_process_that_trained_and_two_of_them_are_not_comparable(tapes: list[Tape]) -> None:
    assert judge_one(tape([1.0]), tapes).verdict == "not-comparable"
    found = judge_original(tapes, tapes)
    assert found is not None
    assert found.verdict == "not-comparable"


def test_nothing_compared_is_never_equal() -> None:
    assert judge_one(Tape(()), [Tape(())]).verdict == "not-comparable"
    assert judge_several([Tape(())], [Tape(())], 1, "mean").verdict == "not-comparable"


# Several workers


def test_a_mean_loss_of_the_batch_is_weighted_by_the_workers_shares() -> None:
    parts = [with_losses([3.0], 0.75), with_losses([7.0], 0.25)]
    assert joined(parts, "mean").events[0] == Loss(4.0, share=0.75)
    assert joined(parts, "sum").events[0] == Loss(10.0, share=0.75)


def test_a_worker_without_a_sample_counts_nothing_and_equal_work_counts_once() -> None:
    assert joined([with_losses([3.0], 1.0), with_losses([9.0], 0.0)], "sum").events[0] == Loss(3.0)
    assert joined([with_losses([3.0], 1.0), with_losses([3.0], 1.0)], "sum").events[0] == Loss(3.0)


def test_workers_whose_parameters_differ_are_different() -> None:
    with pytest.raises(UnequalWorkersError, match="after step 1"):
        joined([tape([1.0]), tape([1.0], digest="other")], "mean")
    found = judge_several([tape([1.0])], [tape([1.0]), tape([1.0], digest="other")], 2, "mean")
    assert found.verdict == "different"


def test_parameters_that_are_no_numbers_are_equal_on_all_workers_and_that_is_said() -> None:
    # Each its own object: the same `nan` would equal itself.
    def lost() -> Tape:
        return tape([1.0, float("nan")], totals=[1.0, float("nan")])

    found = judge_several([lost()], [lost(), lost()], 2, "mean")
    assert found.verdict == "equal"
    assert "from step 2 on they are no finite numbers" in found.reason


def test_several_workers_may_differ_by_rounding_and_no_more() -> None:
    one = with_losses([1.0, 2.0], 1.0)
    for offset, word in ((0.5, "equal"), (2.0, "different")):
        near = [1.0, 2.0 * (1 + offset * TOLERANCE)]
        several = [with_losses(near, 0.5), with_losses(near, 0.5, 1)]
        found = judge_several([one], several, 2, "mean")
        assert (found.verdict, found.workers) == (word, 2)
        assert found.max_difference == pytest.approx(offset * TOLERANCE, rel=1e-2)


@pytest.mark.parametrize(("said", "true"), [("mean", "sum"), ("sum", "mean")])
def test_a_wrong_loss_reduction_is_named(said: str, true: str) -> None:
    local = 3.0 if true == "sum" else 6.0
    several = [with_losses([local], 0.5), with_losses([local], 0.5, 1)]
    found = judge_several([with_losses([6.0], 1.0)], several, 2, said)  # type: ignore[arg-type]
    assert found.verdict == "different"
    assert f'scaling.loss_reduction = "{true}"' in found.reason
    one = [with_losses([6.0], 1.0)]
    assert not rounding_may_explain(found, one, several, said)  # type: ignore[arg-type]


def test_where_rounding_is_amplified_several_workers_may_go_as_far_but_not_before() -> None:
    one, shaken = with_losses([1.0, 1.0, 1.0], 1.0), with_losses([1.0, 1.0 + 1e-3, 1.0], 1.0)
    assert reach(one, shaken) == pytest.approx([TOLERANCE, 1e-2, 1e-2], rel=1e-2)

    def judged(losses: list[float]) -> str:
        several = [with_losses(losses, 0.5), with_losses(losses, 0.5, 1)]
        return judge_several([one], several, 2, "mean", [shaken]).verdict

    several = [with_losses([1.0, 1.05, 1.0], 0.5), with_losses([1.0, 1.05, 1.0], 0.5, 1)]
    assert rounding_may_explain(judge_several([one], several, 2, "mean"), [one], several, "mean")
    assert judged([1.0, 1.005, 1.005]) == "equal"
    assert judged([1.0, 1.05, 1.0]) == "different"
    assert judged([1.005, 1.005, 1.005]) == "different"


def test_draws_of_the_program_make_several_workers_not_comparable_where_they_differ() -> None:
    one = replace(with_losses([1.0], 1.0), notes=frozenset({"draws"}))
    several = [with_losses([1.3], 0.5), with_losses([1.5], 0.5, 1)]
    found = judge_several([one], several, 2, "mean")
    assert found.verdict == "not-comparable"
    assert "each worker draws its own" in found.reason


def test_a_wrong_loss_reduction_is_named_though_the_program_draws() -> None:
    one = [replace(with_losses([67.4], 1.0), notes=frozenset({"draws"}))]
    several = [with_losses([33.0], 0.5), with_losses([35.1], 0.5, 1)]
    assert judge_several(one, several, 2, "sum").verdict == "not-comparable"
    found = judge_several(one, several, 2, "mean")
    assert found.verdict == "different"
    assert 'scaling.loss_reduction = "sum"' in found.reason


def test_what_was_switched_off_is_said() -> None:
    notes = frozenset({"dropout", "batch statistics"})
    one = replace(with_losses([1.0], 1.0), notes=notes)
    found = judge_several([one], [with_losses([1.0], 0.5), with_losses([1.0], 0.5, 1)], 2, "mean")
    assert "dropout and batch statistics switched off on both sides" in found.compared[0]


def test_equal_on_one_worker_and_not_comparable_on_several_says_both() -> None:
    one = Verdict("equal", "equal on one", 12, 1, 0.0)
    found = joined_verdict(one, Verdict("not-comparable", "draws", 0, 2))
    assert (found.verdict, found.workers) == ("equal", 1)
    assert "not compared on several: draws" in found.reason
    assert joined_verdict(one, Verdict("different", "other", 3, 2)).verdict == "different"


def test_numbers_that_json_does_not_know_are_text() -> None:
    found = judge_one(tape([1.0]), [tape([math.nan])])
    text = json.dumps(to_json(found), allow_nan=False)
    values = json.loads(text)
    assert values["first_difference"]["converted"] == "nan"
    assert {"verdict", "reason", "steps_compared", "workers", "max_difference", "first_difference"} <= set(
        values
    )


def test_relative_differences() -> None:
    assert relative(1.0, 2.0) == relative(2.0, 1.0) == 0.5
    assert relative(math.inf, math.inf) == 0.0
    assert relative(1.0, math.nan) == relative(math.inf, 1.0) == math.inf
