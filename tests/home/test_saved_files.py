"""What a program saves is at home with its checkpoint, and on a machine that has nothing. S3 is moto's."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from torch import nn
from torch.autograd import backward
from torch.utils.data import TensorDataset

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from at_home import RUN, elsewhere, files_of, home_on, settings_at, written
from bessemer.errors import BessemerError, StorageError
from bessemer.training.checkpoints import Saved
from bessemer.training.home import FILES_LIST, folder_of, scratch_of
from bessemer.training.objects import Objects
from bessemer.training.placement import Placement
from bessemer.training.run import Run
from bessemer.training.storage import storage_folder
from bessemer.training.worker import Job, run_job
from bessemer.utils.collectives import Group
from buckets import Bucket
from runs import settings_with

# botocore calls what newer Pythons name otherwise; the server's sockets end with the process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_what_the_program_saved_is_on_a_node_that_has_nothing(bucket: Bucket, tmp_path: Path) -> None:
    written(tmp_path / "a", model_pt="one", out__log_csv="rows")
    home_on(tmp_path / "a").send()
    home_on(tmp_path / "b").fetch()
    assert files_of(tmp_path / "b") == {"model.pt": "one", "out/log.csv": "rows"}


def test_what_is_not_the_programs_is_not_put_with_its_files(bucket: Bucket, tmp_path: Path) -> None:
    names = ("logs/train.log", "positions/worker-0.bin", "checkpoints/x", "evaluation/y", "settings.toml")
    for name in (*names, "out/.part", ".hidden/z", "run.lock", "result.json", "mine.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    home_on(tmp_path).send()
    assert sorted(bucket.names()) == [f"runs/digits/first/{FILES_LIST}", "runs/digits/first/mine.txt"]


def test_only_what_was_written_again_is_put_again(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, send = home_on(tmp_path), Objects.send
    sent: list[str] = []

    def noted(objects: Objects, path: Path, name: str) -> None:
        sent.append(name)
        send(objects, path, name)

    monkeypatch.setattr(Objects, "send", noted)
    written(tmp_path, a_pt="1", b_pt="1")
    home.send_file(tmp_path / "a.pt")
    home.send()
    home.send()
    written(tmp_path, b_pt="22")
    home.send()
    assert sent == ["a.pt", "b.pt", "b.pt"]


def test_what_the_program_removed_is_gone_at_home_too(bucket: Bucket, tmp_path: Path) -> None:
    home = home_on(tmp_path / "a")
    written(tmp_path / "a", old_pt="1", new_pt="2")
    home.send()
    (tmp_path / "a" / "old.pt").unlink()
    home.send()
    assert "runs/digits/first/old.pt" not in bucket.names()
    home_on(tmp_path / "b").fetch()
    assert files_of(tmp_path / "b") == {"new.pt": "2"}


def test_a_node_that_was_on_its_own_way_has_what_the_others_have(bucket: Bucket, tmp_path: Path) -> None:
    written(tmp_path / "a", model_pt="of the checkpoint", same_pt="same")
    home_on(tmp_path / "a").send()
    written(tmp_path / "b", model_pt="of a lost attempt", more_pt="lost", same_pt="same")
    written(tmp_path / "b", logs__train_log="kept")
    untouched = (tmp_path / "b" / "same.pt").stat().st_mtime_ns
    home_on(tmp_path / "b").fetch()
    assert files_of(tmp_path / "b") == {
        "logs/train.log": "kept",
        "model.pt": "of the checkpoint",
        "same.pt": "same",
    }
    assert (tmp_path / "b" / "same.pt").stat().st_mtime_ns == untouched


def test_files_that_were_put_without_their_list_are_not_of_any_checkpoint(
    bucket: Bucket, tmp_path: Path
) -> None:
    written(tmp_path / "a", model_pt="one")
    home_on(tmp_path / "a").send_file(tmp_path / "a" / "model.pt")
    home_on(tmp_path / "b").fetch()
    assert files_of(tmp_path / "b") == {}


def test_a_file_that_goes_to_mlflow_is_brought_aside_of_the_one_that_is_written(
    bucket: Bucket, tmp_path: Path
) -> None:
    home = home_on(tmp_path)
    written(tmp_path, out__model_pt="one")
    home.send_file(tmp_path / "out" / "model.pt")
    written(tmp_path, out__model_pt="two")
    kept = home.fetch_kept("out/model.pt")
    assert (kept.name, kept.read_text()) == ("model.pt", "one")
    assert (tmp_path / "out" / "model.pt").read_text() == "two"
    home.close()
    assert not kept.exists()


def test_logs_of_two_nodes_stand_beside_each_other_and_storage_that_is_away_loses_only_them(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, logs__train_log="one")
    for node in ("a", "b"):
        monkeypatch.setattr(socket, "gethostname", lambda node=node: node)
        home_on(tmp_path).send_logs()
    assert bucket.names() == [f"runs/digits/first/logs/{node}/train.log" for node in ("a", "b")]

    def away(*_: Any) -> None:
        raise StorageError("away")

    monkeypatch.setattr(Objects, "send", away)
    home_on(tmp_path).send_logs()


def test_a_worker_finds_the_folder_of_its_driver_by_the_url_alone(bucket: Bucket) -> None:
    assert folder_of(RUN) == storage_folder(settings_at()) / "digits" / "first"
    assert scratch_of("s3://data/runs") != scratch_of("s3://data-runs")


def saving(run: Run, _settings: Any) -> None:
    """Saves a file in each turn, and fails once, after the checkpoint of its second."""
    model = run.place(nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(TensorDataset(torch.arange(24.0).reshape(8, 3)), batch_size=2)
    for epoch in run.epochs(4):
        if epoch:
            assert torch.load(run.saved(f"turn-{epoch - 1}.pt"), weights_only=True) == epoch - 1
            assert (run.output_dir / f"by-hand-{epoch - 1}.txt").read_text() == str(epoch - 1)
        for (x,) in loader:
            optimizer.zero_grad()
            backward(model(x).square().mean())
            optimizer.step()
        run.save(epoch, f"turn-{epoch}.pt")
        (run.output_dir / f"by-hand-{epoch}.txt").write_text(str(epoch))
        if epoch == 2 and not FAILED:
            FAILED.append(epoch)
            raise ValueError("no more")
    # No checkpoint takes what comes now along.
    store = run._session.given.store
    assert store is not None
    store.wait()
    (run.output_dir / "after-all.txt").write_text("done")


FAILED: list[int] = []


def work() -> Saved | None:
    job = Job(
        search_path=(),
        program=b"",
        settings=cloudpickle.dumps(settings_with(tracking={"log_model": False})),
        run_dir=Path("/nonexistent"),
        placement=Placement(1, False, 1.0, 0.0, 1, 1.0),
        tracked=None,
        monitor=None,
        home=RUN,
    )
    # By reference: what it remembers is of this process.
    return run_job(replace(job, program=cloudpickle.dumps(saving)), Group(), torch.device("cpu"), None)


def test_a_worker_on_an_empty_machine_goes_on_with_the_checkpoint_and_the_files_before_it(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAILED.clear()
    with pytest.raises(BessemerError, match="no more"):
        work()
    listed = set(json.loads(bucket.read(f"runs/digits/first/{FILES_LIST}")))
    assert listed >= {"turn-0.pt", "by-hand-0.txt", "turn-1.pt", "by-hand-1.txt"}
    assert any("error-worker-0.log" in name for name in bucket.names("runs/digits/first/logs/"))
    assert not list((tmp_path / "cache").rglob("state*.pt"))
    elsewhere(monkeypatch, tmp_path)
    best = work()
    assert best is not None
    assert best.step == 16
    assert bucket.read("runs/digits/first/by-hand-3.txt") == b"3"
    assert bucket.read("runs/digits/first/after-all.txt") == b"done"
    assert (folder_of(RUN) / "by-hand-0.txt").read_text() == "0"
