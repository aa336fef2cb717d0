"""What a validation of data leaves in MLflow: a run named "validation" with its report and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bessemer.tracking.runs import TrackedRun, close_run, describe_run, log_metrics, open_run
from bessemer.tracking.store import client_of, errors_named

RUN_NAME = "validation"


def log_validation(
    uri: str,
    experiment: str,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    settings_toml: str,
    files: Sequence[Path],
    artifact_root: Path | None = None,
) -> TrackedRun:
    """Record a validation.

    Args:
        uri: tracking store.
        experiment: made if it does not exist.
        metrics: counts of what was found, by name.
        tags: what was validated.
        settings_toml: settings that repeat it.
        files: reports, kept under `validation/`.
        artifact_root: folder for files when the store is a local database.

    Raises:
        TrackingError: the store cannot be reached.
    """
    tracked = open_run(uri, experiment, RUN_NAME, tags, artifact_root)
    describe_run(tracked, {}, settings_toml)
    log_metrics(tracked, metrics, step=0)
    with errors_named(uri):
        client = client_of(uri)
        for file in files:
            client.log_artifact(tracked.run_id, file, RUN_NAME)
    close_run(tracked, "FINISHED")
    return tracked
