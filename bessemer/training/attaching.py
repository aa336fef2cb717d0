"""Keeps a run's logs with its MLflow run: copies of them, without secrets and of bounded size."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from bessemer.errors import TrackingError
from bessemer.tracking import TrackedRun, log_folder
from bessemer.training.folders import LOGS_FOLDER
from bessemer.utils.masking import Mask

# Of a longer file the end is kept.
MOST_BYTES = 32 * 2**20


def attach_logs(tracked: TrackedRun, run_dir: Path, told: Callable[[str], None]) -> None:
    """Keep the logs of a run as artifacts `logs/...`; those that are there are replaced.

    Args:
        tracked: where the run is recorded; it may be closed.
        run_dir: folder of the run.
        told: called with a sentence if it cannot be done; the run is whole without.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="bessemer-logs-") as name:
            copies = Path(name)
            mask = Mask()
            for file in sorted((run_dir / LOGS_FOLDER).iterdir()):
                if file.is_file():
                    (copies / file.name).write_text(
                        mask(_end_of(file)), encoding="utf-8", errors="replace", newline=""
                    )
            log_folder(tracked, copies, LOGS_FOLDER)
    except (OSError, TrackingError) as error:
        reason = str(error).replace("\n", "; ")
        told(f"the logs are not attached to the MLflow run, they are in {run_dir / LOGS_FOLDER}: {reason}")


def _end_of(file: Path) -> str:
    with file.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(0, size - MOST_BYTES))
        data = opened.read()
    if size > MOST_BYTES:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", errors="replace")
