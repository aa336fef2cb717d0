"""Samples that were computed once are used where that changes nothing, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from bessemer.config.data_settings import Data
from bessemer.config.settings import Settings
from bessemer.data.prepared.cache import candidate, work_of
from bessemer.data.prepared.making import prepare
from bessemer.training.run import Run
from bessemer.utils.events import Note
from runs import Ran, run_program

SAMPLES = 12


class Scaled(Dataset[Any]):
    """Samples that take computing."""

    computed = 0

    def __init__(self, factor: float, path: str = "") -> None:
        self.values = np.arange(SAMPLES, dtype=np.float32)
        self.factor = factor
        self.path = path

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        return torch.tensor(self.values[index] * self.factor), index


class Counted(Scaled):
    """Notes that it was asked, which outlives the call."""

    def __getitem__(self, index: int) -> Any:
        Scaled.computed += 1
        return super().__getitem__(index)


def settings(folder: Path) -> Settings:
    return Settings(data=Data(source="inline", cache="preprocessed", folder=str(folder)))


def stored_for(dataset: Dataset[Any], folder: Path, number: int = 0) -> None:
    chosen = candidate(dataset, settings(folder).data, "", number)
    prepare(work_of(dataset, chosen), chosen.folder, lambda: None)


def batches(dataset: Dataset[Any], folder: Path, change: Any = None) -> Ran:
    def program(run: Run) -> list[Any]:
        loader = run.loader(dataset, batch_size=4, shuffle=True)
        found = []
        for epoch in run.epochs(2):
            found += [(x.tolist(), y.tolist()) for x, y in loader]
            if change is not None and epoch == 0:
                change(dataset)
        return found

    return run_program(program, folder, settings(folder))


def notes(result: Ran) -> list[str]:
    return [event.text for event in result.events if isinstance(event, Note)]


def test_stored_samples_are_those_that_would_be_computed(tmp_path: Path) -> None:
    computed = batches(Scaled(2.5), tmp_path / "none").result
    stored_for(Scaled(2.5), tmp_path)
    found = batches(Scaled(2.5), tmp_path)
    assert found.result == computed
    assert notes(found) == []


def test_stored_samples_are_read_and_not_computed(tmp_path: Path) -> None:
    stored_for(Scaled(2.5), tmp_path)

    def program(run: Run) -> list[str]:
        loader = run.loader(Scaled(2.5), batch_size=4)
        next(iter(loader))
        assert isinstance(loader.dataset, Scaled)
        return [type(loader._recipe().dataset).__name__]

    assert run_program(program, tmp_path, settings(tmp_path)).result == ["PreparedDataset"]


@pytest.mark.parametrize("change", ["factor", "values"])
def test_samples_of_other_data_are_computed_and_that_is_said(tmp_path: Path, change: str) -> None:
    stored_for(Scaled(2.5), tmp_path)
    other = Scaled(3.5)
    if change == "values":
        other = Scaled(2.5)
        other.values[5] += 1
    expected = batches(other, tmp_path / "none").result
    found = batches(other, tmp_path)
    assert found.result == expected
    assert ["inputs" in note and "bessemer data preprocess" in note for note in notes(found)] == [True]


def test_data_that_the_program_changes_are_computed_from_then_on(tmp_path: Path) -> None:
    def change(dataset: Scaled) -> None:
        dataset.factor = 10.0

    stored_for(Scaled(2.5), tmp_path)
    assert (
        batches(Scaled(2.5), tmp_path, change).result == batches(Scaled(2.5), tmp_path / "no", change).result
    )


def test_data_that_are_changed_before_the_first_pass_are_computed(tmp_path: Path) -> None:
    def program(run: Run) -> list[Any]:
        dataset = Scaled(2.5)
        loader = run.loader(dataset, batch_size=4)
        dataset.factor = 10.0
        first = [x.tolist() for x, _ in loader]
        again = run.loader(dataset, batch_size=4)
        return [first, [x.tolist() for x, _ in again]]

    stored_for(Scaled(2.5), tmp_path)
    stored_for(Scaled(2.5), tmp_path, number=1)
    computed = run_program(program, tmp_path, settings(tmp_path / "none")).result
    assert run_program(program, tmp_path, settings(tmp_path)).result == computed


def test_a_file_that_changes_makes_other_samples(tmp_path: Path) -> None:
    file = tmp_path / "numbers.bin"
    file.write_bytes(b"12345")
    data = settings(tmp_path).data
    first = candidate(Scaled(1.0, str(file)), data, "", 0).origin
    assert candidate(Scaled(1.0, str(file)), data, "", 0).origin == first
    file.write_bytes(b"123456")
    assert candidate(Scaled(1.0, str(file)), data, "", 0).origin != first


def test_what_is_not_proved_is_not_stored(tmp_path: Path) -> None:
    chosen = candidate(Counted(1.0), settings(tmp_path).data, "", 0)
    assert chosen.origin is None
    assert "changes Scaled.computed, which outlives the call" in chosen.reason


def test_data_sets_of_torch_are_read_too(tmp_path: Path) -> None:
    dataset = TensorDataset(torch.arange(12.0).reshape(6, 2), torch.arange(6))
    stored_for(dataset, tmp_path)
    assert list(tmp_path.rglob("manifest.json"))
