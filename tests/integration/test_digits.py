"""The main job on real data: research code becomes a tracked, distributed run that outlives a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from integration.workplaces import ROOT, Head, Workplace

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def trained(workplace: Workplace) -> subprocess.CompletedProcess[str]:
    """`bessemer train --project digits` with the research code's own defaults."""
    done = workplace.run(
        *(
            "train",
            "--project",
            "digits",
            "--tracking.run-name",
            "undisturbed",
            "--tracking.log-model",
            "true",
        )
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def result_of(workplace: Workplace, name: str) -> dict[str, Any]:
    file = workplace.folder / "runs" / "digits" / name / "result.json"
    result: dict[str, Any] = json.loads(file.read_text())
    return result


@pytest.fixture(scope="module")
def client(workplace: Workplace, trained: object) -> MlflowClient:
    return MlflowClient(f"sqlite:///{workplace.folder / 'runs' / 'mlflow.db'}")


def test_the_converted_project_reaches_the_accuracy_of_the_original(
    workplace: Workplace, trained: subprocess.CompletedProcess[str]
) -> None:
    original = subprocess.run(
        [sys.executable, str(ROOT / "src" / "digits" / "train.py")],
        cwd=workplace.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.findall(r"Accuracy: (\d+)/(\d+)", original.stdout)
    correct, total = map(int, found[-1])
    accuracy = result_of(workplace, "undisturbed")["metrics"]["test/accuracy"]
    assert accuracy >= 0.97
    assert abs(accuracy - correct / total) <= 0.01


def test_in_a_pipe_training_prints_a_plain_line_an_epoch_and_where_things_are(
    trained: subprocess.CompletedProcess[str],
) -> None:
    lines = trained.stdout.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 20
    for word in ("train/loss", "test/accuracy", "samples/s", "data wait", "left"):
        assert word in epochs[0]
    for name in ("result", "checkpoint", "run", "logs", "time", "next"):
        assert any(line.startswith(name) for line in lines)
    for part in ("start-up", "steps", "data wait", "checkpoints", "other", "end"):
        assert any(re.match(rf"(time)? +{part} +\S", line) for line in lines)
    assert "\x1b" not in trained.stdout
    assert not trained.stderr


def test_what_the_program_prints_goes_to_the_log_file_once(workplace: Workplace, trained: object) -> None:
    log = workplace.folder / "runs" / "digits" / "undisturbed" / "logs" / "train.log"
    assert log.read_text().count("Test set: Average loss") == 20


def test_mlflow_has_one_run_with_everything_that_belongs_to_it(
    workplace: Workplace, client: MlflowClient
) -> None:
    run_id = result_of(workplace, "undisturbed")["tracked"]["run_id"]
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert {"lr", "epochs", "scaling.num_workers", "data.block_steps"} <= set(run.data.params)
    assert run.data.params["scaling.num_workers"] == "2"
    history = client.get_metric_history(run_id, "train/loss")
    assert [point.step for point in history] == list(range(1, 461))
    assert len(client.get_metric_history(run_id, "test/accuracy")) == 20
    assert len(client.get_metric_history(run_id, "epoch/train/loss")) == 20
    assert any(name.startswith("system/") for name in run.data.metrics)
    for tag in ("source_sha256", "lock_sha256", "data_fingerprint", "world_size", "attempts"):
        assert run.data.tags[f"bessemer.{tag}"]
    assert run.data.tags["bessemer.world_size"] == "2"


def test_the_settings_file_of_a_run_is_kept_with_it_and_repeats_it(
    workplace: Workplace, client: MlflowClient, tmp_path: Path
) -> None:
    result = result_of(workplace, "undisturbed")
    kept = Path(client.download_artifacts(result["tracked"]["run_id"], "settings.toml", str(tmp_path)))
    shown = workplace.run("config", "--project", "digits", "--config", str(kept), "--json")
    values = json.loads(shown.stdout)
    assert values["epochs"] == {"value": 20, "from": "file", "meaning": values["epochs"]["meaning"]}
    assert values["tracking.run_name"]["value"] == "undisturbed"


PREDICT = """
import mlflow, numpy, sys
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
assert model.metadata.signature is not None
scores = model.predict(numpy.zeros((3, 1, 8, 8), dtype=numpy.float32))
print(scores.shape, numpy.exp(scores).sum(axis=1).round(4).tolist())
"""


def test_the_logged_model_loads_without_the_project_and_predicts(
    workplace: Workplace, client: MlflowClient, tmp_path: Path
) -> None:
    tracked = result_of(workplace, "undisturbed")["tracked"]
    models = client.search_logged_models([tracked["experiment_id"]], f"source_run_id = '{tracked['run_id']}'")
    assert [model.name for model in models] == ["model"]
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, tracked["uri"], models[0].model_uri],
        cwd=tmp_path,
        env=workplace.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "(3, 10) [1.0, 1.0, 1.0]\n", done.stderr


def test_evaluating_a_run_again_gives_the_metrics_of_its_best_checkpoint(
    workplace: Workplace, client: MlflowClient
) -> None:
    done = workplace.run("evaluate", "--project", "digits", "--run", "undisturbed", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    tracked = result_of(workplace, "undisturbed")["tracked"]
    points = {p.step: p.value for p in client.get_metric_history(tracked["run_id"], "test/loss")}
    assert found["metrics"]["test/loss"] == points[found["step"]]
    assert min(points.values()) == points[found["step"]]


def test_where_the_time_of_a_run_went_is_in_its_result_and_in_mlflow(
    workplace: Workplace, client: MlflowClient
) -> None:
    result = result_of(workplace, "undisturbed")
    account = result["account"]
    names = ("startup_s", "steps_s", "data_wait_s", "checkpoint_s", "other_s", "recovery_s", "end_s")
    assert sum(account[name] for name in names) == pytest.approx(account["total_s"], abs=0.1)
    assert account["total_s"] == pytest.approx(result["duration_s"], abs=5)  # MLflow is told in between
    assert account["startup_s"] == pytest.approx(
        account["cluster_s"] + account["workers_s"] + account["program_s"], abs=0.1
    )
    assert (account["num_steps"], account["num_checkpoints"]) == (460, 20)
    assert (account["recoveries"], account["num_steps_again"]) == ([], 0)
    assert 0 < 20 * account["step_s"] < account["steps_s"]
    logged = client.get_run(result["tracked"]["run_id"]).data.metrics
    for name in (*names, "total_s", "step_s", "num_steps", "num_steps_again", "data_wait_fraction"):
        assert logged[f"usage/{name}"] == account[name]


def scraped(head: Head, name: str, run: str) -> float:
    """Return what Ray serves to Prometheus of a metric of a run, once it does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with urlopen(f"{head.dashboard}/api/prometheus/sd", timeout=10) as answer:
            places = [place for group in json.load(answer) for place in group["targets"]]
        for place in places:
            with urlopen(f"http://{place}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            found = re.search(rf'^{name}{{[^}}]*run="{run}"[^}}]*}} (\S+)$', text, re.MULTILINE)
            if found is not None and float(found[1]):
                return float(found[1])
        time.sleep(0.5)
    raise AssertionError(f"{name} of {run} is not at {places}")


def test_a_killed_worker_costs_an_attempt_and_changes_no_number(
    workplace: Workplace, head: Head, client: MlflowClient
) -> None:
    printed = []
    victims: list[int] = []
    recovery_s = 0.0
    with workplace.start("train", "--project", "digits", "--tracking.run-name", "killed") as process:
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            # The line comes again where the restart computes epoch 5 again: one kill, not one a line.
            if line.startswith("epoch 5/") and not victims:
                victims.append(head.worker_pids()[-1])
                os.kill(victims[0], signal.SIGKILL)
            if line.startswith("epoch 8/") and not recovery_s:
                recovery_s = scraped(head, "ray_bessemer_recovery_seconds_total", "killed")
        status = process.wait(timeout=60)
    assert status == 0, "".join(printed)
    assert any(line.startswith("attempt 2: workers restarted") for line in printed)
    killed, undisturbed = result_of(workplace, "killed"), result_of(workplace, "undisturbed")
    assert killed["num_attempts"] == 2
    assert killed["metrics"] == undisturbed["metrics"]
    assert killed["checkpoint"]["metric"] == undisturbed["checkpoint"]["metric"]
    experiment = killed["tracked"]["experiment_id"]
    names = [run.info.run_name for run in client.search_runs([experiment])]
    assert sorted(names) == ["killed", "undisturbed"]
    for metric in ("train/loss", "test/loss", "epoch/train/loss"):
        histories = [
            [(p.step, p.value) for p in client.get_metric_history(r["tracked"]["run_id"], metric)]
            for r in (killed, undisturbed)
        ]
        assert histories[0] == histories[1]
    account = killed["account"]
    (recovery,) = account["recoveries"]
    # It grows until the first step, and Ray shows it some seconds later.
    assert 0 < recovery_s <= account["recovery_s"] + 0.1
    assert recovery["noticed_s"] is not None
    # The newest checkpoint is of an epoch, which has 23 steps; the last one may not have been on storage.
    assert 0 <= account["num_steps_again"] == recovery["num_again"] <= 3 * 23
    assert account["num_steps"] == 460 + account["num_steps_again"]
    parts = sum(recovery[f"{part}_s"] for part in ("noticed", "restarted", "restored", "first_step"))
    assert 1 < parts < 120
    assert account["recovery_s"] == pytest.approx(parts, abs=0.1)
    assert recovery["again_s"] >= 0
    logged = client.get_run(killed["tracked"]["run_id"]).data.metrics
    assert logged["usage/num_restarts"] == 1
    assert logged["usage/recovery_s"] == account["recovery_s"]
    assert logged["usage/recovery/again_s"] == recovery["again_s"]
    assert logged["usage/num_steps_again"] == account["num_steps_again"]
    told = next(line for line in printed if re.match(r" +recovery ", line))
    assert "1 restart," in told


def test_a_job_submitted_to_the_head_trains(workplace: Workplace, head: Head) -> None:
    command = [str(Path(sys.executable).parent / "ray"), "job", "submit", "--address", head.dashboard]
    command += ["--working-dir", str(ROOT), "--", "python", "jobs/train.py", "--project", "digits"]
    command += ["--epochs", "1", "--tracking.run-name", "job"]
    command += ["--checkpoint.storage-path", str(workplace.folder / "runs")]
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(command, env=workplace.environment, capture_output=True, text=True, timeout=240)
        # A head answers before its agent, which starts jobs, is there: seconds later on a busy machine.
        if "No available agent" not in done.stderr or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert result_of(workplace, "job")["step"] == 23


def test_a_run_that_cannot_be_placed_is_refused_within_five_seconds(workplace: Workplace) -> None:
    workplace.run("convert", "digits")
    times_s = []
    for _ in range(2):
        begun = time.monotonic()
        done = workplace.run("train", "--project", "digits", "--scaling.num-workers", "64")
        times_s.append(time.monotonic() - begun)
        assert done.returncode == 2
        assert "64 workers of 1 CPU each" in done.stderr
        assert "--scaling.num-workers 2" in done.stderr
        assert "Traceback" not in done.stderr
    assert min(times_s) < 8  # five of Bessemer's own, the rest for Python to start on a busy machine


def test_the_doctor_finds_nothing_wrong_here_and_says_what_is_wrong_elsewhere(
    workplace: Workplace,
) -> None:
    done = workplace.run("doctor", "--project", "digits", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert {"versions", "storage", "tracking store", "ray", "placement"} <= set(checks)
    bad = workplace.run(
        "doctor", "--json", "--scaling.num-workers", "64", "--tracking.uri", "http://127.0.0.1:9"
    )
    assert bad.returncode == 1
    levels = {check["name"]: check for check in json.loads(bad.stdout)}
    assert levels["placement"]["level"] == "error"
    assert levels["tracking store"]["level"] == "error"
    assert levels["tracking store"]["todo"]


def test_data_verbs_do_what_there_is_to_do_and_say_what_is_done(workplace: Workplace) -> None:
    first, again = (workplace.run("data", "download", "--project", "digits") for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert "1 file fetched (57.5 kB)" in first.stdout
    assert "digits.csv.gz: is there" in again.stdout
    validate = workplace.run("data", "validate", "--project", "digits")
    assert validate.returncode == 0, validate.stdout + validate.stderr
    assert "1,437 samples" in validate.stdout
    assert "360 samples" in validate.stdout
