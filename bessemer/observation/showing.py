"""What `bessemer status` and `bessemer logs` print."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bessemer.observation.cluster import ClusterView
from bessemer.observation.lines import DRIVER, Line
from bessemer.observation.runs import KnownRun
from bessemer.utils.console import number
from bessemer.utils.masking import Mask

_STYLES = {"running": "green", "complete": "", "stopped": "yellow", "failed": "red", "died": "red"}
_LEVEL_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
# From so many columns on there is room for metrics beside the rest, and for ids of MLflow.
_WIDE, _WIDEST = 110, 150
_MOST_JOBS_SHOWN, _MOST_COMMAND = 5, 50
_NOTHING = "-"
# What would move the cursor or change colours of a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show_runs(console: Console, storage: Path, runs: Sequence[KnownRun], num_more: int, project: str) -> None:
    """Print a table of runs, or what to do where there are none."""
    if not runs:
        of = f" of {project}" if project else ""
        _say(console, f"no runs{of} in {storage}")
        _say(console, f"to do: bessemer train --project {project or 'NAME'} begins one")
        _say(console, "       bessemer jobs list --cluster NAME shows those of jobs on a cluster")
        return
    is_wide, has_ids = console.width >= _WIDE, console.width >= _WIDEST
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2 if is_wide else 1, 0, 0))
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("attempts", "step", "epoch"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("checkpoint", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for name in (["metric"] if is_wide else []) + (["MLflow run"] if has_ids else []):
        table.add_column(name, overflow="fold")
    for owner in dict.fromkeys(run.project for run in runs):
        if not project:
            table.add_row(Text(owner, style="bold"))
        for run in runs:
            if run.project == owner:
                table.add_row(*_cells(run, is_wide, has_ids))
    console.print(table, highlight=False)
    for run in runs:
        if run.state == "failed" and run.reason:
            _say(console, f"{run.name} failed: {run.reason}", "red")
        if run.damaged:
            _say(console, f"{run.name}: cannot be read: {', '.join(run.damaged)}", "yellow")
    if num_more:
        _say(console, f"and {num_more} older: --limit shows more")


def _cells(run: KnownRun, is_wide: bool, has_ids: bool) -> list[str | Text]:
    """Return the row of a run; where there is no room for its metric, that stands below its name."""
    metric = _metric(run)
    below = "" if is_wide or metric == _NOTHING else f"\n  {metric}"
    return [
        f"{run.name}{below}",
        Text(run.state, style=_STYLES[run.state]),
        *(_shown(run.attempts), _shown(run.step), _epoch(run), _checkpoint(run)),
        _NOTHING if run.duration_s is None else _short(run.duration_s),
        *([metric] if is_wide else []),
        *([run.mlflow_run or _NOTHING] if has_ids else []),
    ]


def show_cluster(console: Console, view: ClusterView) -> None:
    """Print what the cluster has."""
    if view.nodes is None or view.total is None or view.free is None:
        _say(console, f"{f'cluster {view.address}'.rstrip()}: {view.note}")
        return
    parts = [f"{view.nodes} node{'s' if view.nodes != 1 else ''}"]
    total, free = view.total, view.free
    parts += [f"{free[name]:g} of {total[name]:g} {name}s free" for name in ("CPU", "GPU") if total[name]]
    parts.append(f"{free['memory'] / 2**30:.1f} of {total['memory'] / 2**30:.1f} GiB of memory free")
    _say(console, f"cluster {view.address}: {', '.join(parts)}")
    if view.jobs is None:
        _say(console, f"jobs: {view.note}")
        return
    mask = Mask()
    for job in view.jobs[:_MOST_JOBS_SHOWN]:
        command = mask(str(job["command"]))
        command = command if len(command) <= _MOST_COMMAND else f"{command[:_MOST_COMMAND]} ..."
        _say(console, f"job {job['id']}  {job['status']}  {command}")
    if len(view.jobs) > _MOST_JOBS_SHOWN:
        _say(console, f"and {len(view.jobs) - _MOST_JOBS_SHOWN} older jobs: --json lists them")


def as_json(storage: Path, runs: Sequence[KnownRun], num_more: int, view: ClusterView) -> dict[str, Any]:
    """Return all of it as plain data."""
    found = [{**_finite(asdict(run)), "folder": str(run.folder)} for run in runs]
    return {"storage": str(storage), "runs": found, "num_older": num_more, "cluster": asdict(view)}


def _finite(value: Any) -> Any:
    """Return a value that JSON has: it knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(count: object) -> str:
    return _NOTHING if count is None else str(count)


def _epoch(run: KnownRun) -> str:
    if run.kind == "search":
        return "search"
    if run.turn is None or run.unit != "epoch":
        return _NOTHING
    return f"{run.turn}/{run.num_turns}" if run.num_turns else str(run.turn)


def _checkpoint(run: KnownRun) -> str:
    if run.checkpoint_step is None or run.checkpoint_at is None:
        return _NOTHING
    return f"{run.checkpoint_step}, {_short(max(0.0, time.time() - run.checkpoint_at))} old"


def _metric(run: KnownRun) -> str:
    if run.best is not None:
        return f"{run.best_metric} {number(run.best)}"
    if run.metrics:
        name, value = next(iter(run.metrics.items()))
        return f"last {name} {number(value)}"
    return _NOTHING


def _short(seconds: float) -> str:
    """Format a time in few characters: 3 s, 5 min, 2 h, 3 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (unit == "min" and seconds >= length):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


class LinePrinter:
    """Prints lines of logs for people, with the date where it changes.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._date = ""

    def show(self, line: Line) -> None:
        """Print a line."""
        values = line.values
        date, _, clock = line.time.rstrip("Z").partition("T")
        if date != self._date:
            self._date = date
            head = f"{f'{date} UTC':<15} {'rank':<6} attempt {'step':>8} level   message"
            self._console.print(head, style="bold", highlight=False, markup=False, soft_wrap=True)
        level = str(values.get("level", ""))
        who = DRIVER if values.get("rank") is None else str(values["rank"])
        step, attempt = (_shown(values.get(name)) for name in ("step", "attempt"))
        logger = str(values.get("logger", ""))
        message = str(values.get("message", ""))
        if logger == "print":
            message = f"stderr: {message}" if values.get("stream") == "stderr" else message
        elif logger not in ("", "bessemer"):
            message = f"{logger}: {message}"
        if values.get("exception"):
            # The traceback ends with the whole message.
            message = f"{message.partition(chr(10))[0]}\n{str(values['exception']).rstrip()}"
        text = Text(f"{clock:<15} {who:<6} {attempt:>7} {step:>8} {level:<7} ")
        text.append(_CONTROL.sub("", message.replace("\n", "\n    ")))
        text.stylize(_LEVEL_STYLES.get(level, ""))
        self._console.print(text, soft_wrap=True, highlight=False)


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
