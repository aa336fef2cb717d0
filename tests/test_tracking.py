"""What goes to MLflow: one run whatever happens, off the training thread, no point twice."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bessemer.errors import TrackingError
from bessemer.tracking import (
    MetricWriter,
    TrackedRun,
    check_store,
    close_run,
    describe_run,
    links_to_experiments,
    log_metrics,
    open_children,
    open_run,
    tracking_uri,
    without_password,
)
from bessemer.tracking.store import in_use

SETTINGS_TOML = "lr = 0.5\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def uri(folder: Path) -> str:
    """A SQLite store; making one takes seconds, so all tests share it."""
    return tracking_uri("", folder)


@pytest.fixture(scope="module")
def client(uri: str) -> Any:
    check_store(uri)
    from mlflow import MlflowClient

    return MlflowClient(uri)


@pytest.fixture
def tracked(client: Any, uri: str, folder: Path, request: pytest.FixtureRequest) -> TrackedRun:
    opened = open_run(uri, "writing", request.node.name[:40], {}, folder)
    describe_run(opened, {}, SETTINGS_TOML)
    return opened


@pytest.fixture
def writer(tracked: TrackedRun) -> Iterator[MetricWriter]:
    made = MetricWriter(tracked, flush_every_s=0.05, resumed=False)
    yield made
    made.close()


def points_of(client: Any, tracked: TrackedRun, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(tracked.run_id, name)]


def written(tracked: TrackedRun, points: list[tuple[str, int, float]], resumed: bool = False) -> None:
    made = MetricWriter(tracked, flush_every_s=0.05, resumed=resumed)
    for name, step, value in points:
        made.log({name: value}, step)
    made.close()


# Where the store is


def test_the_setting_decides_then_the_variable_then_the_storage_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-the-environment:5000")
    assert tracking_uri("http://configured:5000", tmp_path) == "http://configured:5000"
    assert tracking_uri("", tmp_path) == "http://from-the-environment:5000"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking_uri("", tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"


def test_the_file_of_a_relative_folder_is_named_in_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert tracking_uri("", Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"


@pytest.mark.parametrize("uri", ["mlruns", "/tmp/mlruns", "file:///tmp/mlruns", "./mlruns"])
def test_a_file_store_is_refused_with_what_to_use(uri: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="names a folder") as caught:
        tracking_uri(uri, tmp_path)
    assert "sqlite:////" in caught.value.expected


def test_a_file_store_of_the_environment_is_refused_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    with pytest.raises(TrackingError, match="mlruns"):
        tracking_uri("", tmp_path)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
        ("https://host:5000/path?x=1", "https://host:5000/path?x=1"),
        ("https://me:secret@host:5000/path", "https://me:***@host:5000/path"),
        ("postgresql://me:s%40cret@host/db", "postgresql://me:***@host/db"),
        ("https://me@host/path", "https://me@host/path"),
        ("https://me:@host/path", "https://me:***@host/path"),
        ("https://me:secret@[::1]:5000/", "https://me:***@[::1]:5000/"),
    ],
)
def test_a_password_is_never_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


def test_a_password_is_not_in_an_error_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError) as caught:
        check_store("http://me:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_told_within_seconds(client: Any) -> None:
    begun = time.monotonic()
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9 does not work") as caught:
        check_store("http://127.0.0.1:9")
    assert time.monotonic() - begun < 8
    assert "start the server" in caught.value.todo


def test_a_database_that_cannot_be_written_is_a_tracking_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(TrackingError, match="does not work"):
        check_store(f"sqlite:///{tmp_path}/file/mlflow.db")


# A run


def test_the_page_of_each_experiment_is_linked_the_newest_first(uri: str, client: Any, folder: Path) -> None:
    first, second = (open_run(uri, name, "r", {}, folder).experiment_id for name in ("older", "newer"))
    links = links_to_experiments(uri, 5001)
    assert list(links)[:2] == ["newer", "older"]
    assert "Default" not in links
    for name, number in (("older", first), ("newer", second)):
        assert links[name] == (
            f"http://127.0.0.1:5001/#/experiments/{number}/runs?workflowType=machine_learning"
        )


def test_a_run_says_whose_it_is(client: Any, uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    tracked = open_run(uri, "common", "ada's", {}, folder)
    assert client.get_run(tracked.run_id).data.tags["mlflow.user"] == "ada"


def test_a_run_has_its_settings_its_tags_and_the_file_that_repeats_it(
    client: Any, uri: str, folder: Path
) -> None:
    parameters = {
        "lr": 0.5,
        "scaling.num_workers": 2,
        "limit": None,
        "space": {"lr": [1, 2]},
        "long": "x" * 9000,
    }
    tracked = open_run(uri, "a new one", "first", {"bessemer.project": "p"}, folder)
    for _ in range(2):  # a search may do so again after a kill
        describe_run(tracked, parameters, SETTINGS_TOML)
    run = client.get_run(tracked.run_id)
    assert run.info.run_name == "first"
    assert run.info.status == "RUNNING"
    assert client.get_experiment(tracked.experiment_id).name == "a new one"
    assert run.data.tags["bessemer.project"] == "p"
    params = run.data.params
    assert (params["lr"], params["scaling.num_workers"], params["limit"]) == ("0.5", "2", "None")
    assert params["long"] == "x" * 6000
    kept = Path(run.info.artifact_uri.removeprefix("file://")) / "settings.toml"
    assert kept.read_text() == SETTINGS_TOML
    assert folder in kept.parents


def test_a_second_run_goes_to_the_same_experiment(client: Any, uri: str, folder: Path) -> None:
    first, second = (open_run(uri, "common", name, {}, folder) for name in "ab")
    assert first.experiment_id == second.experiment_id
    assert first.run_id != second.run_id


def test_more_parameters_than_one_request_takes_are_all_written(client: Any, uri: str, folder: Path) -> None:
    tracked = open_run(uri, "common", "many", {}, folder)
    describe_run(tracked, {f"p{i}": i for i in range(250)}, "")
    assert client.get_run(tracked.run_id).data.params == {f"p{i}": str(i) for i in range(250)}


def test_a_deleted_experiment_is_refused_with_how_to_restore_it(client: Any, uri: str, folder: Path) -> None:
    experiment_id = client.create_experiment("deleted")
    client.delete_experiment(experiment_id)
    with pytest.raises(TrackingError, match="'deleted' is deleted") as caught:
        open_run(uri, "deleted", "x", {}, folder)
    assert f"mlflow experiments restore -x {experiment_id}" in caught.value.todo


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_closed_run_has_its_status_and_what_is_known_only_now(
    client: Any, tracked: TrackedRun, status: Any
) -> None:
    close_run(tracked, status, {"bessemer.attempts": "3"})
    run = client.get_run(tracked.run_id)
    assert run.info.status == status
    assert run.info.end_time is not None
    assert run.data.tags["bessemer.attempts"] == "3"


def test_metrics_can_be_added_to_a_closed_run(client: Any, tracked: TrackedRun) -> None:
    close_run(tracked, "FINISHED")
    log_metrics(tracked, {"evaluate/loss": 0.25}, 40)
    assert points_of(client, tracked, "evaluate/loss") == [(40, 0.25)]
    assert client.get_run(tracked.run_id).info.status == "FINISHED"


# The writer


def test_everything_that_was_logged_is_written_when_the_writer_is_closed(
    client: Any, tracked: TrackedRun
) -> None:
    written(tracked, [("loss", step, step / 8) for step in range(50)])
    assert points_of(client, tracked, "loss") == [(step, step / 8) for step in range(50)]


def test_logging_returns_at_once_and_is_written_in_few_batches(
    client: Any, tracked: TrackedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    batches: list[int] = []
    log_batch = MlflowClient.log_batch

    def slow(self: Any, run_id: str, metrics: Any = (), **more: Any) -> Any:
        batches.append(len(metrics))
        time.sleep(0.05)
        return log_batch(self, run_id, metrics=metrics, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", slow)
    made = MetricWriter(tracked, flush_every_s=0.2, resumed=False)
    begun = time.monotonic()
    for step in range(2300):
        made.log({"loss": 1.0}, step)
    assert time.monotonic() - begun < 0.5
    made.close()
    assert sum(batches) == 2300
    assert max(batches) <= 1000
    assert len(batches) < 10


def test_a_metric_is_sent_after_the_time_that_was_chosen(client: Any, writer: MetricWriter) -> None:
    writer.log({"loss": 0.5}, 1)
    deadline = time.monotonic() + 5
    while not points_of(client, writer._tracked, "loss"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_numbers_that_are_none_can_be_written(client: Any, tracked: TrackedRun) -> None:
    written(tracked, [("loss", 1, math.inf), ("loss", 2, math.nan), ("loss", 3, 1.0)])
    points = points_of(client, tracked, "loss")
    assert [step for step, _ in points] == [1, 2, 3]
    assert math.isnan(points[1][1])


def test_files_and_tags_are_kept_with_the_run(client: Any, writer: MetricWriter, tmp_path: Path) -> None:
    file = tmp_path / "curve.png"
    file.write_bytes(b"png")
    writer.log_file(file, "figures")
    writer.set_tags({"bessemer.world_size": "2"})
    writer.close()
    run_id = writer._tracked.run_id
    assert [item.path for item in client.list_artifacts(run_id, "figures")] == ["figures/curve.png"]
    assert client.get_run(run_id).data.tags["bessemer.world_size"] == "2"


def test_a_barrier_waits_until_what_was_logged_before_it_is_written(
    client: Any, writer: MetricWriter
) -> None:
    writer.log({"loss": 0.5}, 1)
    wait = writer.barrier()
    wait()
    assert points_of(client, writer._tracked, "loss") == [(1, 0.5)]


def test_a_resumed_writer_drops_the_steps_that_were_written_before(client: Any, tracked: TrackedRun) -> None:
    written(tracked, [("loss", 1, 1.0), ("loss", 2, 2.0), ("loss", 3, 3.0), ("test", 2, 9.0)])
    again = [
        ("loss", 2, 2.0),
        ("loss", 3, 3.0),
        ("loss", 4, 4.0),
        ("test", 2, 9.0),
        ("test", 4, 8.0),
        ("new", 1, 7.0),
    ]
    written(tracked, again, resumed=True)
    assert points_of(client, tracked, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert points_of(client, tracked, "test") == [(2, 9.0), (4, 8.0)]
    assert points_of(client, tracked, "new") == [(1, 7.0)]


def test_a_resumed_writer_keeps_several_values_of_one_step(client: Any, tracked: TrackedRun) -> None:
    # Evaluation batches are logged at one step each, as long as no optimizer steps.
    points = [("batch", 4, 1.0), ("batch", 4, 2.0), ("batch", 8, 3.0), ("batch", 8, 4.0)]
    written(tracked, points[:2])
    written(tracked, points, resumed=True)
    assert points_of(client, tracked, "batch") == [(step, value) for _, step, value in points]


def test_a_step_that_was_cut_off_halfway_is_completed_by_the_resumed_writer(
    client: Any, tracked: TrackedRun
) -> None:
    points = [("batch", 4, 1.0), ("batch", 4, 2.0), ("batch", 4, 3.0)]
    written(tracked, points[:1])
    written(tracked, points, resumed=True)
    assert points_of(client, tracked, "batch") == [(4, 1.0), (4, 2.0), (4, 3.0)]


def test_a_writer_that_cannot_write_says_so_when_it_is_closed(uri: str, client: Any) -> None:
    made = MetricWriter(TrackedRun(uri, "no-such-run", "0", "x"), 0.05, resumed=False)
    made.log({"loss": 1.0}, 1)
    with pytest.raises(TrackingError, match="does not work"):
        made.close()


class Away:
    """A store that does not answer a number of times."""

    def __init__(self, function: Any, times: int) -> None:
        self.function = function
        self.times = times
        self.calls = 0

    def __get__(self, client: Any, _kind: Any = None) -> Any:
        return lambda *arguments, **options: self(client, *arguments, **options)

    def __call__(self, client: Any, *arguments: Any, **options: Any) -> Any:
        from mlflow.exceptions import MlflowException

        self.calls += 1
        if self.calls <= self.times:
            raise MlflowException("API request failed with exception: connection refused")
        return self.function(client, *arguments, **options)


def test_a_store_that_is_away_for_a_while_loses_no_point(
    client: Any, tracked: TrackedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    away = Away(MlflowClient.log_batch, 3)
    monkeypatch.setattr(MlflowClient, "log_batch", away)
    made = MetricWriter(tracked, 0.05, resumed=False, retry_s=30)
    for step in range(5):
        made.log({"loss": step / 8}, step)
    made.barrier()()
    assert points_of(client, tracked, "loss") == [(step, step / 8) for step in range(5)]
    assert away.calls == 4
    made.close()


def test_a_store_that_stays_away_is_given_up_and_no_barrier_passes(
    client: Any, tracked: TrackedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setattr(MlflowClient, "log_batch", Away(MlflowClient.log_batch, 10**9))
    made = MetricWriter(tracked, 0.05, resumed=False, retry_s=1)
    made.log({"loss": 1.0}, 1)
    with pytest.raises(TrackingError, match="connection refused"):
        made.barrier()()
    with pytest.raises(TrackingError):
        made.close()


def test_a_barrier_of_a_writer_that_cannot_write_does_not_wait_for_ever(uri: str, client: Any) -> None:
    made = MetricWriter(TrackedRun(uri, "no-such-run", "0", "x"), 0.05, resumed=False)
    made.log({"loss": 1.0}, 1)
    with pytest.raises(TrackingError, match="does not work"):
        made.barrier()()
    with pytest.raises(TrackingError):
        made.close()


def test_a_writer_that_was_given_nothing_closes_at_once(tracked: TrackedRun) -> None:
    begun = time.monotonic()
    MetricWriter(tracked, flush_every_s=60, resumed=True).close()
    assert time.monotonic() - begun < 2


def test_logging_a_model_leaves_no_wish_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    with in_use(f"sqlite:///{tmp_path}/one.db"):
        assert os.environ["MLFLOW_TRACKING_URI"].endswith("one.db")
        os.environ["MLFLOW_EXPERIMENT_ID"] = "7"
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert "MLFLOW_EXPERIMENT_ID" not in os.environ
    assert tracking_uri("", tmp_path).endswith("mlflow.db")


def test_runs_inside_of_a_run_that_nobody_closed_are_found(client: Any, uri: str, folder: Path) -> None:
    parent = open_run(uri, "nested", "parent", {}, folder)
    children = [
        open_run(uri, "nested", name, {"mlflow.parentRunId": parent.run_id}, folder) for name in "abc"
    ]
    close_run(children[1], "FINISHED")
    assert sorted(child.name for child in open_children(parent)) == ["a", "c"]
