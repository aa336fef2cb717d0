"""What a worker leaves behind for those who ask how it ended: its position, and the stack of a crash."""

from __future__ import annotations

import contextlib
import faulthandler
from collections.abc import Callable, Iterator
from pathlib import Path

from bessemer.training.folders import LOGS_FOLDER, POSITIONS_FOLDER
from bessemer.training.positions import PositionFile, State, position_file
from bessemer.utils.collectives import Group


def opened_position(
    run_dir: Path, group: Group, attempt: int, first_step: int, told: Callable[[str], None]
) -> PositionFile | None:
    """Begin to say where this worker is; without room for that, the run goes on and the user is told.

    Args:
        run_dir: folder of the run.
        group: this worker among all.
        attempt: 1 for the first of the driver.
        first_step: where the attempt goes on from (count).
        told: called with a sentence if there is no room.
    """
    try:
        path = position_file(run_dir / POSITIONS_FOLDER, group.rank)
        return PositionFile(path, group.rank, group.size, attempt, first_step)
    except OSError as error:
        told(f"a worker cannot write down where it is: {error.strerror or error}")
        return None


def mark(position: PositionFile | None, state: State) -> None:
    """Say what became of this worker, if it says where it is."""
    if position is not None:
        position.mark(state)


@contextlib.contextmanager
def crashes_written(run_dir: Path, rank: int) -> Iterator[None]:
    """Have Python write its stack to the logs when a signal such as SIGSEGV ends this process."""
    log_file = run_dir / LOGS_FOLDER / f"crash-worker-{rank}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with open(log_file, "w", encoding="utf-8") as log:
        faulthandler.enable(log, all_threads=False)
        try:
            yield
        finally:
            faulthandler.enable(all_threads=False)
            log_file.unlink(missing_ok=True)
