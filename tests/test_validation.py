"""Data is looked at before it is trained on: each check finds what it is named after and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.utils.data import Dataset, TensorDataset

from bessemer.config.settings import Settings
from bessemer.data.validation import DataReport, missing_classes, overlap, validate
from bessemer.errors import ProjectError
from bessemer.reports import show_data
from bessemer.training.inspection import validate_data
from bessemer.training.run import Run, current_run


class Samples(Dataset[Any]):
    def __init__(self, length: int, make: Callable[[int], Any]) -> None:
        self.length = length
        self.make = make

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def images(length: int, num_classes: int = 3, start: int = 0) -> TensorDataset:
    values = torch.arange(start, start + length, dtype=torch.float32)
    pixels = values.unsqueeze(1) + torch.linspace(0, 0.5, 4)
    return TensorDataset(pixels, torch.arange(length) % num_classes)


def found(dataset: Dataset[Any], max_samples: int = 1000) -> dict[str, tuple[str, str]]:
    report = validate(dataset, "data", max_samples)
    return {finding.check: (finding.severity, finding.text) for finding in report.findings}


def changed(index: int, value: Any) -> Samples:
    """Good samples but for one."""
    good = images(20)
    return Samples(20, lambda i: value if i == index else good[i])


def test_good_data_has_no_finding_and_is_described() -> None:
    report = validate(images(30), "train", 1000)
    assert report.findings == ()
    assert (report.name, report.num_samples, report.num_checked) == ("train", 30, 30)
    assert report.structure == ("float32[4]", "int64[]")
    assert report.class_counts == {0: 10, 1: 10, 2: 10}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_sample_that_is_not_finite_is_an_error_with_its_index(value: float, dtype: torch.dtype) -> None:
    bad = torch.arange(4.0).to(dtype)
    bad[2] = value
    findings = found(changed(7, (bad, torch.tensor(0))))
    assert findings["finite"] == ("error", "1 samples have NaN or infinity: [7]")


def test_numbers_of_any_container_are_looked_at() -> None:
    def make(index: int) -> Any:
        value = float("nan") if index == 3 else float(index)
        return {"a": [np.array([index, 1.0])], "b": (value, "text")}

    assert found(Samples(5, make))["finite"][1].endswith("[3]")


def test_complex_numbers_are_looked_at_too() -> None:
    waves = Samples(4, lambda i: torch.tensor([1j * i, complex(float("nan"), 0) if i == 2 else 1j * (i + 1)]))
    assert "finite" in found(waves)


def test_samples_of_one_value_throughout_are_a_warning() -> None:
    assert found(changed(4, (torch.zeros(4), torch.tensor(0))))["constant"] == (
        "warning",
        "1 samples have one value throughout: [4]",
    )


def test_samples_that_come_twice_are_a_warning() -> None:
    findings = found(changed(9, images(20)[3]))
    assert findings == {"duplicates": ("warning", "1 samples are there more than once")}


def test_samples_of_another_structure_are_a_warning_that_shows_both() -> None:
    severity, text = found(changed(4, (torch.arange(5.0), torch.tensor(0))))["structure"]
    assert severity == "warning"
    assert "float32[4], int64[] (19)" in text
    assert "float32[5], int64[] (1)" in text


def test_samples_that_cannot_be_read_are_an_error_with_the_first_reason() -> None:
    def make(index: int) -> Any:
        if index in (3, 5):
            raise OSError(f"truncated file {index}")
        return torch.tensor([index, 0.5])

    severity, text = found(Samples(8, make))["readable"]
    assert severity == "error"
    assert text == "2 samples fail: Samples[3] failed: OSError: truncated file 3"
    assert validate(Samples(8, make), "data", 100).num_checked == 8


def test_an_empty_data_set_is_an_error() -> None:
    assert found(images(0)) == {"empty": ("error", "there is no sample")}


def test_large_data_is_looked_at_evenly_from_first_to_last() -> None:
    asked: list[int] = []

    def make(index: int) -> torch.Tensor:
        asked.append(index)
        return torch.tensor([index, 0.5])

    report = validate(Samples(10**6, make), "data", 11)
    assert len(asked) == 11
    assert (asked[0], asked[-1]) == (0, 999_999)
    assert report.num_checked == 11
    gaps = np.diff(asked)
    assert gaps.max() - gaps.min() <= 1


def test_looking_at_data_leaves_the_generators_as_they_were() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    validate(Samples(5, lambda i: torch.rand(3)), "data", 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_data_that_is_random_is_looked_at_the_same_way_each_time() -> None:
    noisy = Samples(20, lambda i: torch.rand(3) + i)
    assert validate(noisy, "data", 20).hashes == validate(noisy, "data", 20).hashes


# Between data sets


def report_of(dataset: Dataset[Any], name: str, max_samples: int = 1000) -> DataReport:
    return validate(dataset, name, max_samples)


def test_samples_of_the_test_data_that_are_trained_on_are_a_leak() -> None:
    train = report_of(images(30), "train")
    leaking = overlap(train, report_of(images(12, start=24), "test"))
    assert leaking is not None
    assert (leaking.severity, leaking.check) == ("error", "leak")
    assert leaking.text == "6 samples of test are in train too"
    assert overlap(train, report_of(images(12, start=30), "test")) is None


def test_classes_that_are_judged_and_never_trained_are_a_warning() -> None:
    train, test = report_of(images(30, 3), "train"), report_of(images(30, 5), "test")
    missing = missing_classes(train, test)
    assert missing is not None
    assert missing.text == "test has classes that train lacks: [3, 4]"
    assert missing_classes(test, train) is None


def test_a_class_is_not_missing_where_not_all_of_the_training_data_was_looked_at() -> None:
    train, test = report_of(images(30, 3), "train", max_samples=10), report_of(images(30, 5), "test")
    assert missing_classes(train, test) is None


# A whole program


def program(run: Run, settings: Settings) -> None:
    assert current_run() is run
    run.loader(images(12, start=24), batch_size=4)
    run.loader(images(30), batch_size=4, shuffle=True)
    for _ in run.epochs(3):
        raise AssertionError("nothing is trained")


def without_loaders(run: Run, settings: Settings) -> None:
    for _ in run.epochs(3):
        run.loader(images(3))


def test_the_loaders_of_a_program_are_checked_without_training_it() -> None:
    reports, between = validate_data(program, Settings(), [], 1000)
    assert [report.name for report in reports] == ["TensorDataset (shuffled)", "TensorDataset (in order)"]
    assert [finding.check for finding in between] == ["leak"]


def test_a_program_without_loaders_cannot_be_validated() -> None:
    with pytest.raises(ProjectError, match="makes no loader"):
        validate_data(without_loaders, Settings(), [], 1000)


def test_a_report_of_data_can_be_read() -> None:
    screen = StringIO()
    console = Console(file=screen, width=200)
    train, test = report_of(images(30), "train"), report_of(images(12, start=24), "test")
    leaking = overlap(train, test)
    assert leaking is not None
    show_data(console, [train, test], [leaking])
    assert screen.getvalue().splitlines() == [
        "train: 30 samples, 30 checked; a sample is float32[4], int64[]",
        "  classes  0: 10  1: 10  2: 10",
        "test: 12 samples, 12 checked; a sample is float32[4], int64[]",
        "  classes  0: 4  1: 4  2: 4",
        "  error  leak: 6 samples of test are in train too",
        "1 errors, 0 warnings",
    ]
