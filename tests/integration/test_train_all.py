"""From the first download to a registered model, and again: only what has changed."""

from __future__ import annotations

import importlib.resources
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from file_server import FileServer, file_server
from integration.workplaces import ROOT, Workplace

pytestmark = pytest.mark.timeout(600)

STAGES = ("download", "preprocess", "validate", "train", "evaluate", "register")
DIGITS = "digits.csv.gz"


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    """The scans, from a server that breaks off once."""
    scans = importlib.resources.files("sklearn.datasets").joinpath("data", DIGITS).read_bytes()
    with file_server() as started:
        started.serve(DIGITS, scans, drop_after=20_000, num_drops=1)
        yield started


@pytest.fixture(scope="module")
def place(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("all")
    shutil.copytree(ROOT / "src" / "digits", folder / "src" / "digits")
    return replace(workplace, folder=folder)


def stages(place: Workplace, server: FileServer, *more: str) -> dict[str, str]:
    """Run `train-all`; return what each stage printed."""
    done = place.run(
        *("train-all", "--project", "digits", "--epochs", "2", "--data.mirror", server.url), *more
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = done.stdout.split("\n")
    starts = [next(n for n, line in enumerate(parts) if line.startswith(f"{stage} --")) for stage in STAGES]
    ends = [*starts[1:], len(parts)]
    return {
        stage: "\n".join(parts[start:end]) for stage, start, end in zip(STAGES, starts, ends, strict=True)
    }


def test_every_stage_is_done_once_and_then_only_what_has_changed(
    place: Workplace, server: FileServer
) -> None:
    first = stages(place, server)
    assert f"from {server.url}/{DIGITS}" in first["download"]
    assert "DigitsDataset: made; samples: all 360" in first["preprocess"]
    assert "0 errors" in first["validate"]
    assert "trained digits for" in first["train"]
    assert "accuracy" in first["evaluate"]
    assert "registered digits/1" in first["register"]
    asked = len(server.asked)

    again = stages(place, server)
    assert len(server.asked) == asked
    assert "is there" in again["download"]
    assert "DigitsDataset: unchanged" in again["preprocess"]
    for stage in ("validate", "train", "evaluate", "register"):
        assert "unchanged" in again[stage], again[stage]

    other = stages(place, server, "--lr", "0.5")
    assert "DigitsDataset: unchanged" in other["preprocess"]
    assert "trained digits for" in other["train"]
    assert "registered digits/2" in other["register"]


def test_data_that_were_changed_since_are_prepared_and_trained_on_anew(
    place: Workplace, server: FileServer
) -> None:
    import gzip

    file = place.folder / "data" / DIGITS
    rows = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    file.write_bytes(gzip.compress(b"".join(rows[:-10])))
    done = place.run("train-all", "--project", "digits", "--epochs", "2", "--data.mirror", server.url)
    assert done.returncode == 1
    assert "SHA-256" in done.stderr
    settings = place.folder / "projects" / "digits" / "settings.toml"
    text = settings.read_text()
    settings.write_text("\n".join(line for line in text.split("\n") if not line.startswith("sha256")))
    changed = place.run("data", "preprocess", "--project", "digits")
    assert "made (inputs changed)" in changed.stdout
    again = place.run("train", "--project", "digits", "--epochs", "1", "--if-changed")
    assert "trained digits for" in again.stdout
    assert "data have changed since" in again.stdout or "changed since" in again.stdout
    settings.write_text(text)


def test_preparing_on_ray_makes_what_preparing_in_one_process_makes(place: Workplace) -> None:
    shutil.copytree(ROOT / "examples" / "prepared", place.folder / "scans")
    assert place.run("data", "download", "--project", "scans").returncode == 0

    def prepared(shard_bytes: int) -> dict[str, int]:
        done = place.run(
            *("data", "preprocess", "--project", "scans", "--preparation.shard-bytes", str(shard_bytes))
        )
        assert done.returncode == 0, done.stdout + done.stderr
        manifest = json.loads((place.folder / "data" / "prepared" / "scans" / "manifest.json").read_text())
        statistics = {name: split["statistics"] for name, split in manifest["splits"].items()}
        found[shard_bytes] = {
            name: {column: each["counts"] for column, each in columns.items()}
            for name, columns in statistics.items()
        }
        return {name: len(split["shards"]) for name, split in manifest["splits"].items()}

    found: dict[int, dict[str, dict[str, dict[str, int]]]] = {}
    assert prepared(2**26) == {"train": 1, "test": 1}
    assert prepared(100_000)["train"] > 2
    # Each sign is split alike, and every scan is where it was.
    assert found[2**26] == found[100_000]
    assert found[2**26]["train"]["label"] == {"0": 96, "1": 96, "2": 96}
    assert found[2**26]["test"]["label"] == {"0": 24, "1": 24, "2": 24}


def test_a_scan_that_cannot_be_prepared_is_named_and_nothing_is_lost(place: Workplace) -> None:
    folder: Path = place.folder / "data" / "prepared" / "scans"
    before = sorted(path.name for path in folder.iterdir())
    bad = place.folder / "data" / "scans" / "ring" / "002.png"
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    done = place.run("data", "preprocess", "--project", "scans", "--preparation.shard-bytes", "100000")
    assert done.returncode == 1
    assert "ring/002.png" in done.stderr
    assert "Traceback" not in done.stderr
    manifest = json.loads((folder / "manifest.json").read_text())
    named = {shard["path"] for split in manifest["splits"].values() for shard in split["shards"]}
    assert named <= {path.name for path in folder.iterdir()}
    assert set(before) <= {path.name for path in folder.iterdir()}
    bad.write_bytes(content)


def test_train_all_stops_at_data_with_errors(place: Workplace, server: FileServer) -> None:
    done = place.run(
        *("train-all", "--project", "digits", "--epochs", "2", "--data.mirror", server.url),
        *("--checks.num-classes", "5"),
    )
    assert done.returncode == 1
    assert "trained digits" not in done.stdout
