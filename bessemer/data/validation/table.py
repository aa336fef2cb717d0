"""A report on a screen of 80 columns, or in a pipe: each data set, its columns, and what was found."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bessemer.data.validation.findings import ColumnSummary, DatasetSummary, Finding, Report, tally_text
from bessemer.utils.console import duration, number

_MAX_COLUMNS_SHOWN = 12
_MAX_CLASSES_SHOWN = 20
_NAME_WIDTH, _KIND_WIDTH, _WIDTH = 16, 18, 80


def show_report(console: Console, report: Report) -> None:
    """Print a report."""
    for dataset in report.datasets:
        _show_dataset(console, dataset, [f for f in report.findings if f.dataset == dataset.name])
    shown = {dataset.name for dataset in report.datasets}
    for finding in report.findings:
        if finding.dataset not in shown:
            _show_finding(console, finding, f"{finding.dataset}: ")
    for note in report.notes:
        _print(console, f"note: {note}", "yellow")
    style = "red" if report.num_errors else "yellow" if report.num_warnings else "green"
    counts = tally_text(report.num_errors, report.num_warnings)
    _print(console, f"{counts} in {duration(report.duration_s)}", f"bold {style}")


def _show_dataset(console: Console, dataset: DatasetSummary, findings: list[Finding]) -> None:
    looked = "all" if dataset.num_checked == dataset.num_samples else f"{dataset.num_checked:,}"
    checked = f", {looked} checked" if dataset.num_samples else ""
    _print(console, f"{dataset.name}: {dataset.num_samples:,} samples{checked}", "bold")
    if dataset.columns:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("column", "kind"):
            table.add_column(name, no_wrap=True)
        for name in ("missing", "min", "max", "mean"):
            table.add_column(name, justify="right", no_wrap=True)
        for column in dataset.columns[:_MAX_COLUMNS_SHOWN]:
            table.add_row(*_cells(column))
        console.print(Padding(table, (0, 0, 0, 2), expand=False))
        left = len(dataset.columns) - _MAX_COLUMNS_SHOWN
        if left > 0:
            _print(console, f"  and {left:,} columns more, in the report")
    if dataset.class_counts:
        _print(console, _classes(list(dataset.class_counts.items())))
    for finding in findings:
        _show_finding(console, finding, f"{finding.column}: " if finding.column else "")
    console.print()


def _cells(column: ColumnSummary) -> list[Text]:
    numbers = [_shown(value) for value in (column.min, column.max, column.mean)]
    kind = f"{column.kind}, lengths" if column.kind in ("str", "bytes") else column.kind
    texts = [_cut(column.name, _NAME_WIDTH), _cut(kind, _KIND_WIDTH), f"{column.num_missing:,}", *numbers]
    return [Text(text) for text in texts]


def _shown(value: float | None) -> str:
    return "" if value is None else number(value)


def _classes(counts: list[tuple[str, int]]) -> str:
    """Return classes in as few lines as 80 columns need."""
    lines = ["  classes"]
    for label, count in counts[:_MAX_CLASSES_SHOWN]:
        item = f"  {_cut(label, _NAME_WIDTH)}: {count:,}"
        lines += [" " * 9] if len(lines[-1]) + len(item) > _WIDTH else []
        lines[-1] += item
    left = len(counts) - _MAX_CLASSES_SHOWN
    return "\n".join([*lines, *([f"{'':11}and {left:,} more"] if left > 0 else [])])


def _show_finding(console: Console, finding: Finding, place: str) -> None:
    text = f"  {finding.severity:<7}  {finding.check}: {place}{finding.text}"
    _print(console, text, "red" if finding.severity == "error" else "yellow")


def _print(console: Console, text: str, style: str = "") -> None:
    # Names may hold what a terminal would obey.
    plain = "".join(
        sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text
    )
    console.print(Text(plain, style=style), soft_wrap=True)


def _cut(text: str, width: int) -> str:
    plain = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return plain if len(plain) <= width else plain[: width - 1] + "…"
