"""Contract: what Ray Train's callbacks must be for failures to be noticed in time."""

from __future__ import annotations

import inspect
import pickle

import ray.train

from bessemer.training.noticing import Noticing
from bessemer.utils.events import FailureNoticed
from runs import FakeMonitor


def test_ray_trains_callback_is_told_of_exceptions_by_worker() -> None:
    parameters = inspect.signature(ray.train.UserCallback.after_exception).parameters
    assert list(parameters) == ["self", "run_context", "worker_exceptions"]
    assert "callbacks" in inspect.signature(ray.train.RunConfig).parameters


def test_that_a_failure_was_noticed_is_told_with_its_time() -> None:
    monitor = FakeMonitor()
    Noticing(monitor).after_exception(None, {0: RuntimeError("killed")})
    (event,) = monitor.events
    assert isinstance(event, FailureNoticed)
    assert event.at > 1.7e9


def test_it_travels_to_the_process_that_looks_after_the_workers() -> None:
    assert isinstance(pickle.loads(pickle.dumps(Noticing(FakeMonitor()))), Noticing)
