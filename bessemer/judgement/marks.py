"""What is known of a registered version: the reports of the checkpoint that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bessemer.errors import SettingsError
from bessemer.judgement.gate import Mark
from bessemer.judgement.names import TRAINED
from bessemer.judgement.report import Report, reports_of
from bessemer.tracking import Version

# Tags of a version.
PROJECT_TAG = "bessemer.project"
RUN_TAG = "bessemer.run"
RUN_DIR_TAG = "bessemer.run_dir"
STEP_TAG = "bessemer.step"
CHECKPOINT_TAG = "bessemer.checkpoint_sha256"
FORCED_TAG = "bessemer.forced"


def reports_for(version: Version) -> list[Report]:
    """Return the reports that are of a version: of its checkpoint, or of the version itself."""
    folder = version.tags.get(RUN_DIR_TAG, "")
    if not folder or not Path(folder).is_dir():
        return []
    sha256 = version.tags.get(CHECKPOINT_TAG, "")
    return [
        report
        for report in reports_of(Path(folder))
        if report.checkpoint.registered == version.label
        or (not report.checkpoint.registered and report.checkpoint.sha256 == sha256)
    ]


def mark_of(version: Version, metric: str, split: str) -> Mark:
    """Return the value of a metric of a version, with the data that it is of.

    Args:
        version: of a model.
        metric: its name.
        split: of the data; "" to find it.
    """
    todo = (
        f"bessemer evaluate --project {version.tags.get(PROJECT_TAG, '...')} "
        f"--run {version.tags.get(RUN_TAG, '...')} --checkpoint {version.tags.get(STEP_TAG, 'best')}"
        + (f" --split {split}" if split else "")
    )
    report = report_with(reports_for(version), metric, split)
    score = report.find(metric) if report is not None else None
    if report is None or score is None:
        return Mark(version.label, todo=todo)
    return Mark(version.label, score.value, report.split, report.data.fingerprint, todo)


def report_with(reports: Sequence[Report], metric: str, split: str) -> Report | None:
    """Return the report that a metric is in.

    Without a split it is the one that the metric's name begins with, else the one on data that are not
    trained on.

    Raises:
        SettingsError: there are several.
    """
    found = [report for report in reports if report.find(metric) is not None]
    if split:
        found = [report for report in found if report.split == split]
    elif len(found) > 1:
        named = [report for report in found if metric.startswith(f"{report.split}/")]
        found = named or [report for report in found if report.split != TRAINED] or found
    if len(found) > 1:
        raise SettingsError(
            f"{metric} is known of {', '.join(report.split for report in found)}",
            expected="one split that decides",
            todo="set registry.split in settings.toml",
        )
    return found[0] if found else None
