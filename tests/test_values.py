"""What a loop keeps for itself: carried values, and totals that are exact over any number of workers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from bessemer.training.run import Run
from bessemer.training.values import Carried, Totals
from bessemer.utils.collectives import Group
from runs import Ran, run_program
from workers import run_on_workers


class Numbers(Dataset[int]):
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index + 1


def totals_alone(**initial: Any) -> Totals:
    return Totals(initial, 0, lambda: None)


def on_all(program: Callable[[Run], Any], folder: Path) -> list[Ran]:
    """The same program on 1, 2 and 3 workers; all workers of a run must agree."""
    runs = [run_program(program, folder)]
    for size in (2, 3):
        many = run_on_workers(program, size, folder)
        assert all(ran.result == many[0].result for ran in many)
        runs.append(many[0])
    return runs


# Carried values


def test_carried_values_are_read_and_set_as_attributes() -> None:
    carried = Carried({"best": 0.0, "history": [], "name": None})
    carried.best = 0.5
    carried.history.append(3)
    carried.name = "x"
    assert (carried.best, carried.history, carried.name) == (0.5, [3], "x")
    assert repr(carried) == "Carried(best=0.5, history=[3], name='x')"


@pytest.mark.parametrize("values", [Carried({"best": 0.0, "other": 1}), totals_alone(best=0.0, other=1)])
def test_a_misspelt_name_is_an_error_that_names_the_known_ones(values: Carried) -> None:
    with pytest.raises(AttributeError, match=r"'bset'.*best, other"):
        values.bset = 1.0
    with pytest.raises(AttributeError, match=r"'bset'.*best, other"):
        values.bset  # noqa: B018
    assert not hasattr(values, "bset")
    assert getattr(values, "bset", 7) == 7


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), st.integers() | st.text(), min_size=1))
def test_saved_values_come_back(values: dict[str, Any]) -> None:
    again = Carried(dict.fromkeys(values))
    again.load_state_dict(Carried(values).state_dict())
    assert again.state_dict() == values


def test_a_saved_state_does_not_change_with_the_values() -> None:
    carried = Carried({"best": 0.0})
    state = carried.state_dict()
    carried.best = 1.0
    assert state == {"best": 0.0}


def test_carried_values_can_be_copied() -> None:
    carried = copy.deepcopy(Carried({"history": [1]}))
    assert carried.history == [1]


def test_the_first_values_that_were_given_are_not_written_to() -> None:
    initial = {"best": 0.0}
    Carried(initial).best = 1.0
    assert initial == {"best": 0.0}


# Totals of one worker


def test_totals_of_one_worker_are_what_was_added() -> None:
    totals = totals_alone(loss=0.0, correct=0)
    totals.begin_pass()
    for _ in range(10):
        totals.begin_step(counts=True)
        totals.loss += 0.1
        totals.correct += 1
    totals.end_pass(Group())
    expected = 0.0
    for _ in range(10):
        expected += 0.1
    assert (totals.loss, totals.correct) == (expected, 10)


def test_totals_can_be_set_back_between_loops() -> None:
    totals = totals_alone(correct=0)
    totals.begin_pass()
    totals.correct += 3
    totals.end_pass(Group())
    totals.correct = 0
    assert totals.correct == 0


# Totals of many workers


def sum_a_pass(run: Run) -> Any:
    totals = run.totals(
        loss=0.25, count=3, ones=torch.zeros(2, dtype=torch.int64), mean=torch.zeros((), dtype=torch.float64)
    )
    loader = run.loader(Numbers(23), batch_size=5, shuffle=True)
    seen = []
    for _ in run.epochs(2):
        for x in loader:
            totals.loss += float(x.double().sqrt().sum())
            totals.count += len(x)
            totals.ones += torch.tensor([len(x), 1])[0]
            totals.mean = totals.mean + x.double().mean() * run.share
        seen.append([totals.loss, float(totals.mean)])
    kinds = [type(totals.count).__name__, str(totals.ones.dtype)]
    return seen, [totals.count, totals.ones.tolist()], kinds


def test_totals_are_exact_at_any_number_of_workers(tmp_path: Path) -> None:
    alone, *many = on_all(sum_a_pass, tmp_path)
    seen, counts, kinds = alone.result
    assert counts == [3 + 46, [46, 46]]
    assert kinds == ["int", "torch.int64"]
    for ran in many:
        assert ran.result[1:] == (counts, kinds)
        for one, other in zip(ran.result[0], seen, strict=True):
            assert one == pytest.approx(other, rel=1e-12)


def count_few_samples(run: Run) -> Any:
    totals = run.totals(count=0, sum=0, batches=0.0)
    for x in run.loader(Numbers(7), batch_size=3):
        totals.count += len(x)
        totals.sum += int(x.sum())
        totals.batches += run.share
    return [totals.count, totals.sum, round(totals.batches, 9)]


def test_a_stand_in_is_not_counted(tmp_path: Path) -> None:
    # The last batch has one sample, so the other workers have none.
    for ran in on_all(count_few_samples, tmp_path):
        assert ran.result == [7, 28, 3.0]


def leave_early(run: Run, after: int) -> Any:
    totals = run.totals(count=0)
    read = []
    for number, x in run.loader(Numbers(7), batch_size=3).enumerate():
        totals.count += len(x)
        if number == after:
            break
    read.append(totals.count)
    for x in run.loader(Numbers(7), batch_size=3):
        totals.count += len(x)
    read.append(totals.count)
    return read


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_loop_that_was_left_is_summed_when_the_total_is_read(tmp_path: Path, after: int) -> None:
    expected = [min(7, 3 * (after + 1)), min(7, 3 * (after + 1)) + 7]
    assert run_program(lambda run: leave_early(run, after), tmp_path).result == expected
    for size in (2, 3):
        many = run_on_workers(leave_early, size, tmp_path, None, (after,))
        assert [ran.result for ran in many] == [expected] * size


def leave_and_never_read(run: Run) -> Any:
    totals = run.totals(count=0)
    for x in run.loader(Numbers(12), batch_size=6):
        totals.count += len(x)
        break
    other = run.totals(count=0)
    for x in run.loader(Numbers(12), batch_size=6):
        other.count += len(x)
    return [other.count, totals.count]


def test_a_loop_that_was_left_is_summed_before_the_next_begins(tmp_path: Path) -> None:
    for ran in on_all(leave_and_never_read, tmp_path):
        assert ran.result == [12, 6]


def leave_and_add(run: Run) -> Any:
    totals = run.totals(count=0)
    for x in run.loader(Numbers(12), batch_size=6):
        totals.count += len(x)
        break
    totals.count += 1
    return totals.count


def test_what_is_added_after_a_loop_that_was_left_is_not_summed(tmp_path: Path) -> None:
    assert [ran.result for ran in on_all(leave_and_add, tmp_path)] == [7, 7, 7]


def set_after_leaving(run: Run) -> Any:
    totals = run.totals(count=0)
    for x in run.loader(Numbers(12), batch_size=6):
        totals.count += len(x)
        break
    totals.count = 5
    return totals.count


def test_a_total_that_is_set_after_a_loop_that_was_left_is_what_it_was_set_to(tmp_path: Path) -> None:
    assert [ran.result for ran in on_all(set_after_leaving, tmp_path)] == [5, 5, 5]


def add_outside(run: Run) -> Any:
    totals = run.totals(count=0)
    totals.count += 1
    for x in run.loader(Numbers(6), batch_size=3, shard=False):
        totals.count += len(x)
    totals.count += 1
    return totals.count


def test_what_every_worker_adds_alike_is_counted_once(tmp_path: Path) -> None:
    assert [ran.result for ran in on_all(add_outside, tmp_path)] == [8, 8, 8]


def evaluate_inside(run: Run) -> Any:
    outer = run.totals(count=0)
    seen = []
    for x in run.loader(Numbers(7), batch_size=3):
        outer.count += len(x)
        inner = run.totals(count=0)
        for y in run.loader(Numbers(10), batch_size=4):
            inner.count += len(y)
        seen.append(inner.count)
    return [outer.count, seen]


def test_an_evaluation_inside_of_a_training_loop_has_its_own_totals(tmp_path: Path) -> None:
    assert [ran.result for ran in on_all(evaluate_inside, tmp_path)] == [[7, [10, 10, 10]]] * 3
