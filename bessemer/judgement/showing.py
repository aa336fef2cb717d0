"""What the verbs that judge print: tables that fit a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bessemer.judgement.report import Report, Score, folder_name
from bessemer.training.folders import EVALUATION_FOLDER
from bessemer.utils.console import number

if TYPE_CHECKING:
    from bessemer.judgement.evaluation import Evaluation

_MOST_CLASSES = 5
_MOST_SLICES = 12
_NAME_WIDTH = 22
_WORST_BY = {"classification": "recall", "segmentation": "iou"}


def show_evaluation(console: Console, found: Evaluation) -> None:
    """Print what an evaluation found."""
    first = found.reports[0]
    weights = f"checkpoint at step {found.step} ({first.checkpoint.choice})"
    if first.checkpoint.registered:
        weights = f"weights of {first.checkpoint.registered} in the program of this run"
    say(console, f"run {found.run_dir.name}, {weights}", style="bold")
    if found.unchanged:
        say(console, "unchanged: the same checkpoint, data and settings were judged before", style="green")
    if found.metrics:
        say(console, "what the program logs")
        for name, value in found.metrics.items():
            say(console, f"  {name:<{_NAME_WIDTH}} {number(value):>9}")
    for report in found.reports:
        show_report(console, report, found.run_dir)


def show_report(console: Console, report: Report, run_dir: Path) -> None:
    """Print the metrics of one split."""
    console.print()
    folder = shown(run_dir / EVALUATION_FOLDER / folder_name(report.split))
    if report.unseen:
        say(console, f"{report.split}: predictions could not be observed: {report.unseen}", style="yellow")
        say(console, f"report  {folder}/report.json")
        return
    data = report.data
    say(
        console,
        f"{report.split}: {data.num_samples:,} samples of {data.dataset}, {report.task}, {report.model}",
        style="bold",
    )
    table = grid("metric", "value", f"{report.confidence:.0%} interval")
    for name, score in report.metrics.items():
        table.add_row(name, number(score.value), ends(score))
    console.print(table)
    _show_classes(console, report)
    _show_slices(console, report)
    for remark in report.remarks:
        say(console, f"note: {remark}", style="yellow")
    files = ["report.json", *report.figures]
    say(console, f"files  {folder}")
    say(console, f"       {', '.join(files)}")


def _show_classes(console: Console, report: Report) -> None:
    by = _WORST_BY.get(report.task)
    lines = [line for line in report.classes if line.get("support")]
    if by is None or len(lines) < 2:
        return
    lines = sorted(lines, key=lambda line: line[by])[:_MOST_CLASSES]
    names = [name for name in lines[0] if name != "class"]
    most = f"worst {len(lines)} of {len(report.classes)}"
    table = grid("class" if len(lines) == len(report.classes) else f"class ({most})", *names)
    for line in lines:
        table.add_row(line["class"], *(_cell(line[name]) for name in names))
    console.print(table)


def _show_slices(console: Console, report: Report) -> None:
    for slice_name, parts in report.slices.items():
        names = list(next(iter(parts.values())).metrics)[:3]
        table = grid(slice_name.rpartition(":")[2], "samples", *names)
        for name, part in list(parts.items())[:_MOST_SLICES]:
            cells = [number(part.metrics[metric].value) if metric in part.metrics else "" for metric in names]
            table.add_row(name, f"{part.num_samples:,}", *cells)
        console.print(table)
        if len(parts) > _MOST_SLICES:
            say(console, f"and {len(parts) - _MOST_SLICES} more in report.json")


def grid(first: str, *others: str) -> Table:
    """Return a table with a column of names and columns of numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True, max_width=30, min_width=_NAME_WIDTH)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def ends(score: Score) -> str:
    """Return an interval for reading."""
    if score.low is None or score.high is None:
        return "–"  # noqa: RUF001
    return f"{number(score.low)} to {number(score.high)}"


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def shown(path: Path | str) -> str:
    """Return a path from the working folder, if it is in there."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def as_json(found: Evaluation) -> Mapping[str, Any]:
    """Return what an evaluation found for other programs."""
    reports: Sequence[Any] = [report.model_dump(mode="json") for report in found.reports]
    return {
        "run": str(found.run_dir),
        "step": found.step,
        "metrics": found.metrics,
        "unchanged": found.unchanged,
        "reports": reports,
    }
