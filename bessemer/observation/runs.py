"""How the runs of a storage folder stand, read from the files that they leave.

| fact | read from |
|---|---|
| state | `result.json`, who holds `run.lock`, `heartbeat.json` |
| attempts, workers, step, turn, last metrics, duration | `heartbeat.json`; step also from checkpoints |
| checkpoints, best metric | `checkpoints/*/manifest.json`, and `settings.toml` for which metric is best |
| MLflow run | `run.json` |

Nothing is written and no program is run. A file that is damaged is named, and what it
would have said is None.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bessemer.errors import ProjectError, nearest
from bessemer.training.folders import (
    CHECKPOINTS_FOLDER,
    HEARTBEAT_FILE,
    LOCK_FILE,
    RECORD_FILE,
    RESULT_FILE,
    SETTINGS_FILE,
)

State = Literal["running", "complete", "failed", "stopped", "died"]
# A driver on another machine that was not heard of for so long is gone; clocks of machines differ.
SILENT_S = 60.0
_SEARCH_JOURNAL, _SEARCH_RESULT = "journal.jsonl", "search.json"


@dataclass(frozen=True)
class KnownRun:
    """One run, or one search.

    Attributes:
        project: whose.
        name: of the run.
        folder: where it is.
        kind: a search has trials, which are runs of their own, and no facts but state and MLflow run.
        state: what it does or how it ended; "died": no driver lives, and none said how it ended.
        node: machine of its last driver, or None.
        attempts: worker groups that began (count).
        workers: that train now (count).
        step: optimizer steps (count).
        turn: turns of the outer loop that are complete (count).
        num_turns: turns in all.
        unit: what a turn is.
        checkpoint_step: step of the newest whole checkpoint (count).
        checkpoint_at: when it was written (seconds since 1970).
        best_metric: name of checkpoint.best_metric, "" if none is set.
        best: the best value of it among the checkpoints that are kept.
        metrics: last value of each metric.
        began_at: when it began (seconds since 1970).
        duration_s: until now, or until its driver was heard of last (seconds).
        mlflow_run: its id in MLflow.
        reason: why it failed, in a line; else "".
        damaged: files that could not be read.
    """

    project: str
    name: str
    folder: Path
    kind: Literal["run", "search"] = "run"
    state: State = "died"
    node: str | None = None
    attempts: int | None = None
    workers: int | None = None
    step: int | None = None
    turn: int | None = None
    num_turns: int | None = None
    unit: str = "epoch"
    checkpoint_step: int | None = None
    checkpoint_at: float | None = None
    best_metric: str = ""
    best: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    began_at: float | None = None
    duration_s: float | None = None
    mlflow_run: str | None = None
    reason: str = ""
    damaged: tuple[str, ...] = ()


def run_folders(storage: Path, project: str = "") -> list[tuple[str, Path]]:
    """Return project and folder of each run and search in a storage folder, the newest first.

    Args:
        storage: folder of all runs; it need not exist.
        project: only of this one; "" for all.
    """
    found = []
    for folder in _folders(storage):
        if project in ("", folder.name):
            found += [(_began_at(run), folder.name, run) for run in _folders(folder) if _is_run(run)]
    return [(owner, run) for _, owner, run in sorted(found, key=lambda each: (-each[0], str(each[2])))]


def _folders(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_run(folder: Path) -> bool:
    marks = (LOCK_FILE, RECORD_FILE, SETTINGS_FILE, _SEARCH_JOURNAL)
    return any((folder / name).is_file() for name in marks)


def _began_at(folder: Path) -> float:
    # The lock is made when a run begins, and never written.
    for name in (LOCK_FILE, RECORD_FILE, SETTINGS_FILE, _SEARCH_JOURNAL):
        with contextlib.suppress(OSError):
            return (folder / name).stat().st_mtime
    return 0.0


def find_run_folder(storage: Path, project: str = "", name: str = "") -> tuple[str, Path]:
    """Return project and folder of a run by its name, or of the newest one.

    Args:
        storage: folder of all runs.
        project: whose; "" for any.
        name: of the run, as "RUN", "PROJECT/RUN", or "SEARCH/trial-0001"; "" for the newest.

    Raises:
        ProjectError: there is no such run, or there are several.
    """
    known = run_folders(storage, project)
    if not known:
        of = f"project {project} has no run" if project else "there is no run"
        raise ProjectError(
            f"{of} in {storage}",
            expected="a run that was begun",
            todo=f"bessemer train --project {project or 'NAME'}",
        )
    if not name:
        runs = [each for each in known if not (each[1] / _SEARCH_JOURNAL).is_file()]
        return (runs or known)[0]
    trials = [
        (owner, trial)
        for owner, run in known
        if "/" in name and (run / _SEARCH_JOURNAL).is_file()
        for trial in _folders(run)
        if _is_run(trial)
    ]
    names = [path.relative_to(storage / owner).as_posix() for owner, path in known + trials]
    matching = [
        (owner, path)
        for owner, path in known + trials
        if name in (path.relative_to(place).as_posix() for place in (storage, storage / owner))
    ]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise ProjectError(
            f"there are {len(matching)} runs {name!r} in {storage}",
            expected="one of: " + ", ".join(f"{owner}/{name}" for owner, _ in matching),
        )
    raise ProjectError(
        f"there is no run {name!r} in {storage / project}",
        expected=nearest(name, names) or f"one of: {', '.join(names[:5])}",
        todo="bessemer status lists the runs",
    )


def known_run(project: str, folder: Path, now: float | None = None) -> KnownRun:
    """Read how a run stands.

    Args:
        project: whose.
        folder: of the run.
        now: seconds since 1970; by default now.
    """
    now = time.time() if now is None else now
    damaged: list[str] = []
    record = _json(folder / RECORD_FILE, damaged)
    if (folder / _SEARCH_JOURNAL).is_file():
        is_over = (folder / _SEARCH_RESULT).is_file()
        state: State = "running" if is_locked(folder / _SEARCH_JOURNAL) else "complete" if is_over else "died"
        return KnownRun(project, folder.name, folder, "search", state, began_at=_began_at(folder))
    beat, result = _json(folder / HEARTBEAT_FILE, damaged), _json(folder / RESULT_FILE, damaged)
    state = state_of((folder / RESULT_FILE).is_file(), is_locked(folder / LOCK_FILE), beat, now)
    checkpoints = sorted(_checkpoints(folder, damaged))
    name, mode = _what_is_best(folder / SETTINGS_FILE, damaged)
    metrics = [metric for _, _, metric in checkpoints if metric is not None and metric == metric]
    step, checkpoint_at, _ = checkpoints[-1] if checkpoints else (None, None, None)
    began_at = _number(beat, "began_at") or _number(record, "began_at") or _began_at(folder)
    last_at = now if state == "running" else _number(beat, "at") or checkpoint_at
    steps = [known for known in (_count(beat, "step"), _count(result, "step"), step) if known is not None]
    return KnownRun(
        project,
        folder.name,
        folder,
        state=state,
        node=beat.get("node"),
        attempts=_count(beat, "attempts") or _count(result, "num_attempts"),
        workers=_count(beat, "workers") if state == "running" else 0,
        step=max(steps, default=None),
        turn=_count(beat, "turn"),
        num_turns=_count(beat, "num_turns"),
        unit=str(beat.get("unit", "epoch")),
        checkpoint_step=step,
        checkpoint_at=checkpoint_at,
        best_metric=name,
        best=(min if mode == "min" else max)(metrics) if metrics and name else None,
        metrics=_metrics(beat) or _metrics(result),
        began_at=began_at,
        duration_s=max(0.0, last_at - began_at) if last_at is not None else None,
        mlflow_run=record.get("run_id"),
        reason=str(beat.get("reason", "")),
        damaged=tuple(damaged),
    )


def state_of(has_result: bool, is_locked: bool, heartbeat: Mapping[str, Any], now: float) -> State:
    """Say what a run does or how it ended.

    Args:
        has_result: whether its result was written.
        is_locked: whether a driver that this machine knows of holds its lock.
        heartbeat: what its driver wrote last, or nothing.
        now: seconds since 1970.
    """
    if is_locked:
        return "running"
    if has_result:
        return "complete"
    said = heartbeat.get("state")
    if said in ("complete", "failed", "stopped"):
        ended: State = said
        return ended
    at = _number(heartbeat, "at")
    is_elsewhere = heartbeat.get("node") not in (None, socket.gethostname())
    return "running" if is_elsewhere and at is not None and now - at < SILENT_S else "died"


def is_locked(file: Path) -> bool:
    """Whether another process holds a lock on a file; of machines that share it, only some systems tell."""
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _json(file: Path, damaged: list[str]) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict):
        damaged.append(f"{file.parent.name}/{file.name}" if file.name == "manifest.json" else file.name)
        return {}
    return values


def _checkpoints(folder: Path, damaged: list[str]) -> Iterator[tuple[int, float, float | None]]:
    """Yield step, time and metric of each whole checkpoint."""
    for file in (folder / CHECKPOINTS_FOLDER).glob("step-*/manifest.json"):
        values = _json(file, damaged)
        step = _count(values, "step")
        with contextlib.suppress(OSError):  # it may be removed for newer ones meanwhile
            if step is not None:
                yield step, file.stat().st_mtime, _number(values, "metric")


def _what_is_best(file: Path, damaged: list[str]) -> tuple[str, str]:
    try:
        section = tomllib.loads(file.read_text(encoding="utf-8")).get("checkpoint", {})
        return str(section.get("best_metric", "")), str(section.get("best_mode", "min"))
    except FileNotFoundError:
        return "", "min"
    except (OSError, ValueError, AttributeError):
        damaged.append(file.name)
        return "", "min"


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(values: Mapping[str, Any], name: str) -> int | None:
    value = _number(values, name)
    return int(value) if value is not None and value == value and abs(value) < 2**63 else None


def _metrics(values: Mapping[str, Any]) -> dict[str, float]:
    found = values.get("metrics")
    if not isinstance(found, dict):
        return {}
    return {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}
