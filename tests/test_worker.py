"""What one worker does with its job, from the first line to the last, told to a driver without Ray."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import TensorDataset

from bessemer.config.settings import Settings
from bessemer.errors import BessemerError
from bessemer.training.account import Account, Books
from bessemer.training.monitor import Monitor
from bessemer.training.placement import Placement
from bessemer.training.run import Run
from bessemer.training.stopwatch import Stopwatch
from bessemer.training.worker import Job, run_job
from bessemer.utils.collectives import Group
from bessemer.utils.console import TrainingScreen
from bessemer.utils.events import AttemptStarted, Event, Tally
from runs import Line, run_program, settings_with


def train(run: Run, settings: Any) -> None:
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    rows = TensorDataset(torch.arange(24.0).reshape(8, 3))
    training = run.loader(rows, batch_size=2, shuffle=True)
    judging = run.loader(rows, batch_size=4)
    for epoch in run.epochs(3):
        for (x,) in training:
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        for (x,) in judging:
            model(x)
        run.log({"epoch": epoch})
        if settings is None and epoch == 1 and not (run.output_dir / "failed").exists():
            (run.output_dir / "failed").touch()
            raise ValueError("no more")


def failing(run: Run, _settings: Any) -> None:
    """Fails at the end of its second epoch, once."""
    train(run, None)


def settings_of() -> Settings:
    return settings_with(checkpoint={"every_steps": 3, "keep": 5}, tracking={"log_model": False})


def job(folder: Path, monitor: Monitor, settings: Settings, program: Any = train) -> Job:
    return Job(
        search_path=(),
        program=cloudpickle.dumps(program),
        settings=cloudpickle.dumps(settings),
        run_dir=folder,
        placement=Placement(1, False, 1.0, 0.0, 1, 1.0),
        tracked=None,
        monitor=monitor,
    )


def screen_of(events: list[Event]) -> str:
    text = io.StringIO()
    screen = TrainingScreen(Console(file=text, width=200))
    for event in events:
        screen.show(event)
    return text.getvalue()


def test_that_a_damaged_newest_checkpoint_was_passed_over_is_shown_to_who_resumes(tmp_path: Path) -> None:
    run_job(job(tmp_path, Line(), settings_of()), Group(), torch.device("cpu"), None)
    states = sorted((tmp_path / "checkpoints").glob("step-*/state.pt"))
    states[-1].write_bytes(states[-1].read_bytes()[:-1])
    resumed = Line()
    run_job(job(tmp_path, resumed, settings_of()), Group(), torch.device("cpu"), None)
    shown = screen_of(resumed.mailbox.read().events)
    note = next(line for line in shown.splitlines() if line.startswith("note: "))
    assert f"the checkpoint {states[-1].parent} is damaged" in note
    assert note.endswith("going back to the checkpoint before it")
    before = int(states[-2].parent.name.split("-")[1])
    assert f"from step {before}" in shown
    assert shown.index(note) < shown.index(f"from step {before}")


def account_of(events: list[Event]) -> Account:
    books = Books()
    for event in events:
        books.take(event)
    return books.account(books.tallies[-1].at)


def test_a_loop_of_epochs_is_told_with_its_steps_and_checkpoints(tmp_path: Path) -> None:
    monitor = Line()
    run_job(job(tmp_path, monitor, settings_of()), Group(), torch.device("cpu"), None)
    account = account_of(monitor.mailbox.read().events)
    assert account.num_steps == account.last_step == 12
    # Between batches after every third step since the one before, and at the end of each epoch.
    assert account.num_checkpoints == 6
    assert 0 < account.longest_checkpoint_s <= account.checkpoint_s
    assert account.steps_s > 0
    assert account.data_wait_s > 0
    assert account.other_s > 0
    assert account.recoveries == ()


def test_what_a_failed_attempt_did_is_told_and_what_the_next_does_again_is_counted(tmp_path: Path) -> None:
    monitor = Line()
    with pytest.raises(BessemerError, match="no more"):
        run_job(job(tmp_path, monitor, settings_of(), failing), Group(), torch.device("cpu"), None)
    run_job(job(tmp_path, monitor, settings_of(), failing), Group(), torch.device("cpu"), None)
    events = monitor.mailbox.read().events
    account = account_of(events)
    # It failed after step 8; which checkpoint was on storage by then is up to the disk.
    started = [event for event in events if isinstance(event, AttemptStarted)]
    resumed = started[1].resumed_step or 0
    assert account.last_step == 12
    assert account.num_steps == 8 + 12 - resumed
    assert account.num_steps_again == 8 - resumed > 0
    (recovery,) = account.recoveries
    assert recovery.is_exact
    assert recovery.restored_s is not None
    assert recovery.again_s is not None


def test_turns_of_run_steps_without_a_loader_are_told(tmp_path: Path) -> None:
    def program(run: Run) -> None:
        model = run.place(nn.Linear(2, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        run.track(model=model, optimizer=optimizer)
        for _step in run.steps(40):
            optimizer.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()

    told: list[Tally] = []
    stopwatch = Stopwatch(told.append)
    run_program(program, tmp_path, stopwatch=stopwatch)
    stopwatch.end()
    assert told[-1].num_steps == told[-1].step == 40
    assert told[-1].steps_s > 0
    assert told[-1].data_wait_s == 0


class Clock:
    """Stands still but for what the program spends."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def epochs_with_evaluation(run: Run, clock: Clock) -> None:
    step, training, judging = parts_of(run, clock)
    for _epoch in run.epochs(2):
        for (x,) in training:
            step(x)
        judge(judging, clock)


def evaluation_in_the_middle(run: Run, clock: Clock) -> None:
    step, training, judging = parts_of(run, clock)
    for _epoch in run.epochs(2):
        for (x,) in training:
            step(x)
            if run.step == 2:
                judge(judging, clock)
        judge(judging, clock)


def an_iterator_that_is_held(run: Run, clock: Clock) -> None:
    step, training, judging = parts_of(run, clock)
    batches = iter(training)
    for number in run.steps(8):
        try:
            (x,) = next(batches)
        except StopIteration:
            batches = iter(training)
            (x,) = next(batches)
        step(x)
        if number % 4 == 3:
            judge(judging, clock)


def parts_of(run: Run, clock: Clock) -> Any:
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    rows = TensorDataset(torch.arange(24.0).reshape(8, 3))

    def step(x: torch.Tensor) -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        clock.now += 1
        optimizer.step()

    return step, run.loader(rows, batch_size=2, shuffle=True), run.loader(rows, batch_size=4)


def judge(loader: Any, clock: Clock) -> None:
    for _batch in loader:
        clock.now += 10


@pytest.mark.parametrize(
    ("program", "num_evaluations"),
    [(epochs_with_evaluation, 2), (evaluation_in_the_middle, 3), (an_iterator_that_is_held, 2)],
    ids=["epochs", "in the middle", "held iterator"],
)
def test_loops_of_every_shape_are_told_apart_from_the_evaluation_in_them(
    tmp_path: Path, program: Any, num_evaluations: int
) -> None:
    clock, told = Clock(), list[Tally]()
    stopwatch = Stopwatch(told.append, clock=clock)
    run_program(lambda run: program(run, clock), tmp_path, stopwatch=stopwatch)
    stopwatch.end()
    last = told[-1]
    assert last.num_steps == 8
    assert last.first_step_at == 1001
    # The loaders wait by the real clock, which stands for nothing here but a few milliseconds.
    assert last.steps_s == pytest.approx(7, abs=0.5)
    assert last.at - last.first_step_at == 7 + num_evaluations * 2 * 10
