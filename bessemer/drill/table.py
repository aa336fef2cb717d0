"""What a drill prints: a line when something is known, and a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bessemer.drill.command import Verdict
from bessemer.utils.console import duration

_STYLES = {"equal": "green", "same steps": "yellow", "different": "red", "failed": "red"}


def announced(console: Console, quiet: bool) -> Callable[[Verdict], None]:
    """Return what prints a verdict as soon as it is known; the table repeats it."""

    def tell(verdict: Verdict) -> None:
        if not quiet:
            line = f"{verdict.name}: {verdict.word} in {duration(verdict.duration_s)}  {verdict.text}"
            console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True, style="dim")

    return tell


def show_verdicts(console: Console, verdicts: Sequence[Verdict], kept: Path | None) -> None:
    """Print the table of a drill, and where its runs are if they were kept."""
    table = Table(box=None, pad_edge=False)
    for column in ("disturbance", "attempts", "steps computed again", "time", "verdict", ""):
        table.add_column(
            column,
            justify="right" if column in ("attempts", "steps computed again", "time") else "left",
            no_wrap=column == "disturbance",
            overflow="fold",
        )
    for verdict in verdicts:
        ran = verdict.attempts > 0
        table.add_row(
            verdict.name,
            str(verdict.attempts) if ran else "",
            f"about {verdict.steps_again}" if verdict.steps_again else ("0" if ran else ""),
            duration(verdict.duration_s) if verdict.duration_s else "",
            f"[{style}]{verdict.word}[/]" if (style := _STYLES.get(verdict.word)) else verdict.word,
            verdict.text.replace("[", "\\["),
        )
    console.print(table, highlight=False)
    num_bad = sum(verdict.is_bad for verdict in verdicts)
    tried = [verdict for verdict in verdicts if verdict.word not in ("reference", "not applicable")]
    console.print(f"{len(tried) - num_bad} of {len(tried)} disturbances changed nothing", style="bold")
    if kept is not None:
        console.print(f"the runs are in {kept}", markup=False, highlight=False, soft_wrap=True)
