"""A report as one HTML page that needs nothing else: no scripts, no fonts, pictures in it.

All that comes from data is escaped. Colours follow the reader's light or dark theme.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from html import escape

from bessemer.data.validation.checks import CATALOGUE
from bessemer.data.validation.findings import (
    ColumnSummary,
    DatasetSummary,
    Finding,
    Histogram,
    Report,
    counted,
    tally_text,
)
from bessemer.utils.console import duration, number

_MAX_COLUMNS = 200
_MAX_CLASSES = 50
_MAX_VALUES = 8
_MAX_TEXT = 40
_WIDTH, _HEIGHT = 192, 40

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #667085; --line: #d9dee7; --page: #fbfbfd;
  --card: #fff; --bar: #4a7fd6; --error: #c22f2f; --warning: #a86400; --good: #1f7a44; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --soft: #98a2b3; --line: #333b49;
  --page: #14181f; --card: #1b212b; --bar: #6f9eea; --error: #ff7b72; --warning: #e3a949; --good: #5fc98a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 0; }
h3 { font-size: .95rem; margin: 1.25rem 0 .5rem; } h2 + .soft { margin-bottom: .5rem; }
.soft, small { color: var(--soft); } .error { color: var(--error); } .warning { color: var(--warning); }
.good { color: var(--good); }
.verdict { font-size: 1.15rem; font-weight: 600; margin: .75rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .5rem 1rem;
  overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .85rem; white-space: nowrap; }
th, td { padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
tr:last-child td { border-bottom: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.found td { vertical-align: top; overflow-wrap: anywhere; } .found td:nth-child(-n+2) { white-space: nowrap; }
code { font-size: .9em; overflow-wrap: anywhere; }
svg { display: block; } svg rect { fill: var(--bar); } svg line { stroke: var(--line); }
.ends { display: flex; justify-content: space-between; width: 192px; font-size: .75rem; color: var(--soft); }
.values { font-size: .85rem; color: var(--soft); overflow-wrap: anywhere; max-width: 22rem; }
.classes { display: grid; grid-template-columns: max-content 1fr max-content; gap: .15rem .75rem;
  align-items: center; font-size: .9rem; max-width: 36rem; }
.classes div { background: var(--bar); height: .7rem; border-radius: 2px; min-width: 1px; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; width: 96px; }
figure img { width: 96px; height: 96px; object-fit: contain; image-rendering: pixelated;
  border: 1px solid var(--line); background: var(--card); }
figcaption { font-size: .75rem; color: var(--soft); overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--soft); margin-top: 2.5rem; }
"""


def page_of(report: Report) -> str:
    """Return a report as HTML."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.time))
    num_samples = sum(dataset.num_checked for dataset in report.datasets)
    facts = [counted(len(report.datasets), "data set"), f"{counted(num_samples, 'sample')} checked"]
    facts += [f"in {duration(report.duration_s)}", when]
    grade = "error" if report.num_errors else "warning" if report.num_warnings else "good"
    body = [
        f"<h1>Data of {_text(report.project)}</h1>",
        f'<div class="soft">{_text(" · ".join(facts))}</div>',
        f'<div class="verdict {grade}">{tally_text(report.num_errors, report.num_warnings)}</div>',
        _findings(report.findings),
        "".join(f'<p class="warning">{_text(note)}</p>' for note in report.notes),
        *(_dataset(dataset) for dataset in report.datasets),
        _catalogue(),
    ]
    title = f"Data of {_text(report.project)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body>{''.join(body)}</body></html>\n"
    )


def _findings(findings: Iterable[Finding]) -> str:
    rows = "".join(
        f'<tr><td class="{finding.severity}">{finding.severity}</td><td>{_text(finding.check)}</td>'
        f"<td>{_text(finding.dataset)}</td><td><code>{_text(finding.column)}</code></td>"
        f"<td>{_text(finding.text)}</td></tr>"
        for finding in findings
    )
    head = "".join(f"<th>{name}</th>" for name in ("", "check", "data", "column", "found"))
    return f'<div class="card"><table class="found"><tr>{head}</tr>{rows}</table></div>' if rows else ""


def _dataset(dataset: DatasetSummary) -> str:
    looked = "all" if dataset.num_checked == dataset.num_samples else f"{dataset.num_checked:,}"
    kinds = {"prepared": "prepared shards", "source": "native source", "program": "made by the program"}
    facts = f"{counted(dataset.num_samples, 'sample')}, {looked} checked · {kinds[dataset.origin]}"
    parts = [f"<h2>{_text(dataset.name)}</h2>", f'<div class="soft">{facts}</div>']
    if dataset.columns:
        names = ("column", "kind", "missing", "not finite", "min", "max", "mean", "std", "spread")
        head = "".join(f'<th class="{"n" if 2 <= n < 8 else ""}">{name}</th>' for n, name in enumerate(names))
        rows = "".join(_column(column) for column in dataset.columns[:_MAX_COLUMNS])
        left = len(dataset.columns) - _MAX_COLUMNS
        more = f"<p>and {counted(left, 'column')} more</p>" if left > 0 else ""
        parts.append(f'<div class="card"><table><tr>{head}</tr>{rows}</table>{more}</div>')
    if dataset.class_counts:
        parts.append(f"<h3>Classes <small>by {_text(dataset.labels)}</small></h3>")
        parts.append(_classes(dataset.class_counts))
    if dataset.pictures:
        pictures = "".join(
            f'<figure><img alt="{_text(picture.title)}" src="data:image/png;base64,{_text(picture.png)}">'
            f"<figcaption>{_text(picture.title)}</figcaption></figure>"
            for picture in dataset.pictures
        )
        parts.append(f'<h3>Samples</h3><div class="pictures">{pictures}</div>')
    return "".join(parts)


def _column(column: ColumnSummary) -> str:
    is_long = column.kind in ("str", "bytes")
    kind = f"{column.kind}<br><small>lengths</small>" if is_long else _text(column.kind)
    counts = [
        f'<td class="n{" error" if count else ""}">{count:,}</td>'
        for count in (column.num_missing, column.num_not_finite)
    ]
    values = (column.min, column.max, column.mean, column.std)
    numbers = [f'<td class="n">{"" if value is None else number(value)}</td>' for value in values]
    spread = _histogram(column.histogram) if column.histogram else ""
    if is_long and column.counts:
        spread += f'<div class="values">{_values(column.counts)}</div>'
    cells = "".join([*counts, *numbers])
    return f"<tr><td><code>{_text(column.name)}</code></td><td>{kind}</td>{cells}<td>{spread}</td></tr>"


def _histogram(histogram: Histogram) -> str:
    most, step = max(histogram.counts), _WIDTH / len(histogram.counts)
    bars = []
    for place, count in enumerate(histogram.counts):
        height = max(1.0, _HEIGHT * count / most) if count else 0.0
        x, y = place * step, _HEIGHT - height
        bars.append(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(step - 0.6, 0.5):.2f}" height="{height:.2f}"/>'
        )
    box = f'width="{_WIDTH}" height="{_HEIGHT + 1}" role="img" aria-label="histogram"'
    base = f'<line x1="0" y1="{_HEIGHT + 0.5}" x2="{_WIDTH}" y2="{_HEIGHT + 0.5}"/>'
    ends = f"<span>{number(histogram.low)}</span><span>{number(histogram.high)}</span>"
    return f'<svg {box}>{"".join(bars)}{base}</svg><div class="ends">{ends}</div>'


def _classes(counts: Mapping[str, int]) -> str:
    most = max(counts.values())
    total = sum(counts.values())
    shown = list(counts.items())[:_MAX_CLASSES]
    rows = "".join(
        f'<span>{_text(_cut(label))}</span><div style="width:{100 * count / most:.1f}%"></div>'
        f'<span class="n">{count:,} ({count / total:.1%})</span>'
        for label, count in shown
    )
    left = len(counts) - len(shown)
    more = f"<p>and {counted(left, 'class')} more</p>" if left else ""
    return f'<div class="card"><div class="classes">{rows}</div>{more}</div>'


def _values(counts: Mapping[str, int]) -> str:
    shown = list(counts.items())[:_MAX_VALUES]
    texts = [f"{_text(_cut(value))} ({count:,})" for value, count in shown]
    return ", ".join(texts) + (
        f" and {len(counts) - len(shown):,} values more" if len(counts) > len(shown) else ""
    )


def _catalogue() -> str:
    rows = "".join(
        f'<tr><td class="{check.severity}">{check.severity}</td><td>{check.name}</td>'
        f"<td>{_text(check.looks_at.replace('`', ''))}</td></tr>"
        for check in CATALOGUE
    )
    return f'<details><summary>All checks</summary><div class="card"><table>{rows}</table></div></details>'


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _text(text: str) -> str:
    return escape("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text))
