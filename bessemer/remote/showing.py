"""The table of `bessemer jobs list`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bessemer.remote.jobs import Job
from bessemer.utils.console import duration

_STYLES = {"SUCCEEDED": "green", "FAILED": "red", "STOPPED": "yellow", "RUNNING": "bold"}


def show_jobs(console: Console, jobs: Sequence[Job]) -> None:
    """Print jobs, a line each; what failed says why below."""
    if not jobs:
        console.print("no jobs yet: bessemer submit train --project NAME", highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("job", "state", "run", "began", "took"):
        table.add_column(column, no_wrap=column in ("state", "began", "took"), overflow="fold")
    for job in jobs:
        style = _STYLES.get(job.status)
        state = job.status.lower()
        table.add_row(
            job.name,
            f"[{style}]{state}[/]" if style else state,
            job.metadata.get("run", ""),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(job.began_at)) if job.began_at else "",
            duration((job.ended_at or time.time()) - job.began_at) if job.began_at else "",
        )
    console.print(table, highlight=False)
