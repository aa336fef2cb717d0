"""What a run is given by whoever starts it, and how its program is ended from within."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from bessemer.config.settings import Settings
from bessemer.data.feed import OpenSource
from bessemer.training.checkpoints import CheckpointStore, State
from bessemer.training.home import Home
from bessemer.training.judging import Deciding
from bessemer.training.observing import Observer
from bessemer.training.outlet import Outlet
from bessemer.training.positions import PositionFile
from bessemer.training.stopwatch import Stopwatch
from bessemer.utils.collectives import Group
from bessemer.utils.events import TurnToJudge

# train: the whole program. evaluate: one turn of the outer loop from a checkpoint, with the loaders
# that train left empty. inspect: everything before the outer loop.
Mode = Literal["train", "evaluate", "inspect"]


class RunStopped(BaseException):
    """Ends a program after a checkpoint because a stop was asked for; no error, so nothing catches it."""


class ProgramInspected(BaseException):
    """Ends a program at its outer loop in mode "inspect"; not an error, so no `except` stops it."""


@dataclass(frozen=True)
class Surroundings:
    """What a run is given by whoever starts it.

    Attributes:
        settings: the project's settings.
        group: the workers.
        device: what this worker computes on.
        output_dir: folder for the files that the program leaves.
        outlet: where metrics, events and files go; closed on all but the main worker.
        store: checkpoints, or None to take none.
        resume: state to go on from, or None for a fresh start.
        open_source: starts a stream for a loader, or None to fetch in process.
        mode: how much of the program is run.
        stop_wished: whether this worker was asked to end at the next step.
        notices: how many notices came that this worker will not live long (count).
        check_data: whether to refuse data other than those that made the checkpoint.
        position: where it says at which batch it is, or None.
        stopwatch: counts for the account of the run.
        package: of the project, names what is stored for it.
        observer: looks at what the program does.
        deciding: the turns at which the main worker asks whether the run ends; None: nobody judges it.
        ends_after: tells somebody of a turn; returns whether the run ends after it.
        explores: whether optimizers keep this run's options when they take another run's state.
        home: of a run at a URL, where what the program saves is put; None: the folder is all there is.
    """

    settings: Settings
    group: Group
    device: torch.device
    output_dir: Path
    outlet: Outlet = field(default_factory=Outlet)
    store: CheckpointStore | None = None
    resume: State | None = None
    open_source: OpenSource | None = None
    mode: Mode = "train"
    stop_wished: Callable[[], bool] = lambda: False
    notices: Callable[[], int] = lambda: 0
    check_data: bool = False
    position: PositionFile | None = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    package: str = ""
    observer: Observer = field(default_factory=Observer)
    deciding: Deciding | None = None
    ends_after: Callable[[TurnToJudge], bool] = lambda _turn: False
    explores: bool = False
    home: Home | None = None
