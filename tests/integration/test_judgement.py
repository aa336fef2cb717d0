"""The path from a trained run to a champion, with the verbs that a user has, on the digits."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from bessemer.tracking.store import in_use
from integration.workplaces import Workplace

pytestmark = pytest.mark.timeout(900)

RUNS = {"short": "2", "long": "4"}


@pytest.fixture(scope="module")
def judged(workplace: Workplace) -> Workplace:
    """Two runs of the digits, one of two epochs and one of four."""
    for name, epochs in RUNS.items():
        done = workplace.run(
            "train", "--project", "digits", "--epochs", epochs, "--tracking.run-name", f"judged-{name}"
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return workplace


def folder_of(workplace: Workplace, name: str) -> Path:
    return workplace.folder / "runs" / "digits" / f"judged-{name}"


def verb(workplace: Workplace, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = workplace.run(*arguments, "--project", "digits", timeout_s=300)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def report_of(workplace: Workplace, *arguments: str) -> dict[str, Any]:
    told = json.loads(verb(workplace, "evaluate", *arguments, "--json").stdout)
    (report,) = told["reports"]
    return {**report, "unchanged": told["unchanged"]}


def test_a_run_is_judged_and_what_was_found_is_in_its_folder_and_in_mlflow(judged: Workplace) -> None:
    report = report_of(judged, "--run", "judged-long")
    metrics = report["metrics"]
    program = report["program"]
    assert (report["split"], report["task"], report["data"]["num_samples"]) == ("test", "classification", 360)
    # The program computes in float32, batch after batch.
    assert metrics["accuracy"]["value"] == pytest.approx(program["test/accuracy"], rel=1e-9)
    assert metrics["log_loss"]["value"] == pytest.approx(program["test/loss"], rel=1e-5)
    assert metrics["accuracy"]["low"] < metrics["accuracy"]["value"] < metrics["accuracy"]["high"]
    folder = folder_of(judged, "long") / "evaluation" / "test"
    assert {"report.json", "predictions.parquet", "confusion.png", "reliability.png", "worst.png"} == {
        file.name for file in folder.iterdir()
    }
    client = MlflowClient(f"sqlite:///{judged.folder / 'runs' / 'mlflow.db'}")
    logged = client.get_run(report["run_id"]).data.metrics
    assert logged["evaluate/test/log_loss"] == metrics["log_loss"]["value"]
    assert logged["evaluate/test/loss"] == program["test/loss"]
    kept = [file.path for file in client.list_artifacts(report["run_id"], "evaluation/test")]
    assert "evaluation/test/confusion.png" in kept
    again = report_of(judged, "--run", "judged-long", "--if-changed")
    assert again == {**report, "unchanged": True}


def test_one_worker_finds_what_two_found_in_training(judged: Workplace) -> None:
    report = report_of(judged, "--run", "judged-short", "--scaling.num-workers", "1")
    trained = json.loads((folder_of(judged, "short") / "result.json").read_text())["metrics"]
    assert report["program"]["test/accuracy"] == trained["test/accuracy"]
    assert report["program"]["test/loss"] == pytest.approx(trained["test/loss"], rel=1e-5)
    assert report["metrics"]["accuracy"]["value"] == pytest.approx(trained["test/accuracy"], rel=1e-9)


def test_the_training_data_can_be_judged_by_and_other_names_are_refused(judged: Workplace) -> None:
    report = report_of(judged, "--run", "judged-short", "--split", "train")
    assert (report["split"], report["data"]["num_samples"]) == ("train", 1437)
    refused = verb(judged, "evaluate", "--run", "judged-short", "--split", "elsewhere", status=2)
    assert "there is no split 'elsewhere'" in refused.stderr
    assert "one of: train, test" in refused.stderr


def test_two_runs_are_compared_sample_by_sample(judged: Workplace) -> None:
    told = json.loads(verb(judged, "evaluate", "--compare", "judged-short", "judged-long", "--json").stdout)
    (found,) = told
    assert found["num_samples"] == found["wins"] + found["losses"] + found["ties"] == 360
    assert sum(found["answers"].values()) == 360
    accuracy = found["metrics"]["accuracy"]
    difference = (found["answers"]["only_b"] - found["answers"]["only_a"]) / 360
    assert accuracy["difference"] == pytest.approx(difference, abs=1e-12)
    assert accuracy["low"] <= accuracy["difference"] <= accuracy["high"]
    assert accuracy["better"] == "judged-long"


@pytest.mark.filterwarnings("ignore")  # of MLflow and torch, while a graph is loaded
def test_the_best_checkpoint_becomes_a_model_that_predicts_the_same_and_passes_a_gate(
    judged: Workplace,
) -> None:
    import mlflow

    uri = f"sqlite:///{judged.folder / 'runs' / 'mlflow.db'}"
    by_checkpoint = report_of(judged, "--run", "judged-long", "--if-changed")
    told = json.loads(verb(judged, "register", "--run", "judged-long", "--json").stdout)
    assert (told["version"], told["aliases"], told["splits"]) == (1, ["challenger"], ["test"])
    again = json.loads(verb(judged, "register", "--run", "judged-long", "--if-changed", "--json").stdout)
    assert (again["version"], again["is_new"]) == (1, False)
    with in_use(uri):
        loaded = mlflow.pyfunc.load_model("models:/digits@challenger")
    example = np.random.default_rng(0).random((6, 1, 8, 8), dtype=np.float32)
    state = Path(by_checkpoint["checkpoint"]["path"]) / "state.pt"
    checkpoint = torch.load(state, weights_only=False)
    weights = checkpoint["tracked"]["model"]
    hidden = torch.relu(
        torch.nn.functional.conv2d(
            torch.from_numpy(example), weights["conv1.weight"], weights["conv1.bias"], padding=1
        )
    )
    hidden = torch.relu(
        torch.nn.functional.conv2d(hidden, weights["conv2.weight"], weights["conv2.bias"], padding=1)
    )
    hidden = torch.nn.functional.max_pool2d(hidden, 2).flatten(1)
    hidden = torch.relu(hidden @ weights["fc1.weight"].T + weights["fc1.bias"])
    expected = (hidden @ weights["fc2.weight"].T + weights["fc2.bias"]).log_softmax(1)
    assert loaded.predict(example) == pytest.approx(expected.numpy(), abs=1e-5)
    # The gate: refused by a threshold that nothing reaches, then passed.
    refused = verb(judged, "promote", "--registry.threshold", "1.5", status=1)
    assert "fails" in refused.stdout
    assert "not promoted" in refused.stdout
    verb(judged, "promote", "--registry.threshold", "0.1")
    aliases = MlflowClient(uri).get_registered_model("digits").aliases
    assert {name: int(number) for name, number in aliases.items()} == {"challenger": 1, "champion": 1}
    by_model = report_of(judged, "--model", "digits@champion")
    assert by_model["checkpoint"]["registered"] == "digits/1"
    assert by_model["metrics"] == by_checkpoint["metrics"]
