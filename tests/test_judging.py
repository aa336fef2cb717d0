"""Who judges a run hears of every turn once, and ends it only where it waits to be judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bessemer.training.checkpoints import CheckpointStore
from bessemer.training.judging import Deciding
from bessemer.training.run import Run
from bessemer.training.surroundings import RunStopped
from bessemer.utils.events import ProgramEnded, TurnToJudge
from runs import Ran, run_program


class Judge:
    """Notes what it is told, and ends the run after some turns."""

    def __init__(self, *ends_after: int) -> None:
        self.told: list[TurnToJudge] = []
        self._ends_after = ends_after

    def __call__(self, turn: TurnToJudge) -> bool:
        self.told.append(turn)
        return turn.turn in self._ends_after

    @property
    def turns(self) -> list[tuple[int, bool]]:
        return [(turn.turn, turn.waits) for turn in self.told]


def train(run: Run, num_turns: int = 5, leave_after: int | None = None) -> None:
    torch.manual_seed(0)
    model = run.place(torch.nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.track(model=model, optimizer=optimizer)
    for turn in run.epochs(1, num_turns + 1):
        loss = model(torch.ones(1, 2)).square().sum()
        loss.backward()
        optimizer.step()
        run.log({"loss": float(turn)})
        if turn == leave_after:
            break


def judged(folder: Path, judge: Judge, deciding: Deciding, **options: Any) -> Ran:
    return run_program(lambda run: train(run, **options), folder, deciding=deciding, ends_after=judge)


def test_every_turn_is_told_with_its_metrics_and_how_many_there_will_be(tmp_path: Path) -> None:
    judge = Judge()
    judged(tmp_path, judge, Deciding(1, 2))
    assert judge.turns == [(1, True), (2, True), (3, False), (4, True), (5, False)]
    assert [turn.metrics["loss"] for turn in judge.told] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert {turn.num_turns for turn in judge.told} == {5}


def test_a_run_that_is_ended_has_a_checkpoint_of_that_turn_and_goes_on_after_it(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path / "checkpoints"), keep=1)
    judge = Judge(2)
    with pytest.raises(RunStopped):
        run_program(train, tmp_path, store=store, deciding=Deciding(2), ends_after=judge)
    store.wait()
    newest = store.newest()
    assert newest is not None
    assert newest[1]["num_judged"] == 2
    again = Judge()
    run_program(train, tmp_path, resume=newest[1], deciding=Deciding(2), ends_after=again)
    assert [turn for turn, _ in judge.turns + again.turns] == [1, 2, 3, 4, 5]


def test_what_is_said_of_a_turn_that_does_not_decide_ends_nothing(tmp_path: Path) -> None:
    judge = Judge(1, 3, 5)
    judged(tmp_path, judge, Deciding(2, 2))
    assert len(judge.told) == 5


def test_nothing_is_decided_after_the_last_turn(tmp_path: Path) -> None:
    judge = Judge(5)
    judged(tmp_path, judge, Deciding(5))
    assert judge.turns[-1] == (5, False)


def test_the_turn_that_a_program_leaves_its_loop_in_is_told_too(tmp_path: Path) -> None:
    judge = Judge()
    judged(tmp_path, judge, Deciding(1), leave_after=3)
    assert judge.turns == [(1, True), (2, True), (3, False)]
    assert judge.told[-1].metrics["loss"] == 3.0


def test_what_is_logged_after_the_last_turn_or_without_one_is_known_at_the_end(tmp_path: Path) -> None:
    def program(run: Run) -> None:
        run.log({"before": 1.0})
        train(run, 2)
        run.log({"loss": 0.5, "after": 7.0})

    def loopless(run: Run) -> None:
        run.log({"only": 3.0})

    ended = [event for event in run_program(program, tmp_path).events if isinstance(event, ProgramEnded)]
    assert [event.metrics for event in ended] == [{"loss": 0.5, "after": 7.0}]
    ended = [event for event in run_program(loopless, tmp_path).events if isinstance(event, ProgramEnded)]
    assert [event.metrics for event in ended] == [{"only": 3.0}]


def test_turns_of_a_loop_inside_of_another_are_not_told(tmp_path: Path) -> None:
    def nested(run: Run) -> None:
        for _ in run.epochs(2):
            for _ in run.epochs(3):
                run.log({"loss": 1.0})

    judge = Judge()
    run_program(nested, tmp_path, deciding=Deciding(1), ends_after=judge)
    assert [turn for turn, _ in judge.turns] == [1, 2]


def test_deciding_turns_are_far_apart_or_near() -> None:
    assert [turn for turn in range(30) if Deciding(2, 3).at(turn)] == [2, 6, 18]
    assert [turn for turn in range(10) if Deciding(2, every=3).at(turn)] == [2, 5, 8]
    assert not any(Deciding().at(turn) for turn in range(10))
