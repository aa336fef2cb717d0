"""A metric that is logged is that of the whole batch, once, at any number of workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from bessemer.errors import UserError
from bessemer.training.run import Run
from runs import Ran, run_program
from workers import run_on_workers


class Numbers(Dataset[torch.Tensor]):
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(index, dtype=torch.float64).sin()


def on_all(program: Callable[[Run], Any], folder: Path) -> list[Ran]:
    """The same program on 1, 2 and 3 workers; only the main one may write."""
    runs = [run_program(program, folder)]
    for size in (2, 3):
        main, *others = run_on_workers(program, size, folder)
        assert not any(ran.points or ran.events for ran in others)
        runs.append(main)
    return runs


def the_same(runs: list[Ran]) -> Ran:
    alone, *many = runs
    assert alone.points
    for ran in many:
        assert [point[:2] for point in ran.points] == [point[:2] for point in alone.points]
        values = [point[2] for point in alone.points]
        assert [point[2] for point in ran.points] == pytest.approx(values, rel=1e-12, nan_ok=True)
        assert ran.metrics == pytest.approx(alone.metrics, rel=1e-12, nan_ok=True)
    return alone


MEANS = [float(batch.mean()) for batch in torch.split(torch.arange(130).double().sin(), 3)]


def log_batches(run: Run) -> None:
    loader = run.loader(Numbers(130), batch_size=3)
    for _ in run.epochs(2):
        for x in loader:
            run.log({"mean": x.mean(), "constant": 2})
        run.log({"outside": 3.5})


def test_a_metric_of_a_sharded_loop_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    # 44 batches a pass, the last of one sample, and values are combined in between.
    ran = the_same(on_all(log_batches, tmp_path))
    assert ran.values("mean") == pytest.approx(MEANS * 2, rel=1e-12)
    assert ran.values("constant") == [2.0] * 88
    assert ran.values("outside") == [3.5, 3.5]


def test_a_row_has_means_of_what_is_logged_each_step_and_the_last_of_everything_else(tmp_path: Path) -> None:
    for ran in on_all(log_batches, tmp_path):
        expected = {"mean": sum(MEANS) / len(MEANS), "constant": 2.0, "outside": 3.5}
        assert ran.rows[0].metrics == pytest.approx(expected, rel=1e-12)
        assert ran.values("epoch/outside") == [3.5, 3.5]
        assert ran.metrics["outside"] == 3.5


def log_each_turn(run: Run) -> None:
    for epoch in run.epochs(3):
        run.log({"value": epoch, "twice": epoch})
        run.log({"twice": epoch + 10})


def test_outside_of_loops_the_last_value_of_a_turn_counts(tmp_path: Path) -> None:
    ran = the_same(on_all(log_each_turn, tmp_path))
    assert [row.metrics for row in ran.rows] == [{"value": float(e), "twice": e + 10.0} for e in range(3)]
    assert ran.values("twice") == [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]


def log_step_numbers(run: Run) -> None:
    model = run.place(torch.nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(optimizer=optimizer)
    for x in run.loader(Numbers(8), batch_size=4):
        run.log({"before": 1.0})
        torch.autograd.backward(model(x.float().unsqueeze(1)).sum())
        optimizer.step()
        run.log({"after": 1.0})
        run.log({"chosen": 1.0}, step=77)


def test_a_metric_belongs_to_the_current_step_unless_it_says_which(tmp_path: Path) -> None:
    ran = the_same(on_all(log_step_numbers, tmp_path))
    steps = {name: [step for found, step, _ in ran.points if found == name] for name, _, _ in ran.points}
    assert steps == {"before": [0, 1], "after": [1, 2], "chosen": [77, 77]}


VALUES: list[Any] = [
    3,
    2.5,
    True,
    np.float32(1.5),
    np.int64(4),
    np.array(2.0),
    torch.tensor(2.5),
    torch.tensor([2.5]),
    torch.tensor([[2.5]], dtype=torch.float16),
    torch.tensor(3, dtype=torch.int32),
    torch.tensor(True),
    torch.tensor(1.5, requires_grad=True),
    torch.tensor(1.5, dtype=torch.bfloat16),
]


@pytest.mark.parametrize("value", VALUES, ids=[f"{type(v).__name__} {v}" for v in VALUES])
def test_everything_that_is_one_number_can_be_logged(tmp_path: Path, value: Any) -> None:
    def program(run: Run) -> None:
        run.log({"outside": value})
        for _ in run.loader(Numbers(2), batch_size=2):
            run.log({"inside": value})

    assert run_program(program, tmp_path).points == [
        ("outside", 0, float(torch.as_tensor(value).detach())),
        ("inside", 0, float(torch.as_tensor(value).detach())),
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_logged_as_they_are(tmp_path: Path, value: float) -> None:
    points = run_program(lambda run: run.log({"loss": value}), tmp_path).points
    assert [point[2] for point in points] == pytest.approx([value], nan_ok=True)


BAD: list[tuple[Any, str]] = [
    (torch.zeros(2), r"Tensor of shape \(2,\)"),
    (torch.zeros(0), r"Tensor of shape \(0,\)"),
    ("0.5", "str"),
    (None, "NoneType"),
    ([0.5], "list"),
    (np.zeros(3), r"ndarray of shape \(3,\)"),
    (1 + 2j, "complex"),
]


@pytest.mark.parametrize(("value", "said"), BAD, ids=[said for _, said in BAD])
def test_what_is_no_number_is_refused_where_it_is_logged(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"run.log got {said} for 'loss'"):
        run_program(lambda run: run.log({"fine": 1.0, "loss": value}), tmp_path)


def test_a_tensor_that_is_logged_can_be_written_to_afterwards(tmp_path: Path) -> None:
    def program(run: Run) -> None:
        total = torch.zeros(())
        for _ in run.loader(Numbers(3), batch_size=1):
            total += 1
            run.log({"total": total})

    assert run_program(program, tmp_path).values("total") == [1.0, 2.0, 3.0]


def log_not_a_number_on_stand_ins(run: Run) -> None:
    for x in run.loader(Numbers(4), batch_size=3):
        run.log({"loss": x.mean() if run.share else float("nan")})


def test_a_stand_in_does_not_count_whatever_it_logs(tmp_path: Path) -> None:
    ran = the_same(on_all(log_not_a_number_on_stand_ins, tmp_path))
    assert all(value == value for value in ran.values("loss"))


def log_in_a_loop_that_is_left(run: Run) -> None:
    for number, x in run.loader(Numbers(12), batch_size=4).enumerate():
        run.log({"mean": x.mean()})
        if number == 1:
            break
    run.log({"outside": 1.0})
    for x in run.loader(Numbers(12), batch_size=4):
        run.log({"other": x.mean()})
        break


def test_a_loop_that_was_left_loses_no_metric(tmp_path: Path) -> None:
    ran = the_same(on_all(log_in_a_loop_that_is_left, tmp_path))
    assert len(ran.values("mean")) == 2
    assert len(ran.values("other")) == 1


def log_whole_batches(run: Run) -> None:
    for x in run.loader(Numbers(6), batch_size=2, shard=False):
        run.log({"mean": x.mean()})


def test_a_loop_that_is_not_sharded_logs_its_batch_once(tmp_path: Path) -> None:
    the_same(on_all(log_whole_batches, tmp_path))


def evaluate_inside(run: Run, shard: bool) -> None:
    for x in run.loader(Numbers(9), batch_size=4):
        for y in run.loader(Numbers(10), batch_size=3, shard=shard):
            run.log({"inner": y.mean()})
        run.log({"outer": x.mean()})


def evaluate_inside_sharded(run: Run) -> None:
    evaluate_inside(run, shard=True)


def evaluate_inside_whole(run: Run) -> None:
    evaluate_inside(run, shard=False)


def test_an_evaluation_inside_of_a_training_loop_logs_its_own_batches(tmp_path: Path) -> None:
    the_same(on_all(evaluate_inside_sharded, tmp_path))


def test_an_evaluation_of_whole_batches_inside_of_a_sharded_loop_logs_them_once(tmp_path: Path) -> None:
    the_same(on_all(evaluate_inside_whole, tmp_path))


def log_on_main_in_a_loop(run: Run) -> None:
    for _ in run.epochs(2):
        for x in run.loader(Numbers(9), batch_size=4):
            if run.is_main:
                run.log({"mine": float(len(x) > 0)})


def test_logging_in_a_loop_on_the_main_worker_only_does_not_hang(tmp_path: Path) -> None:
    for size in (2, 3):
        main = run_on_workers(log_on_main_in_a_loop, size, tmp_path)[0]
        assert main.values("mine") == [1.0] * 6


def log_on_main_outside(run: Run) -> Any:
    totals = run.totals(count=0)
    for _ in run.epochs(2):
        for x in run.loader(Numbers(9), batch_size=4):
            totals.count += len(x)
        if run.is_main:
            run.log({"count": totals.count, "mine": 1.0})
    return totals.count


def test_logging_outside_of_a_loop_on_the_main_worker_only_does_not_hang(tmp_path: Path) -> None:
    for size in (2, 3):
        many = run_on_workers(log_on_main_outside, size, tmp_path)
        assert [ran.result for ran in many] == [18] * size
        assert many[0].values("mine") == [1.0, 1.0]
        assert many[0].values("count") == [9.0, 18.0]


def leave_files(run: Run) -> str:
    where = run.save({"a": 1}, "models/model.pt")
    return str(where.relative_to(run.output_dir))


def test_files_are_kept_once(tmp_path: Path) -> None:
    many = run_on_workers(leave_files, 2, tmp_path)
    assert [ran.result for ran in many] == ["models/model.pt"] * 2
    assert [ran.files for ran in many] == [["files/model.pt"], []]
    assert torch.load(tmp_path / "models/model.pt") == {"a": 1}
