"""One training run is one MLflow run: opened, gone on with, closed and read by the driver."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bessemer.errors import TrackingError
from bessemer.tracking.store import ARTIFACTS_NAME, client_of, errors_named

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own limits on one batch and on the length of a parameter's value.
_MAX_PARAMETERS_A_BATCH = 100
_MAX_PARAMETER_LENGTH = 6000
Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class TrackedRun:
    """Where a run is recorded.

    Attributes:
        uri: MLflow tracking URI.
        run_id: id that every process writes to.
        experiment_id: the experiment it belongs to.
        name: what the MLflow page calls it.
        began_at: when it was opened first (seconds since 1970).
    """

    uri: str
    run_id: str
    experiment_id: str
    name: str
    began_at: float = 0.0


class PendingRun(TrackedRun):
    """A run that is being opened: who asks for its id waits for it.

    Args:
        uri: MLflow tracking URI.
        name: what the MLflow page calls it.
        make: opens it.
    """

    _make: Callable[[], TrackedRun]
    _opened: Future[TrackedRun]

    def __init__(self, uri: str, name: str, make: Callable[[], TrackedRun]) -> None:
        known = {"uri": uri, "name": name, "began_at": time.time(), "_make": make, "_opened": Future()}
        for attribute, value in known.items():
            object.__setattr__(self, attribute, value)

    def open(self) -> None:
        """Open it, once.

        Raises:
            TrackingError: the store cannot be reached; whoever asks for its id gets that too.
        """
        try:
            self._opened.set_result(self._make())
        except BaseException as error:
            self._opened.set_exception(error)
            raise

    @property
    def run_id(self) -> str:
        """Id that every process writes to."""
        return self._opened.result().run_id

    @property
    def experiment_id(self) -> str:
        """The experiment it belongs to."""
        return self._opened.result().experiment_id


def open_run(
    uri: str,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    artifact_root: Path | None = None,
) -> TrackedRun:
    """Create the MLflow run of a training run; `describe_run` says what it was made of.

    Args:
        uri: tracking store.
        experiment: made if it does not exist.
        name: shown in the MLflow page.
        tags: what the run was made from.
        artifact_root: folder for files when the store is a local database.

    Raises:
        TrackingError: the store cannot be reached.
    """
    with errors_named(uri):
        client = client_of(uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None and found.lifecycle_stage != "active":
            raise TrackingError(
                f"the MLflow experiment {experiment!r} is deleted",
                expected="an active experiment",
                todo=f"restore it (`mlflow experiments restore -x {found.experiment_id}`) "
                "or set tracking.experiment",
            )
        local = uri.startswith("sqlite:") and artifact_root is not None
        root = (artifact_root / ARTIFACTS_NAME).absolute().as_uri() if local and artifact_root else None
        experiment_id = found.experiment_id if found else client.create_experiment(experiment, root)
        run = client.create_run(experiment_id, run_name=name, tags={**_user(), **tags})
        return TrackedRun(uri, run.info.run_id, experiment_id, name, run.info.start_time / 1000)


def _user() -> dict[str, str]:
    """Return whose run it is, as a tag; nothing where the user has no name, as in some containers."""
    try:
        return {"mlflow.user": getpass.getuser()}
    except (KeyError, OSError):
        return {}


def describe_run(tracked: TrackedRun, parameters: Mapping[str, Any], settings_toml: str) -> None:
    """Keep with a run what it was made of; to do so again changes nothing.

    Args:
        tracked: the run.
        parameters: every setting by its dotted name.
        settings_toml: settings file that repeats the run, kept as an artifact.

    Raises:
        TrackingError: the store cannot be reached.
    """
    with errors_named(tracked.uri):
        client = client_of(tracked.uri)
        _log_parameters(client, tracked.run_id, parameters)
        client.log_text(tracked.run_id, settings_toml, "settings.toml")


def open_children(tracked: TrackedRun) -> list[TrackedRun]:
    """Return the runs inside of a run that nobody has closed."""
    with errors_named(tracked.uri):
        found = client_of(tracked.uri).search_runs(
            [tracked.experiment_id],
            f"tags.mlflow.parentRunId = '{tracked.run_id}' and attributes.status = 'RUNNING'",
        )
    return [
        TrackedRun(tracked.uri, run.info.run_id, run.info.experiment_id, run.info.run_name) for run in found
    ]


def reopen_run(tracked: TrackedRun) -> None:
    """Go on recording in a run that an earlier driver opened.

    Raises:
        TrackingError: the store cannot be reached, or the run is not there any more.
    """
    with errors_named(tracked.uri):
        client_of(tracked.uri).update_run(tracked.run_id, status="RUNNING")


def close_run(
    tracked: TrackedRun,
    status: Status,
    tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    step: int = 0,
) -> None:
    """Set the final status of a run, and tags and metrics (at a step) that are known only now."""
    log_metrics(tracked, metrics or {}, step, tags)
    with errors_named(tracked.uri):
        client_of(tracked.uri).set_terminated(tracked.run_id, status)


def log_metrics(
    tracked: TrackedRun, metrics: Mapping[str, float], step: int, tags: Mapping[str, str] | None = None
) -> None:
    """Write metrics, and tags, to a run that may be closed already."""
    from mlflow.entities import Metric, RunTag

    now_ms = int(time.time() * 1000)
    with errors_named(tracked.uri):
        client_of(tracked.uri).log_batch(
            tracked.run_id,
            metrics=[Metric(k, v, now_ms, step) for k, v in metrics.items()],
            tags=[RunTag(k, v) for k, v in (tags or {}).items()],
        )


def num_runs_named(uri: str, experiment_id: str, name: str) -> int:
    """Return how many runs of an experiment have a name (count)."""
    with errors_named(uri):
        found = client_of(uri).search_runs([experiment_id], f"attributes.run_name = '{name}'")
    return len(found)


def tags_of(tracked: TrackedRun) -> dict[str, str]:
    """Return the tags of a run, such as the commit that it was trained from."""
    with errors_named(tracked.uri):
        return dict(client_of(tracked.uri).get_run(tracked.run_id).data.tags)


def log_folder(tracked: TrackedRun, folder: Path, name: str) -> None:
    """Keep the files of a folder with a run that is already closed, under a folder of its artifacts."""
    with errors_named(tracked.uri):
        client_of(tracked.uri).log_artifacts(tracked.run_id, str(folder), name)


def logged_points(tracked: TrackedRun) -> list[tuple[str, int, float]]:
    """Return (name, step, value) of all that was logged in a run, twice what was logged twice."""
    with errors_named(tracked.uri):
        client = client_of(tracked.uri)
        names = sorted(client.get_run(tracked.run_id).data.metrics)
        histories = [client.get_metric_history(tracked.run_id, name) for name in names]
    return [(point.key, point.step, point.value) for history in histories for point in history]


def _log_parameters(client: MlflowClient, run_id: str, parameters: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    items = [Param(key, str(value)[:_MAX_PARAMETER_LENGTH]) for key, value in parameters.items()]
    for start in range(0, len(items), _MAX_PARAMETERS_A_BATCH):
        client.log_batch(run_id, params=items[start : start + _MAX_PARAMETERS_A_BATCH])
