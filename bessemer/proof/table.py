"""What a verification prints: what is being run, and at the end a short table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from bessemer.proof.comparison import Verdict

_MOST_SHOWN = 10
_STYLES = {"equal": "green", "not-comparable": "yellow", "nondeterministic": "yellow"}


@contextlib.contextmanager
def announced(console: Console) -> Iterator[Callable[[str], None]]:
    """Yield what shows which run is going on: a spinner on a terminal, else a line each."""
    if not console.is_terminal:
        yield lambda text: _print(console, f"running: {text}")
        return
    with console.status("") as status:
        yield lambda text: status.update(f"running: {text}")


def show_verdict(console: Console, name: str, verdict: Verdict, report: Path) -> None:
    """Print a verdict with what was compared, and where more is to be read."""
    difference = verdict.max_difference
    shown = [*verdict.modernised[:_MOST_SHOWN]]
    if len(verdict.modernised) > _MOST_SHOWN:
        shown.append(f"and {len(verdict.modernised) - _MOST_SHOWN} more; see the report")
    lines = [
        *(("modernised" if number == 0 else "", text) for number, text in enumerate(shown)),
        *(("compared" if number == 0 else "", text) for number, text in enumerate(verdict.compared)),
        ("steps", f"{verdict.steps_compared:,}"),
        ("largest", "nothing was compared" if difference is None else f"{difference:.3g} relative"),
        ("first", "no difference"),
    ]
    if verdict.first_difference is not None:
        lines[-1] = ("first", str(verdict.first_difference))
    lines += [("reason", verdict.reason.replace("\n", f"\n{'':<12}")), ("report", str(report))]
    for head, text in lines:
        _print(console, f"{head:<12}{text}")
    style = _STYLES.get(verdict.verdict, "red")
    _print(console, f"{'verdict':<12}{verdict.verdict}: {name}", f"bold {style}")


def _print(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
