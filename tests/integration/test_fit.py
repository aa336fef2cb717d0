"""`bessemer.fit` with programs written by hand: what leaves a run, and what happens when it fails."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
from mlflow import MlflowClient

from integration.workplaces import CALL, Workplace

pytestmark = pytest.mark.timeout(300)

HEAD = """
import sys
import torch
from torch import nn
from bessemer import Settings, fit
from bessemer.errors import BessemerError

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 24
    def __getitem__(self, index):
        x = torch.full((3,), float(index))
        return x, x.sum()

def build(run):
    torch.manual_seed(0)
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    run.track(model=model, optimizer=optimizer)
    return model, optimizer

def train(run, settings):
    model, optimizer = build(run)
    loader = run.loader(Rows(), batch_size=5, shuffle=True)
    for epoch in run.epochs(2):
        for x, y in loader:
            optimizer.zero_grad()
            loss = (model(x).squeeze(1) - y).square().mean()
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()})
        body(run, epoch)
"""


def script(workplace: Workplace, name: str, body: str, tail: str) -> Path:
    path = workplace.folder / f"{name}.py"
    call = f"""
settings = Settings(scaling={{"num_workers": 2, "max_failures": 2}}, tracking={{"run_name": "{name}"}})
PROJECT = "by_hand"
"""
    path.write_text(
        HEAD + textwrap.dedent(body) + call + CALL + textwrap.indent(textwrap.dedent(tail), "    ")
    )
    return path


def test_figures_files_and_metrics_of_a_program_end_in_its_mlflow_run(workplace: Workplace) -> None:
    body = """
    def body(run, epoch):
        assert open("beside.txt").read() == "where the driver was started"
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        figure, axes = plt.subplots()
        axes.plot([0, 1])
        run.figure(figure, "curve.png")
        run.save({"epoch": epoch}, "out/state.pt")
        print("epoch", epoch, "on", run.rank)
    """
    tail = 'print("run", outcome.tracked.run_id)'
    (workplace.folder / "beside.txt").write_text("where the driver was started")
    status, printed = workplace.run_script(script(workplace, "figures", body, tail))
    assert status == 0, printed
    run_id = printed.split()[-1]
    client = MlflowClient(f"sqlite:///{workplace.folder / 'runs' / 'mlflow.db'}")
    assert [f.path for f in client.list_artifacts(run_id, "figures")] == ["figures/curve.png"]
    assert [f.path for f in client.list_artifacts(run_id, "files")] == ["files/state.pt"]
    assert len(client.get_metric_history(run_id, "train/loss")) == 10
    log = workplace.folder / "runs" / "by_hand" / "figures" / "logs" / "train.log"
    assert log.read_text() == "epoch 0 on 0\nepoch 1 on 0\n"


def test_a_program_that_fails_the_same_way_twice_ends_with_its_place_and_cause(
    workplace: Workplace,
) -> None:
    body = """
    def body(run, epoch):
        if epoch == 1:
            raise ValueError("the moon is full")
    """
    path = script(workplace, "fails", body, "")
    status, printed = workplace.run_script(path)
    assert status == 1
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "moon" in text)
    assert f"{path}:{line}: ValueError: the moon is full" in printed
    assert "Traceback" not in printed
    client = MlflowClient(f"sqlite:///{workplace.folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("by_hand")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.mlflow.runName = 'fails'")
    assert run.info.status == "FAILED"
    assert run.data.tags["bessemer.attempts"] == "2"
    # Both attempts came to step 10; the second began with the checkpoint of step 5, or with none.
    assert run.data.metrics["usage/num_restarts"] == 1
    assert run.data.metrics["usage/num_steps_again"] in (5, 10)
    assert run.data.metrics["usage/num_steps"] == 10 + run.data.metrics["usage/num_steps_again"]


def test_a_batch_smaller_than_the_worker_count_is_refused_without_a_restart(
    workplace: Workplace,
) -> None:
    path = script(workplace, "small", "def body(run, epoch): ...", "")
    path.write_text(path.read_text().replace("batch_size=5", "batch_size=1"))
    status, printed = workplace.run_script(path)
    assert status == 2
    assert "a global batch of 1 samples for 2 workers" in printed
    assert "attempt 2" not in printed


def test_a_ray_data_source_without_a_cpu_to_read_with_is_refused(workplace: Workplace) -> None:
    path = script(workplace, "no_cpu", "def body(run, epoch): ...", "")
    path.write_text(
        path.read_text().replace(
            "    for epoch in run.epochs(2):",
            """    import ray.data
    run.stream(ray.data.range(23), batch_size=4)
    for epoch in run.epochs(2):""",
        )
    )
    status, printed = workplace.run_script(path)
    assert status == 2
    assert "Ray Data has no CPU to read with" in printed


def test_a_ray_data_source_gives_every_row_once_an_epoch(workplace: Workplace) -> None:
    body = "def body(run, epoch): ..."
    path = script(workplace, "stream", body, 'print("seen", outcome.metrics["seen"])')
    text = (
        path.read_text()
        .replace('"max_failures": 2', '"cpus_per_worker": 0.5')
        .replace(
            "    for epoch in run.epochs(2):",
            """    import ray.data
    rows = run.stream(ray.data.range(23), batch_size=4, shuffle=True)
    seen = run.totals(ids=0, squares=0)
    for batch in rows:
        seen.ids += int(batch["id"].sum())
        seen.squares += int((batch["id"] ** 2).sum())
    for epoch in run.epochs(2):
        run.log({"seen": seen.ids + 1000 * seen.squares})""",
        )
    )
    path.write_text(text)
    status, printed = workplace.run_script(path)
    assert status == 0, printed
    expected = sum(range(23)) + 1000 * sum(n * n for n in range(23))
    assert float(printed.split()[-1]) == expected


def test_a_storage_path_that_cannot_be_written_is_refused_before_anything_starts(
    workplace: Workplace,
) -> None:
    (workplace.folder / "a_file").write_text("")
    done = workplace.run("train", "--project", "digits", "--checkpoint.storage-path", "a_file/runs")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "--checkpoint.storage-path" in done.stderr


def test_a_tracking_server_that_is_not_there_is_said_within_seconds(workplace: Workplace) -> None:
    done = workplace.run("train", "--project", "digits", "--tracking.uri", "http://127.0.0.1:9", timeout_s=60)
    assert done.returncode == 2
    assert "tracking store http://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_ray_address_where_nothing_listens_is_refused(workplace: Workplace) -> None:
    environment = {**workplace.environment, "RAY_ADDRESS": "127.0.0.1:9"}
    done = Workplace(workplace.folder, environment).run("train", "--project", "digits", timeout_s=60)
    assert done.returncode == 2
    assert "127.0.0.1:9" in done.stderr
    assert os.linesep + "to do:" in done.stderr
