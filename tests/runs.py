"""Runs a program as a worker does, in this process, and keeps everything that leaves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bessemer.config.settings import Settings
from bessemer.data.feed import OpenSource
from bessemer.data.generators import seed_generators
from bessemer.errors import BessemerError
from bessemer.training.checkpoints import CheckpointStore, State
from bessemer.training.judging import Deciding
from bessemer.training.monitor import Attempt, Mailbox, Monitor
from bessemer.training.observing import Observer
from bessemer.training.outlet import Outlet
from bessemer.training.run import Run
from bessemer.training.session import Session, closing
from bessemer.training.stopwatch import Stopwatch
from bessemer.training.surroundings import Mode, ProgramInspected, Surroundings
from bessemer.utils.collectives import Group
from bessemer.utils.events import Event, TurnEnded, TurnToJudge

# The models are tiny; threads that wait for each other would only take the cores from the workers.
torch.set_num_threads(1)

# Anything but the time, which is different every time.
_TIMES = ("epoch/duration_s", "epoch/samples_per_s", "epoch/data_wait_fraction")

Program = Callable[[Run], Any]


class FakeWriter:
    """Keeps what would go to MLflow."""

    def __init__(self) -> None:
        self.points: list[tuple[str, int, float]] = []
        self.files: list[str] = []

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.points += [(name, step, value) for name, value in metrics.items() if name not in _TIMES]

    def log_file(self, path: Path, folder: str | None = None) -> None:
        self.files.append(f"{folder}/{path.name}")

    def set_tags(self, tags: Mapping[str, str]) -> None:
        raise AssertionError("no program sets tags")

    def barrier(self) -> Callable[[], None]:
        return lambda: None

    def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass


class FakeMonitor(Monitor):
    """Keeps what would be told to the driver."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        self.events.append(event)


class Line(Monitor):
    """A monitor whose mailbox is in this process."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()

    def begin_attempt(self, checkpoint: int | None = None) -> Attempt:
        return self.mailbox.begin_attempt(checkpoint)

    def send(self, event: Event) -> None:
        self.mailbox.send(event)

    def fail(self, error: BessemerError) -> None:
        self.mailbox.fail(error)

    def failed_at(
        self, step: int, error: BessemerError, rank: int = 0, details: str = "", collateral: bool = False
    ) -> None:
        self.mailbox.failed_at(step, error, rank, details, collateral)

    def stop_wished(self) -> bool:
        raise RuntimeError("this monitor is never asked twice")


@dataclass
class Ran:
    """What came of a program on one worker; can be pickled.

    Attributes:
        result: what the program returned; None if it ended in an inspection.
        points: metrics as (name, step, value), in order; those of the clock are left out.
        files: files that were kept, as folder/name.
        events: what the driver was told.
        step: optimizer steps (count).
        metrics: last value of each metric of the outer loop's rows.
        group: where it ran.
    """

    result: Any = None
    points: list[tuple[str, int, float]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    group: Group = field(default_factory=Group)

    @property
    def rows(self) -> list[TurnEnded]:
        """The rows of the outer loop."""
        return [event for event in self.events if isinstance(event, TurnEnded)]

    def values(self, name: str) -> list[float]:
        """The values of one metric, in order."""
        return [value for found, _, value in self.points if found == name]


def settings_with(**sections: dict[str, Any]) -> Settings:
    """Settings that fetch in process, with some values of some sections."""
    return Settings.model_validate({**sections, "data": {"source": "inline", **sections.get("data", {})}})


def run_program(
    program: Program,
    folder: Path,
    settings: Settings | None = None,
    *,
    group: Group | None = None,
    resume: State | None = None,
    store: CheckpointStore | None = None,
    mode: Mode = "train",
    open_source: OpenSource | None = None,
    writer: FakeWriter | None = None,
    seed: int | None = None,
    stop_wished: Callable[[], bool] = lambda: False,
    check_data: bool = False,
    stopwatch: Stopwatch | None = None,
    observer: Observer | None = None,
    deciding: Deciding | None = None,
    ends_after: Callable[[TurnToJudge], bool] = lambda _turn: False,
) -> Ran:
    """Run a program to its end, as `training.worker` does, without Ray and without MLflow.

    Args:
        program: called with the run.
        folder: where the program's files go.
        settings: of the run; by default everything in process.
        group: this worker; alone by default.
        resume: checkpoint to go on from.
        store: where checkpoints go, if anywhere.
        mode: how much of the program is run.
        open_source: starts a stream.
        writer: keeps the metrics; a new one by default.
        seed: instead of the settings'.
        check_data: whether other data than those of the checkpoint are refused.
        stop_wished: whether the run was asked to end at its next step.
        stopwatch: counts for the account of the run.
        observer: looks at what the program does.
        deciding: the turns after which it is asked whether the run ends.
        ends_after: is told of turns, and says whether the run ends.
    """
    settings = settings or settings_with()
    group = group or Group()
    writer, monitor = writer or FakeWriter(), FakeMonitor()
    surroundings = Surroundings(
        settings=settings,
        group=group,
        device=torch.device("cpu"),
        output_dir=folder,
        outlet=Outlet(writer, monitor) if group.rank == 0 else Outlet(),
        store=store,
        resume=resume,
        open_source=open_source,
        mode=mode,
        stop_wished=stop_wished,
        check_data=check_data,
        stopwatch=stopwatch or Stopwatch(),
        observer=(observer := observer or Observer()),
        deciding=deciding,
        ends_after=ends_after,
    )
    seed_generators(settings.data.seed if seed is None else seed)
    result = None
    with closing(Session(surroundings)) as session:
        try:
            result = program(Run(session))
            session.finish()
        except ProgramInspected:
            pass
        observer.finish()
        if store is not None:
            store.wait()
    return Ran(
        result,
        writer.points,
        writer.files,
        monitor.events,
        session.hooks.step,
        dict(session.last_metrics),
        group,
    )
