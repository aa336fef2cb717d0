"""The driver's writer to one run: in a thread of its own, in batches, and never twice.

After a restart it drops the points that were written before, so a step that is computed again is not
logged twice. While the store does not answer it goes on trying.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.tracking.runs import TrackedRun
from bessemer.tracking.store import client_of, named

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# MLflow's own limit on one batch.
_MAX_METRICS_A_BATCH = 1000
_BARRIER_POLL_S = 0.5
# What a server that restarts, or a database that somebody else writes to, answers with.
_PASSING_ERRORS = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0
_AGAIN: Any = object()


class MetricWriter:
    """Writes to one run from a thread of its own; what is given to it returns at once.

    Args:
        tracked: the run.
        flush_every_s: longest time that a metric waits (seconds).
        resumed: whether an earlier attempt may have written to the run; its points are then kept
            and the same steps are not written again.
        retry_s: how long it goes on trying while the store does not answer (seconds).
    """

    def __init__(
        self,
        tracked: TrackedRun,
        flush_every_s: float,
        resumed: bool,
        retry_s: float = 120.0,
    ) -> None:
        self._retry_s = retry_s
        self._tracked = tracked
        self._flush_every_s = flush_every_s
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
        self.log_points([(key, value, now_ms, step) for key, value in metrics.items()])

    def log_points(self, points: Sequence[tuple[str, float, int, int]]) -> None:
        """Queue points: name, value, milliseconds since 1970, step."""
        self._queue.put(list(points))

    def begin_again(self) -> None:
        """From here on the same steps may come again; what is written of them is kept."""
        self._queue.put(_AGAIN)

    @property
    def has_failed(self) -> bool:
        """Whether it has given up, and writes nothing more."""
        return self._error is not None

    def log_file(self, path: Path | Callable[[], Path], folder: str | None = None) -> None:
        """Queue a file to be kept with the run, under a folder of its artifacts.

        Args:
            path: of the file, or what brings it here when its turn comes and says where it is.
            folder: of the artifacts, or None for their root.
        """

        def send(client: MlflowClient) -> None:
            client.log_artifact(self._tracked.run_id, path() if callable(path) else path, folder)

        self._queue.put(send)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Queue tags of the run."""

        def send(client: MlflowClient) -> None:
            from mlflow.entities import RunTag

            client.log_batch(self._tracked.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

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
                    raise named(self._tracked.uri, self._error or RuntimeError("it was closed"))

        return wait

    def close(self) -> None:
        """Write what is queued and end the thread.

        Raises:
            TrackingError: something could not be written, now or before.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise named(self._tracked.uri, self._error)

    def _serve(self) -> None:
        # MLflow takes seconds of CPU to import; before there is something to write, the first step
        # needs them more.
        first = self._queue.get()
        try:
            client = client_of(self._tracked.uri)
            if self._resumed:
                self._written = self._patiently(_last_steps, client, self._tracked.run_id)
            more = self._write_some(client, first)
            while more:
                more = self._write_some(client)
        except BaseException as error:
            self._error = error

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
            elif item is _AGAIN:
                self._write(client, points)
                points = []
                self._written = self._patiently(_last_steps, client, self._tracked.run_id)
                self._written_at_last = {}
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


def _last_steps(client: MlflowClient, run_id: str) -> dict[str, int]:
    """Return the largest step of each metric that was written, system metrics aside."""
    metrics = client.get_run(run_id).data.to_proto().metrics
    return {metric.key: metric.step for metric in metrics if not metric.key.startswith("system/")}
