"""What is kept of an evaluation: the report, as JSON that other programs and later commands read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from bessemer.config.section import Section
from bessemer.errors import DataError
from bessemer.training.folders import EVALUATION_FOLDER

REPORT_FILE = "report.json"
TABLE_FILE = "predictions.parquet"


class Part(Section):
    """A part of a report; numbers that are none, such as NaN, are kept as words."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Score(Part):
    """A metric with its confidence interval, which is None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


class CheckpointUsed(Part):
    """The weights that were judged.

    Attributes:
        step: optimizer steps (count).
        sha256: of the checkpoint's state.
        path: its folder.
        choice: how it was chosen, in words.
        registered: "name/version" if the weights were those of a registered model, else "".
    """

    step: int
    sha256: str
    path: str
    choice: str
    registered: str = ""


class DataUsed(Part):
    """The data that were judged by.

    Attributes:
        dataset: class of the data set.
        fingerprint: of its content; "" if it has none.
        num_dataset: samples in it (count), None if it does not say.
        num_samples: samples that were judged (count).
    """

    dataset: str = ""
    fingerprint: str = ""
    num_dataset: int | None = None
    num_samples: int = 0


class SliceScore(Part):
    """Metrics of a part of the data."""

    num_samples: int
    metrics: dict[str, Score]


class Report(Part):
    """One evaluation on one split.

    Attributes:
        format: version of this form.
        project: whose.
        run: name of the run.
        run_id: of MLflow; "" if it is not tracked.
        split: what the data are called.
        task: how the model's output was read; "" if it was not.
        model: which of the program's models was watched.
        unseen: why predictions could not be observed; "" if they were.
        checkpoint: what was judged.
        data: what it was judged by.
        confidence: level of the intervals (fraction).
        num_bootstrap: resamples (count).
        program: what the program itself logged, by name.
        metrics: what was measured.
        smaller_is_better: of each metric that has a direction.
        classes: a line for each class.
        slices: by slice and name.
        worst: samples with the largest losses.
        figures: file names.
        remarks: what one should know.
        request: hash of all that this follows from but the data; "" if it is not to be relied on.
    """

    format: Literal[1] = 1
    project: str
    run: str
    run_id: str = ""
    split: str
    task: str = ""
    model: str = ""
    unseen: str = ""
    checkpoint: CheckpointUsed
    data: DataUsed = DataUsed()
    confidence: float = 0.95
    num_bootstrap: int = 0
    program: dict[str, float] = Field(default_factory=dict)
    metrics: dict[str, Score] = Field(default_factory=dict)
    smaller_is_better: dict[str, bool] = Field(default_factory=dict)
    classes: list[dict[str, Any]] = Field(default_factory=list)
    slices: dict[str, dict[str, SliceScore]] = Field(default_factory=dict)
    worst: list[dict[str, Any]] = Field(default_factory=list)
    figures: list[str] = Field(default_factory=list)
    remarks: list[str] = Field(default_factory=list)
    request: str = ""

    def find(self, metric: str) -> Score | None:
        """Return a metric by its name: one that the program logged, or one that was measured.

        `accuracy` and `test/accuracy` are both the measured one of the split `test`, if the program logs
        nothing of that name.
        """
        if metric in self.program:
            return Score(value=self.program[metric])
        return self.metrics.get(metric.removeprefix(f"{self.split}/"))

    @property
    def names(self) -> list[str]:
        """All metrics that there are."""
        return [*self.program, *self.metrics]


def request_of(parts: Mapping[str, Any]) -> str:
    """Hash what an evaluation follows from: 16 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_report(report: Report, folder: Path) -> None:
    """Write a report into the folder of its split."""
    (folder / REPORT_FILE).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_report(file: Path) -> Report:
    """Read a report.

    Raises:
        DataError: it is damaged; names the file and the first thing that is wrong.
    """
    try:
        return Report.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError, RecursionError) as error:
        found = str(error)
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        raise DataError(
            f"{file} is damaged: {found}",
            expected="a report of `bessemer evaluate`",
            todo="evaluate again without --if-changed",
        ) from None


def reports_of(run_dir: Path) -> list[Report]:
    """Return the reports of a run, by the names of their splits."""
    files = sorted((run_dir / EVALUATION_FOLDER).glob(f"*/{REPORT_FILE}"))
    return [read_report(file) for file in files if not file.parent.name.startswith(".")]


def folder_name(split: str) -> str:
    """Return a split's name as one part of a path."""
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in split).strip(".")
    return name or "data"
