"""What Ray's exceptions of dead workers mean, and that Ray still has what we take them from."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, RayActorError
from ray.train import FailureConfig, ScalingConfig, UserCallback
from ray.train.v2._internal.callbacks.user_callback import UserCallbackHandler
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.context import TrainContext
from ray.train.v2._internal.execution.preemption import PreemptionContext
from ray.train.v2._internal.execution.worker_group import worker_group
from ray.train.v2.api.preemption import PreemptionInfo

from bessemer.data.order import CanonicalPlan
from bessemer.errors import BessemerError, TrainingError
from bessemer.training import casualties
from bessemer.training.attempts import Report
from bessemer.training.casualties import Casualties, nodes_to_go, reports_of
from bessemer.training.monitor import Monitor
from bessemer.training.positions import PositionFile
from bessemer.utils.events import Event, FailureNoticed

RESET = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Connection closed by peer [127.0.0.1]:1"


class Told(Monitor):
    """Keeps what it is told and answers what it is to."""

    def __init__(self, answer: BessemerError | None = None) -> None:
        self.answer = answer
        self.reports: list[Report] = []
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        self.events.append(event)

    def ended(self, reports: Sequence[Report]) -> BessemerError | None:
        self.reports += reports
        return self.answer


def death(
    text: str = "The actor died unexpectedly.", preempted: bool = False
) -> WorkerHealthCheckFailedError:
    return WorkerHealthCheckFailedError(
        "A worker health check failed.", RayActorError(error_msg=text, preempted=preempted)
    )


def at_batch(run_dir: Path, rank: int, attempt: int = 1) -> PositionFile:
    file = PositionFile(run_dir / "positions" / f"worker-{rank}.bin", rank, 2, attempt)
    file.write(7, 0, 0, 3, CanonicalPlan(100, 10, False, False, 0))
    return file


def test_a_dead_worker_is_reported_with_its_place_and_its_samples(tmp_path: Path) -> None:
    at_batch(tmp_path, 1)
    (report,) = reports_of({1: death()}, tmp_path)
    assert (report.rank, report.kind, report.step, report.preempted) == (1, "died", 7, False)
    assert report.details.endswith("in batch 3 of pass 0 of loader 0, samples 35, 36, 37, 38, 39")
    assert "ended without a word" in report.error.found
    assert reports_of({1: death(preempted=True)}, tmp_path)[0].preempted


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Task was killed due to the node running low on memory.", "ran out of memory"),
        ("The actor died because its node has died. Node Id: abc", "the node of a worker died"),
    ],
)
def test_what_ray_knows_of_a_death_is_told(tmp_path: Path, said: str, found: str) -> None:
    assert found in reports_of({1: death(said)}, tmp_path)[0].error.found


def test_of_a_death_on_a_node_that_nobody_sees_it_is_said_that_its_samples_are_not_known(
    tmp_path: Path,
) -> None:
    (report,) = reports_of({1: death()}, tmp_path, sees_all=False)
    assert (report.kind, report.step, report.is_unseen) == ("died", None, True)
    assert "its step and sample ids are not known: only its own node has them" in report.details
    at_batch(tmp_path, 1)
    (report,) = reports_of({1: death()}, tmp_path, sees_all=False)
    assert (report.step, report.is_unseen) == (7, False)


def test_a_crash_is_told_with_the_line_of_the_program(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "crash-worker-1.log"
    log.parent.mkdir()
    log.write_text(
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x0 (most recent call first):\n"
        '  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at\n'
        '  File "/home/me/train.py", line 8 in step\n'
    )
    found = reports_of({1: death()}, tmp_path)[0].error.found
    assert found == 'a worker crashed: Segmentation fault, File "/home/me/train.py", line 8 in step'


def test_a_worker_that_the_watchdog_ended_is_told_as_hung(tmp_path: Path) -> None:
    at_batch(tmp_path, 1).mark("hung")
    assert "scaling.step_timeout_s" in reports_of({1: death()}, tmp_path)[0].error.found


def test_errors_of_lost_connections_point_to_the_worker_that_nobody_has_heard_of(tmp_path: Path) -> None:
    at_batch(tmp_path, 0)
    at_batch(tmp_path, 1)
    error = TrainingError(f"the program failed at train.py:3: RuntimeError: {RESET}")
    first, second = reports_of({0: error}, tmp_path)
    assert (first.rank, first.kind) == (0, "collateral")
    assert (second.rank, second.kind, second.step) == (1, "died", 7)


def test_an_error_of_the_program_is_one_also_when_it_speaks_of_connections(tmp_path: Path) -> None:
    (report,) = reports_of({0: ConnectionResetError("Connection reset by peer")}, tmp_path)
    assert report.kind == "program"
    assert report.error.found == "ConnectionResetError: Connection reset by peer"


def test_the_file_of_an_attempt_that_was_reported_is_not_taken_for_the_next(tmp_path: Path) -> None:
    at_batch(tmp_path, 1)
    told = Told()
    Casualties(told, tmp_path).after_exception(None, {1: death()})
    (event,) = told.events
    assert isinstance(event, FailureNoticed)
    assert event.at > 1.7e9
    Casualties(told, tmp_path).after_exception(None, {1: death()})
    assert [report.step for report in told.reports] == [7, None]
    log = (tmp_path / "logs" / "error-worker-1.log").read_text()
    assert "sample ids: 35 36 37 38 39" in log


def test_a_run_that_is_to_end_ends_in_rays_controller(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="enough"):
        Casualties(Told(TrainingError("enough")), tmp_path).after_exception(None, {1: death()})


# The contract with Ray


def test_ray_calls_back_when_a_worker_fails_with_every_error_by_rank() -> None:
    assert list(inspect.signature(UserCallback.after_exception).parameters) == [
        "self",
        "run_context",
        "worker_exceptions",
    ]
    assert "worker_group_status.errors" in inspect.getsource(
        UserCallbackHandler.after_worker_group_poll_status
    )
    # Raised in a poll, an error goes to the controller, which does not retry what it does not know.
    assert "after_worker_group_poll_status" in inspect.getsource(worker_group.WorkerGroup.poll_status)


def test_ray_still_has_the_errors_of_dead_workers() -> None:
    error = pickle.loads(pickle.dumps(death(preempted=True)))
    assert isinstance(error.health_check_failure, RayActorError)
    assert error.health_check_failure.preempted
    assert issubclass(ActorDiedError, RayActorError)


def test_ray_still_tells_each_worker_which_nodes_go(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TrainContext.__annotations__["preemption_context"] in (PreemptionContext, "PreemptionContext")
    context = PreemptionContext()

    class Context:
        preemption_context = context

    monkeypatch.setattr(casualties, "get_train_context", Context)
    assert nodes_to_go() == frozenset()
    context.preemption_info = PreemptionInfo(deadline_ms=None, preempted_node_to_ranks={"a": [0], "b": [1]})
    assert nodes_to_go() == {"a", "b"}


def test_ray_still_takes_the_numbers_that_we_give() -> None:
    FailureConfig(max_failures=-1, max_preemption_failures=2)
    assert ScalingConfig(num_workers=(1, 3), elastic_resize_monitor_interval_s=2.0).elasticity_enabled
