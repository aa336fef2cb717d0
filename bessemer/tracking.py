"""What goes to MLflow. The only file that imports mlflow.

One training run is one MLflow run, however often its workers die: the driver creates it with
`open_run`, the main worker writes to it by id through a `MetricWriter`, off the training thread and
in batches, and the driver closes it. After a restart the writer drops the points that were written
before, so a step that is computed again is not logged twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from bessemer.errors import TrackingError

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from torch import nn

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "mlflow-artifacts"
# MLflow's own limits on one batch and on the length of a parameter's value.
_MAX_METRICS_A_BATCH = 1000
_MAX_PARAMETERS_A_BATCH = 100
_MAX_PARAMETER_LENGTH = 6000
_CONNECT_TIMEOUT_S = 10
_BARRIER_POLL_S = 0.5
# What a server that restarts, or a database that somebody else writes to, answers with.
_PASSING_ERRORS = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class TrackedRun:
    """Where a run is recorded.

    Attributes:
        uri: MLflow tracking URI.
        run_id: id that every process writes to.
        experiment_id: the experiment it belongs to.
        name: what the MLflow page calls it.
    """

    uri: str
    run_id: str
    experiment_id: str
    name: str


def tracking_uri(configured: str, storage_path: Path) -> str:
    """Decide on the tracking store: the setting, else MLflow's variable, else a SQLite file.

    Raises:
        TrackingError: a file store, which MLflow no longer serves.
    """
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return f"sqlite:///{storage_path.absolute() / DATABASE_NAME}"
    if urlsplit(uri).scheme in ("", "file"):
        raise TrackingError(
            f"the tracking URI {uri} names a folder; MLflow 3 refuses file stores",
            expected="sqlite:////absolute/path/mlflow.db, or http(s)://host:port",
            todo="leave tracking.uri empty for a SQLite file under checkpoint.storage_path",
        )
    return uri


def without_password(uri: str) -> str:
    """Return a URI that is fit for a screen or a log."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{place}"))


def check_store(uri: str) -> None:
    """See that the tracking store answers, and create it if it is a SQLite file.

    Raises:
        TrackingError: it does not answer within 10 seconds.
    """
    with _errors_named(uri):
        _client(uri).search_experiments(max_results=1)


def open_run(
    uri: str,
    experiment: str,
    name: str,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
    settings_toml: str,
    artifact_root: Path | None = None,
) -> TrackedRun:
    """Create the MLflow run of a training run.

    Args:
        uri: tracking store.
        experiment: made if it does not exist.
        name: shown in the MLflow page.
        parameters: every setting by its dotted name.
        tags: what the run was made from.
        settings_toml: settings file that repeats the run, kept as an artifact.
        artifact_root: folder for files when the store is a local database.

    Raises:
        TrackingError: the store cannot be reached.
    """
    with _errors_named(uri):
        client = _client(uri)
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
        run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
        _log_parameters(client, run.info.run_id, parameters)
        client.log_text(run.info.run_id, settings_toml, "settings.toml")
        return TrackedRun(uri, run.info.run_id, experiment_id, name)


def reopen_run(tracked: TrackedRun) -> None:
    """Go on recording in a run that an earlier driver opened.

    Raises:
        TrackingError: the store cannot be reached, or the run is not there any more.
    """
    with _errors_named(tracked.uri):
        _client(tracked.uri).update_run(tracked.run_id, status="RUNNING")


def close_run(tracked: TrackedRun, status: Status, tags: Mapping[str, str] | None = None) -> None:
    """Set the final status of a run, and tags that are known only now."""
    with _errors_named(tracked.uri):
        client = _client(tracked.uri)
        for key, value in (tags or {}).items():
            client.set_tag(tracked.run_id, key, value)
        client.set_terminated(tracked.run_id, status)


def log_metrics(tracked: TrackedRun, metrics: Mapping[str, float], step: int) -> None:
    """Write metrics to a run that is already closed."""
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    with _errors_named(tracked.uri):
        _client(tracked.uri).log_batch(
            tracked.run_id, metrics=[Metric(k, v, now_ms, step) for k, v in metrics.items()]
        )


def serve_page(uri: str, storage_path: Path, port: int) -> int:
    """Serve the MLflow page on this machine until Ctrl-C; returns its exit status.

    Raises:
        TrackingError: nothing was recorded yet, or the port is taken.
    """
    if uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise TrackingError(
            f"there is no tracking store {uri}",
            expected="a store that a run was recorded in",
            todo="train first, or name the folder of the runs with --storage",
        )
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise TrackingError(
                f"port {port} of this machine is taken",
                expected="a free port",
                todo=f"choose another: --port {port + 1}",
            )
    return subprocess.call(server_command(uri, storage_path, port))


def server_command(uri: str, storage_path: Path, port: int) -> list[str]:
    """Return the command that serves a store on this machine."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    artifacts = (storage_path / ARTIFACTS_NAME).absolute().as_uri()
    return [*command, "--default-artifact-root", artifacts]


def logged_points(tracked: TrackedRun) -> list[tuple[str, int, float]]:
    """Return (name, step, value) of all that was logged in a run, twice what was logged twice."""
    with _errors_named(tracked.uri):
        client = _client(tracked.uri)
        names = sorted(client.get_run(tracked.run_id).data.metrics)
        histories = [client.get_metric_history(tracked.run_id, name) for name in names]
    return [(point.key, point.step, point.value) for history in histories for point in history]


def _log_parameters(client: MlflowClient, run_id: str, parameters: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    items = [Param(key, str(value)[:_MAX_PARAMETER_LENGTH]) for key, value in parameters.items()]
    for start in range(0, len(items), _MAX_PARAMETERS_A_BATCH):
        client.log_batch(run_id, params=items[start : start + _MAX_PARAMETERS_A_BATCH])


class MetricWriter:
    """Writes to one run from a thread of its own; what is given to it returns at once.

    Args:
        tracked: the run.
        flush_every_s: longest time that a metric waits (seconds).
        system_metrics_every_s: sampling of the machine (seconds), or 0 for none.
        resumed: whether an earlier attempt may have written to the run; its points are then kept
            and the same steps are not written again.
        retry_s: how long it goes on trying while the store does not answer (seconds).
    """

    def __init__(
        self,
        tracked: TrackedRun,
        flush_every_s: float,
        system_metrics_every_s: float,
        resumed: bool,
        retry_s: float = 120.0,
    ) -> None:
        self._retry_s = retry_s
        self._tracked = tracked
        self._flush_every_s = flush_every_s
        self._system_metrics_every_s = system_metrics_every_s
        self._resumed = resumed
        self._written: dict[str, int] = {}
        self._written_at_last: dict[str, int] = {}
        self._queue: queue.Queue[Any] = queue.Queue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="bessemer-mlflow", daemon=True)
        self._thread.start()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Queue the values of some metrics at a step."""
        now_ms = int(time.time() * 1000)
        self._queue.put([(key, value, now_ms, step) for key, value in metrics.items()])

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Queue a file to be kept with the run, under a folder of its artifacts."""
        self._queue.put(lambda client: client.log_artifact(self._tracked.run_id, path, folder))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Queue tags of the run."""

        def send(client: MlflowClient) -> None:
            for key, value in tags.items():
                client.set_tag(self._tracked.run_id, key, value)

        self._queue.put(send)

    def barrier(self) -> Callable[[], None]:
        """Return a function that waits until everything queued so far is written.

        A checkpoint must not count before the metrics of the steps that it covers are safe: after a
        restart those steps are not computed again. So the function raises a TrackingError if they
        cannot be written.
        """
        written = threading.Event()
        self._queue.put(written)

        def wait() -> None:
            while not written.wait(_BARRIER_POLL_S):
                if not self._thread.is_alive() and not written.is_set():
                    raise _named(self._tracked.uri, self._error or RuntimeError("it was closed"))

        return wait

    def close(self) -> None:
        """Write what is queued and end the thread.

        Raises:
            TrackingError: something could not be written, now or before.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise _named(self._tracked.uri, self._error)

    def _serve(self) -> None:
        monitor = None
        # MLflow takes seconds of CPU to import; before there is something to write, the first step
        # needs them more.
        first = self._queue.get()
        try:
            client = _client(self._tracked.uri)
            if self._resumed:
                self._written = self._patiently(_last_steps, client, self._tracked.run_id)
            monitor = self._system_monitor()
            more = self._write_some(client, first)
            while more:
                more = self._write_some(client)
        except BaseException as error:
            self._error = error
        finally:
            if monitor is not None:
                monitor.finish()

    def _write_some(self, client: MlflowClient, *items: Any) -> bool:
        """Write what gathers within `flush_every_s`; return False after the last item."""
        points: list[tuple[str, float, int, int]] = []
        deadline = time.monotonic() + self._flush_every_s
        waiting = list(items)
        more = True
        while more and (waiting or time.monotonic() < deadline):
            if not waiting:
                with contextlib.suppress(queue.Empty):
                    waiting.append(self._queue.get(timeout=max(0.0, deadline - time.monotonic())))
                continue
            item = waiting.pop()
            if item is None:
                more = False
            elif isinstance(item, threading.Event):
                self._write(client, points)
                points = []
                item.set()
            elif callable(item):
                self._patiently(item, client)
            else:
                points += item
        self._write(client, points)
        return more

    def _write(self, client: MlflowClient, points: Sequence[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        new: list[Metric] = [
            Metric(key, value, timestamp, step)
            for key, value, timestamp, step in points
            if self._is_new(client, key, step)
        ]
        for start in range(0, len(new), _MAX_METRICS_A_BATCH):
            batch = new[start : start + _MAX_METRICS_A_BATCH]
            self._patiently(client.log_batch, self._tracked.run_id, metrics=batch)

    def _patiently(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call again and again while the store does not answer; all that is called may be repeated.

        The store keeps one of several equal points, so a batch that was half written is no harm.
        """
        from mlflow.exceptions import MlflowException

        deadline = time.monotonic() + self._retry_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return call(*arguments, **options)
            except (MlflowException, OSError) as error:
                lasting = isinstance(error, MlflowException) and error.error_code not in _PASSING_ERRORS
                if lasting or time.monotonic() + pause_s > deadline:
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _is_new(self, client: MlflowClient, key: str, step: int) -> bool:
        """Tell whether an earlier attempt has not written a point; points come in the same order."""
        last = self._written.get(key, -1)
        if step != last:
            return step > last
        if key not in self._written_at_last:
            history = self._patiently(client.get_metric_history, self._tracked.run_id, key)
            self._written_at_last[key] = sum(point.step == last for point in history)
        self._written_at_last[key] -= 1
        return self._written_at_last[key] < 0

    def _system_monitor(self) -> Any:
        if self._system_metrics_every_s <= 0:
            return None
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(
            self._tracked.run_id,
            sampling_interval=self._system_metrics_every_s,
            resume_logging=self._resumed,
            tracking_uri=self._tracked.uri,
        )
        monitor.start()
        return monitor


def log_model(
    tracked: TrackedRun,
    model: nn.Module,
    name: str,
    example: np.ndarray[Any, Any],
    code: Sequence[Path],
    step: int,
) -> str:
    """Log a model with its signature, to be loaded by `mlflow.pyfunc.load_model`.

    It is exported as a graph (torch's pt2 format), which needs no code of the project to load. A
    model that cannot be exported is pickled, together with the code it needs.

    Args:
        tracked: the run that it belongs to.
        model: in evaluation mode, on the CPU.
        name: of the logged model.
        example: one input batch, of at least two samples.
        code: folders of packages that a pickled model needs.
        step: optimizer steps that it was trained for.

    Returns:
        How it was stored: "pt2" or "pickle".

    Raises:
        TrackingError: neither form could be logged.
    """
    import mlflow
    import mlflow.pytorch
    import torch
    from mlflow.models import Model, infer_signature

    mlflow.set_tracking_uri(tracked.uri)
    # A logged model goes to the active experiment, whatever run it is given.
    mlflow.set_experiment(experiment_id=tracked.experiment_id)
    with torch.no_grad():
        output = model(torch.from_numpy(example))
    predicted = output.numpy() if isinstance(output, torch.Tensor) else None
    signature = infer_signature(example, predicted)
    packages = [f"torch=={torch.__version__.split('+')[0]}", "mlflow", "numpy"]
    forms: list[tuple[str, dict[str, Any]]] = [
        ("pt2", {"input_example": example}),
        ("pickle", {"code_paths": [str(path) for path in code]}),
    ]
    failures = []
    with _errors_named(tracked.uri):
        for form, extra in forms:
            try:
                Model.log(
                    artifact_path=None,
                    name=name,
                    flavor=mlflow.pytorch,
                    run_id=tracked.run_id,
                    pytorch_model=model,
                    signature=signature,
                    pip_requirements=packages,
                    serialization_format=form,
                    step=step,
                    **extra,
                )
                return form
            except Exception as error:
                failures.append(f"{form}: {type(error).__name__}: {str(error).splitlines()[0]}")
    raise TrackingError(
        f"the model {name} could not be logged ({'; '.join(failures)})",
        expected="a model that torch.export or pickle can store",
        todo="set tracking.log_model = false, or make the model exportable",
    )


def _last_steps(client: MlflowClient, run_id: str) -> dict[str, int]:
    """Return the largest step of each metric that was written, system metrics aside."""
    metrics = client.get_run(run_id).data.to_proto().metrics
    return {metric.key: metric.step for metric in metrics if not metric.key.startswith("system/")}


def _client(uri: str) -> MlflowClient:
    # MLflow retries a dead server for minutes; a user who waits should hear of it at once.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_CONNECT_TIMEOUT_S))
    from mlflow import MlflowClient

    # After the import, which sets the levels anew.
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return MlflowClient(uri)


@contextlib.contextmanager
def _errors_named(uri: str) -> Any:
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        raise _named(uri, error) from error


def _named(uri: str, error: BaseException) -> TrackingError:
    text = (str(error).splitlines() or [type(error).__name__])[0]
    # What failed may quote the URI, with the password in it.
    secret = urlsplit(uri).netloc.rpartition("@")[0]
    first_line = (text.replace(f"{secret}@", "") if secret else text)[:300]
    return TrackingError(
        f"the tracking store {without_password(uri)} does not work: {first_line}",
        expected="an MLflow server that answers, or a database that can be written",
        todo="start the server, correct tracking.uri, or leave it empty for a SQLite file",
    )
