"""What validation says: findings, what each data set holds, and the report of all. Frozen values.

They are written as JSON, drawn by `page.py` and `table.py`, and never hold the data themselves, but for
a few small pictures.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bessemer.config.section import Section

Severity = Literal["error", "warning"]
Origin = Literal["prepared", "source", "program"]


class Finding(Section):
    """One thing that a check found.

    Attributes:
        severity: errors make training wrong or impossible, warnings may.
        check: name of the check.
        dataset: what it was found in.
        text: what was found, with numbers and the first samples concerned.
        column: what it was found in, if it is one column.
    """

    severity: Severity
    check: str
    dataset: str
    text: str
    column: str = ""


class Histogram(Section):
    """How numbers are spread.

    Attributes:
        low, high: ends of the range.
        counts: numbers in each of its equal parts (count), of a sample of them.
    """

    low: float
    high: float
    counts: tuple[int, ...]


class ColumnSummary(Section):
    """What one column holds.

    Attributes:
        name: of the column.
        kind: `float32 [3, 32, 32]`, `str`.
        num_missing: samples without a value (count).
        num_not_finite: samples with NaN or infinity in it (count).
        min, max, mean, std: over all finite numbers; of texts and bytes, of their lengths; None where
            there are none.
        counts: samples by value, the most frequent first, where there are few values.
        histogram: of numbers, or of lengths; None where there are none.
    """

    name: str
    kind: str
    num_missing: int = 0
    num_not_finite: int = 0
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    histogram: Histogram | None = None


class Picture(Section):
    """A sample as a picture.

    Attributes:
        title: which sample it is.
        png: base64 of a PNG file.
    """

    title: str
    png: str


class DatasetSummary(Section):
    """What one data set holds.

    Attributes:
        name: what it is called.
        origin: prepared shards, a native source, or a data set that the program makes.
        num_samples: how many there are (count).
        num_checked: samples that were looked at (count).
        columns: of a sample, in order.
        labels: name of the column of classes, "" if there is none.
        class_counts: samples of each class (counts).
        pictures: the first samples, if they are images.
    """

    name: str
    origin: Origin
    num_samples: int
    num_checked: int
    columns: tuple[ColumnSummary, ...]
    labels: str = ""
    class_counts: dict[str, int] = Field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()


class Report(Section):
    """All that one validation found.

    Attributes:
        project: whose data they are.
        time: when (seconds since 1970).
        duration_s: how long it took (seconds).
        datasets: what was looked at.
        findings: errors first.
        notes: what was not looked at, and why.
    """

    project: str
    time: float
    duration_s: float
    datasets: tuple[DatasetSummary, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_errors(self) -> int:
        """Findings that are errors (count)."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def num_warnings(self) -> int:
        """Findings that are warnings (count)."""
        return len(self.findings) - self.num_errors


def counted(number: int, noun: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "sample"), counted(12345, "sample")
    ('1 sample', '12,345 samples')
    """
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def tally_text(num_errors: int, num_warnings: int) -> str:
    """Return `1 error, 2 warnings`."""
    return f"{counted(num_errors, 'error')}, {counted(num_warnings, 'warning')}"
