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
            _print(console, f"{verdict.name}: {verdict.word} in {duration(verdict.duration_s)}", style="dim")

    return tell


def show_verdicts(console: Console, verdicts: Sequence[Verdict], kept: Path | None) -> None:
    """Print the table of a drill, what there is to say of each line, and where its runs are if kept."""
    console.print()
    table = Table(box=None, pad_edge=False)
    table.add_column("disturbance", no_wrap=True)
    for column in ("attempts", "steps computed again", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for verdict in verdicts:
        ran = verdict.attempts > 0
        table.add_row(
            verdict.name,
            str(verdict.attempts) if ran else "",
            _steps(verdict.steps_again) if ran else "",
            duration(verdict.duration_s) if verdict.duration_s else "",
            f"[{style}]{verdict.word}[/]" if (style := _STYLES.get(verdict.word)) else verdict.word,
        )
    console.print(table, highlight=False)
    # Below the table: a difference names two values of 17 digits, which no column has room for.
    for verdict in verdicts:
        if verdict.text:
            _print(console, f"{verdict.name}: {verdict.text}", style="red" if verdict.is_bad else None)
    tried = [verdict for verdict in verdicts if verdict.word not in ("reference", "not applicable")]
    num_good = sum(not verdict.is_bad for verdict in tried)
    _print(console, f"{num_good} of {len(tried)} disturbances changed nothing", style="bold")
    if kept is not None:
        _print(console, f"the runs are in {kept}")


def _steps(number: int | None) -> str:
    if number is None:
        return "not known"
    return f"about {number}" if number else "0"


def _print(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
