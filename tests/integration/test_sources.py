"""Every example trains; from S3 too, after a kill with the same numbers, and in little memory."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_files import FORMATS, declared, make, opened, rows_of

from bessemer.data.sources.opening import open_source
from bessemer.errors import BessemerError, DataError
from buckets import serving
from integration.workplaces import ROOT, Workplace

pytestmark = pytest.mark.timeout(900)

# Each of the others differs from one of these in how rows are read, which `tests/test_examples.py` tries.
EXAMPLES = ("images", "parquet", "tars")

# One driver for all: to start one for each would take most of the time.
TRAIN = """
import json, sys
from pathlib import Path
from rich.console import Console
from mlflow import MlflowClient
from bessemer import fit
from bessemer.config.loading import load_settings
from bessemer.config.project import find_project
from bessemer.data.preprocessing import stage_of

def losses(outcome):
    client = MlflowClient("sqlite:///runs/mlflow.db")
    return [point.value for point in client.get_metric_history(outcome.tracked.run_id, "train/loss")]

def train(name, *arguments, file=None):
    project = find_project(f"examples/{name}", Path.cwd())
    settings = load_settings(project.settings_class(), arguments, {}, file or project.settings_file).settings
    download = stage_of(project, "download")
    if download is not None:
        download(settings)
    outcome = fit(project.entry, settings, project=project.name, search_path=[str(project.root)],
                  console=Console(file=sys.stderr))
    return outcome, losses(outcome)

if __name__ == "__main__":
    found = {}
    for name, *arguments in json.loads(sys.argv[1]):
        outcome, history = train(name, *arguments)
        found[" ".join([name, *arguments])] = {
            "losses": history, "metrics": dict(outcome.metrics), "attempts": outcome.num_attempts,
        }
    Path("found.json").write_text(json.dumps(found))
"""
INLINE = ("--data.source", "inline")


@pytest.fixture(scope="module")
def place(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A fresh folder with the examples."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "train_them.py").write_text(TRAIN)
    return replace(workplace, folder=folder)


def trained(place: Workplace, *runs: tuple[str, ...]) -> dict[str, Any]:
    """Train examples with arguments, one after the other in one driver; return what came of each."""
    path = place.folder / "train_them.py"
    argument = place.folder / "call.py"
    argument.write_text(f"import sys, runpy\nsys.argv[1:] = [{json.dumps(json.dumps(runs))}]\n"
                        f"runpy.run_path({str(path)!r}, run_name='__main__')\n")  # fmt: skip
    status, printed = place.run_script(argument, timeout_s=850)
    assert status == 0, printed
    found: dict[str, Any] = json.loads((place.folder / "found.json").read_text())
    return found


@pytest.fixture(scope="module")
def of_examples(place: Workplace) -> dict[str, Any]:
    return trained(place, *((name, *INLINE) for name in EXAMPLES), ("parquet", "--scaling.num-workers", "2"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_trains_from_its_one_declaration(of_examples: dict[str, Any], name: str) -> None:
    found = of_examples[" ".join([name, *INLINE])]
    losses = found["losses"]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    declaration = (ROOT / "examples" / name / "settings.toml").read_text()
    assert declaration.count("[") - declaration.count("columns = [") == 1


def test_two_workers_and_ray_data_see_the_batches_that_one_sees(of_examples: dict[str, Any]) -> None:
    alone = of_examples[" ".join(["parquet", *INLINE])]["losses"]
    together = of_examples["parquet --scaling.num-workers 2"]["losses"]
    np.testing.assert_allclose(together, alone, rtol=1e-3)


KILLED = """
import os, signal
from pathlib import Path
import torch
from sensors import program as original

class Killing(torch.optim.Adam):
    steps = 0
    def step(self, *arguments, **more):
        Killing.steps += 1
        flag = Path(os.environ["FLAG"])
        if Killing.steps == 70 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(*arguments, **more)

def train(run, settings):
    original.optim.Adam = Killing
    original.train(run, settings)
"""


def test_a_worker_that_is_killed_goes_on_in_the_middle_of_a_windowed_pass_with_the_same_numbers(
    place: Workplace,
) -> None:
    package = place.folder / "examples" / "parquet" / "sensors"
    (package / "killed.py").write_text(KILLED)
    pyproject = package.parent / "pyproject.toml"
    settings = package.parent / "settings.toml"
    whole = pyproject.read_text(), settings.read_text()
    # Two of ten row groups to a window, so the pass is one of five windows.
    settings.write_text(whole[1] + "window_bytes = 8000\n")
    pyproject.write_text(whole[0].replace("sensors.program:train", "sensors.killed:train"))
    arguments = (*INLINE, "--checkpoint.every-steps", "8")
    try:
        runs = {}
        for name in ("undisturbed", "killed"):
            flag = place.folder / f"{name}.flag"
            if name == "undisturbed":
                flag.touch()
            # Workers have the variables of the cluster, which runs already: the place is in the code.
            text = KILLED.replace('os.environ["FLAG"]', repr(str(flag)))
            (package / "killed.py").write_text(text)
            (runs[name],) = trained(place, ("parquet", *arguments)).values()
    finally:
        pyproject.write_text(whole[0])
        settings.write_text(whole[1])
    assert [runs[name]["attempts"] for name in ("undisturbed", "killed")] == [1, 2]
    assert len(runs["killed"]["losses"]) == 160
    assert runs["killed"]["losses"] == runs["undisturbed"]["losses"]
    assert runs["killed"]["metrics"]["train/accuracy"] == runs["undisturbed"]["metrics"]["train/accuracy"]


# S3


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """An S3 server of this machine with a bucket `data`; gives the variables that lead to it."""
    import s3fs

    with serving() as bucket, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        # A file system that is remembered has the address of another server.
        s3fs.S3FileSystem.clear_instance_cache()
        yield bucket.environment
        s3fs.S3FileSystem.clear_instance_cache()


def put(folder: Path, bucket: str) -> None:
    import s3fs

    s3fs.S3FileSystem().put(f"{folder}/", f"{bucket}/", recursive=True)


@pytest.mark.parametrize("name", FORMATS)
def test_rows_and_their_order_are_those_of_local_files(
    name: str, s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declaration = make(name, tmp_path, monkeypatch)
    put(tmp_path, f"data/{name}")
    local, remote = opened(**declaration), opened(
        **{**declaration, "path": declaration["path"].replace(str(tmp_path), f"s3://data/{name}")}
    )  # fmt: skip
    assert repr(rows_of(remote)) == repr(rows_of(local))
    assert (remote.group_sizes, remote.window_rows) == (local.group_sizes, local.window_rows)
    assert len(remote.fingerprint()) == 16


@pytest.mark.parametrize("path", ["s3://nowhere/*.csv", "s3://data/nothing.csv"])
def test_what_is_not_on_s3_is_refused_in_words(path: str, s3: dict[str, str]) -> None:
    with pytest.raises(BessemerError, match=r"no file matches s3://|cannot be listed"):
        open_source(declared(format="csv", path=path), "train")


def test_a_server_that_does_not_answer_is_named(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(DataError, match="cannot be listed"):
            open_source(declared(format="csv", path="s3://data/a.csv"), "train")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


def test_an_example_trains_from_s3(place: Workplace, s3: dict[str, str]) -> None:
    from_s3 = replace(place, environment={**place.environment, **s3, "RAY_ADDRESS": "local"})
    settings = place.folder / "examples" / "parquet" / "settings.toml"
    whole = settings.read_text()
    put(place.folder / "data" / "sensors", "data/sensors")
    settings.write_text(whole.replace("data/sensors/", "s3://data/sensors/"))
    try:
        (found,) = trained(from_s3, ("parquet", *INLINE)).values()
    finally:
        settings.write_text(whole)
    assert found["metrics"]["train/accuracy"] > 0.9


# Memory

READ = """
import sys, threading, time
import psutil, torch
sys.path.insert(0, {tests!r})
from loading import Observer, loader
from source_files import opened

class Forgetting(Observer):
    def batch_ready(self, entered, fetched, waited_s):
        pass

source = opened(format="parquet", path={path!r}, window_bytes=8 * 2**20)
made = loader(source, batch_size=64, shuffle=True, observer=Forgetting())
most = [0]
process = psutil.Process()
next(iter(made))
before = process.memory_info().rss
def watch():
    while True:
        most[0] = max(most[0], process.memory_info().rss)
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
rows = sum(len(batch["n"]) for batch in made)
print(rows, type(made.plan).__name__, (most[0] - before) // 2**20)
"""


def test_data_many_times_larger_than_the_window_are_read_in_bounded_memory(
    tmp_path: Path, place: Workplace
) -> None:
    random = np.random.default_rng(0)
    with pq.ParquetWriter(
        tmp_path / "a.parquet", pa.schema({"n": pa.int64(), "x": pa.list_(pa.float32(), 2048)})
    ) as writer:
        for group in range(160):  # 2 MiB each: 320 MiB, 40 times a window
            x = pa.array(random.random(256 * 2048, dtype=np.float32))
            n = np.arange(256) + 256 * group
            writer.write_table(
                pa.table([pa.array(n), pa.FixedSizeListArray.from_arrays(x, 2048)], schema=writer.schema)
            )
    path = tmp_path / "read.py"
    path.write_text(textwrap.dedent(READ).format(tests=str(ROOT / "tests"), path=str(tmp_path / "a.parquet")))
    status, printed = place.run_script(path)
    assert status == 0, printed
    rows, plan, grown_mib = printed.split()[-3:]
    assert (int(rows), plan) == (160 * 256, "WindowedPlan")
    print(f"grew by {grown_mib} MiB")
    assert int(grown_mib) < 60
