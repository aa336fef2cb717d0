"""What Ray Train tells of its workers: who died, how, and whose node is about to be taken away.

The only module that uses `UserCallback` (developer API), Ray's exceptions of worker health and the
worker's preemption context (both internal); `tests/test_casualties.py` says when they change.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.context import get_train_context

from bessemer.errors import BessemerError, TrainingError
from bessemer.training.attempts import Report, details_of
from bessemer.training.folders import LOGS_FOLDER, POSITIONS_FOLDER
from bessemer.training.monitor import Monitor
from bessemer.training.positions import Position, all_ids, mark_told, position_file, read_position
from bessemer.utils.collectives import says_a_peer_is_gone
from bessemer.utils.events import FailureNoticed

_FATAL = "Fatal Python error: "


class Casualties(UserCallback):  # type: ignore[misc]
    """Tells the monitor how an attempt ended; Ray calls it in its controller.

    Args:
        monitor: keeps the ledger of attempts.
        run_dir: folder of the run, for positions and logs.
        sees_all: whether what workers on other nodes wrote there is seen here.
    """

    def __init__(self, monitor: Monitor, run_dir: Path, sees_all: bool = True) -> None:
        self._monitor = monitor
        self._run_dir = run_dir
        self._sees_all = sees_all

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Report when Ray noticed, dead workers and their errors.

        Raises:
            BessemerError: the run ends; raised here, no other workers are started.
        """
        self._monitor.send(FailureNoticed(time.time()))
        reports = reports_of(worker_exceptions, self._run_dir, self._sees_all)
        for report in reports:
            if report.kind == "died" and report.step is not None:
                _write_down(report, self._run_dir)
        mark_told(self._run_dir / POSITIONS_FOLDER)
        error = self._monitor.ended(reports)
        if error is not None:
            raise error


def nodes_to_go() -> frozenset[str]:
    """Return the ids of nodes with workers of this run that are about to be taken away.

    What Ray has told this worker, with no word to the others: `ray.train.get_preemption_info` is a
    barrier, and a step must not wait for one. Empty outside of Ray Train.
    """
    try:
        context = get_train_context()
    except RuntimeError:
        return frozenset()
    info = context.preemption_context.preemption_info
    return frozenset(info.preempted_node_to_ranks) if info is not None else frozenset()


def reports_of(
    worker_exceptions: Mapping[int, Exception], run_dir: Path, sees_all: bool = True
) -> list[Report]:
    """Say what Ray's exceptions mean.

    Args:
        worker_exceptions: by rank.
        run_dir: folder of the run.
        sees_all: whether what workers on other nodes wrote there is seen here.
    """
    reports = [
        _report(rank, error, _position_of(rank, run_dir), run_dir, sees_all)
        for rank, error in worker_exceptions.items()
    ]
    if reports and all(report.kind == "collateral" for report in reports):
        # They miss somebody whom Ray does not miss yet.
        reports += _missing(set(worker_exceptions), run_dir)
    return reports


def _position_of(rank: int, run_dir: Path) -> Position | None:
    position = read_position(position_file(run_dir / POSITIONS_FOLDER, rank))
    return position if position is not None and position.state != "told" else None


def _report(rank: int, error: Exception, position: Position | None, run_dir: Path, sees_all: bool) -> Report:
    step = position.step if position else None
    if position is not None:
        details = details_of(position)
    elif sees_all:
        details = f"worker {rank}, before its first step"
    else:
        details = f"worker {rank}; its step and sample ids are not known: only its own node has them"
    if isinstance(error, WorkerHealthCheckFailedError) and isinstance(
        error.health_check_failure, RayActorError
    ):
        death = error.health_check_failure
        found = _how_it_died(death, position, run_dir / LOGS_FOLDER / f"crash-worker-{rank}.log")
        unseen = position is None and not sees_all
        return Report(rank, "died", TrainingError(found), step, details, death.preempted, unseen)
    if isinstance(error, BessemerError):
        named = error
    else:
        text = str(error).strip().splitlines()
        named = TrainingError(f"{type(error).__name__}: {text[0] if text else ''}")
    return Report(rank, "collateral" if says_a_peer_is_gone(error) else "program", named, step, details)


def _how_it_died(death: RayActorError, position: Position | None, crash_log: Path) -> str:
    said = str(death)
    with contextlib.suppress(OSError):
        crash = crash_log.read_text(encoding="utf-8", errors="replace")
        if _FATAL in crash:
            lines = crash[crash.index(_FATAL) + len(_FATAL) :].splitlines()
            places = [line.strip() for line in lines if line.startswith("  File")]
            own = [place for place in places if "/lib/python" not in place]
            place = (own or places or [""])[0]
            return f"a worker crashed: {lines[0].strip()}" + (f", {place}" if place else "")
    if position is not None and position.state == "hung":
        return "a worker made no progress for scaling.step_timeout_s and was ended"
    if "memory pressure" in said or "OutOfMemory" in said or "running low on memory" in said:
        return "Ray killed a worker: its node ran out of memory"
    if "node" in said and ("died" in said or "dead" in said or "terminated" in said) and "its node" in said:
        return "the node of a worker died"
    return "the process of a worker ended without a word: killed (SIGKILL, out of memory) or os._exit"


def _missing(known: set[int], run_dir: Path) -> list[Report]:
    """Return the workers of the same attempt that still say that they run."""
    folder = run_dir / POSITIONS_FOLDER
    found = [read_position(path) for path in folder.glob("worker-*.bin")]
    newest = max((p.attempt for p in found if p is not None and p.rank in known), default=0)
    return [
        Report(position.rank, "died", TrainingError("a worker was lost"), position.step, details_of(position))
        for position in found
        if position is not None
        and position.attempt == newest
        and position.state in ("running", "hung")
        and position.rank not in known
    ]


def _write_down(report: Report, run_dir: Path) -> None:
    """Write a dead worker's cause and all ids of its batch to the logs."""
    log_file = run_dir / LOGS_FOLDER / f"error-worker-{report.rank}.log"
    position = _position_of(report.rank, run_dir)
    with contextlib.suppress(OSError):
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.write_text(f"{report.told.found}\n{all_ids(position)}", encoding="utf-8")
