"""Data is looked at before it is trained on: each check finds what it is named after and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from bessemer.config.data_settings import Checks
from bessemer.data.validation.between import compare, training_of, unknown_columns
from bessemer.data.validation.findings import Finding
from bessemer.data.validation.judging import judge
from bessemer.data.validation.parquet import block_of
from bessemer.data.validation.samples import examine_samples
from bessemer.data.validation.tally import DatasetTally


class Samples(Dataset[Any]):
    def __init__(self, length: int, make: Callable[[int], Any]) -> None:
        self.length = length
        self.make = make

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


class Stream(IterableDataset[Any]):
    def __init__(self, length: int, fails_at: int = -1) -> None:
        self.length = length
        self.fails_at = fails_at

    def __iter__(self) -> Iterator[Any]:
        for index in range(self.length):
            if index == self.fails_at:
                raise OSError("connection lost")
            yield torch.tensor([index, 0.5]), index % 2


def images(length: int, num_classes: int = 3, start: int = 0) -> TensorDataset:
    values = torch.arange(start, start + length, dtype=torch.float32)
    pixels = values.unsqueeze(1) + torch.linspace(0, 0.5, 4)
    return TensorDataset(pixels, torch.arange(length) % num_classes)


def examined(
    dataset: Dataset[Any], name: str = "data", max_samples: int = 1000, **checks: Any
) -> DatasetTally:
    return examine_samples(dataset, name, max_samples, Checks(**checks))


def by_check(findings: list[Finding]) -> dict[str, tuple[str, str]]:
    assert len({finding.check for finding in findings}) == len(findings)
    return {finding.check: (finding.severity, finding.text) for finding in findings}


def found(dataset: Dataset[Any], max_samples: int = 1000, **checks: Any) -> dict[str, tuple[str, str]]:
    tally = examined(dataset, "data", max_samples, **checks)
    return by_check(judge(tally, Checks(**checks), is_training=True))


def table(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def tallied(batch: pa.RecordBatch, name: str = "train", **checks: Any) -> DatasetTally:
    tally = DatasetTally(name, "source", batch.num_rows, Checks(**checks))
    middle = batch.num_rows // 2
    tally.add(block_of(batch[:middle], 0))
    tally.add(block_of(batch[middle:], middle))
    return tally


def found_in(batch: pa.RecordBatch, **checks: Any) -> dict[str, tuple[str, str]]:
    return by_check(judge(tallied(batch, **checks), Checks(**checks), is_training=True))


def changed(index: int, value: Any) -> Samples:
    """Good samples but for one."""
    good = images(20)
    return Samples(20, lambda i: value if i == index else good[i])


# Samples of a program


def test_good_data_has_no_finding_and_is_described() -> None:
    tally = examined(images(30), "train")
    assert judge(tally, Checks(), is_training=True) == []
    summary = tally.summary()
    assert (summary.name, summary.num_samples, summary.num_checked) == ("train", 30, 30)
    assert [(column.name, column.kind) for column in summary.columns] == [
        ("0", "float32 [4]"),
        ("1", "int64"),
    ]
    assert summary.class_counts == {"0": 10, "1": 10, "2": 10}
    pixels = summary.columns[0]
    assert (pixels.min, pixels.max) == (0.0, 29.5)
    assert pixels.mean == pytest.approx(14.75)
    assert pixels.std == pytest.approx(float(images(30).tensors[0].std(correction=0)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_sample_that_is_not_finite_is_an_error_with_its_index(value: float, dtype: torch.dtype) -> None:
    bad = torch.arange(4.0).to(dtype)
    bad[2] = value
    assert found(changed(7, (bad, torch.tensor(0))))["finite"] == (
        "error",
        "1 sample has NaN or infinity: [7]",
    )


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
        "1 sample has one value throughout: [4]",
    )


def test_a_blank_picture_is_a_warning_and_a_box_of_equal_numbers_is_none() -> None:
    noise = torch.arange(20 * 64).reshape(20, 8, 8).to(torch.uint8)
    blank = Samples(20, lambda i: torch.zeros(8, 8, dtype=torch.uint8) if i == 3 else noise[i])
    assert found(blank)["constant"][1].endswith("[3]")
    boxes = Samples(20, lambda i: torch.tensor([i, i], dtype=torch.int64))
    assert "constant" not in found(boxes)


def test_samples_that_come_twice_are_a_warning_with_a_pair() -> None:
    findings = found(changed(9, images(20)[3]))
    assert findings == {"duplicates": ("warning", "1 sample is there more than once, such as 3 and 9")}


def test_equal_inputs_with_different_labels_are_a_warning_with_a_pair() -> None:
    pixels, label = images(20)[3]
    findings = found(changed(9, (pixels, label + 1)))
    assert findings == {"conflict": ("warning", "1 input has different labels, such as 3 and 9")}


def test_samples_of_another_structure_are_a_warning_that_shows_both() -> None:
    severity, text = found(changed(4, (torch.arange(5.0), torch.tensor(0))))["structure"]
    assert severity == "warning"
    assert "float32[4], int64[] (19)" in text
    assert "float32[5], int64[] (1)" in text


def test_samples_that_cannot_be_read_are_an_error_with_all_their_names() -> None:
    class Folder(Samples):
        samples = tuple((f"images/{number}.png", 0) for number in range(8))

    def make(index: int) -> Any:
        if index in (3, 5):
            raise OSError("image file is truncated")
        return torch.tensor([index, 0.5])

    severity, text = found(Folder(8, make))["readable"]
    assert severity == "error"
    assert text.startswith("2 samples cannot be read: images/3.png: ")
    assert "; images/5.png: " in text
    assert text.endswith("Folder[5] failed: OSError: image file is truncated")
    assert examined(Folder(8, make)).num_checked == 8
    assert "images/5.png" in found(Subset(Folder(8, make), [1, 5]))["readable"][1]


def test_of_many_samples_that_cannot_be_read_twenty_are_named_and_the_rest_counted() -> None:
    def make(index: int) -> Any:
        raise OSError("gone")

    text = found(Samples(50, make))["readable"][1]
    assert text.startswith("50 samples cannot be read: ")
    assert text.count("OSError") == 20
    assert text.endswith("; and 30 more")


def test_an_empty_data_set_is_an_error() -> None:
    assert found(images(0)) == {"empty": ("error", "there is no sample")}


def test_large_data_is_looked_at_evenly_from_first_to_last() -> None:
    asked: list[int] = []

    def make(index: int) -> torch.Tensor:
        asked.append(index)
        return torch.tensor([index, 0.5])

    tally = examined(Samples(10**6, make), max_samples=11)
    assert len(asked) == 11
    assert (asked[0], asked[-1]) == (0, 999_999)
    assert tally.num_checked == 11
    gaps = np.diff(asked)
    assert gaps.max() - gaps.min() <= 1


def test_looking_at_data_leaves_the_generators_as_they_were() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    examined(Samples(5, lambda i: torch.rand(3)), max_samples=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_data_that_is_random_is_looked_at_the_same_way_each_time() -> None:
    noisy = Samples(20, lambda i: torch.rand(3) + i)
    assert (examined(noisy).inputs == examined(noisy).inputs).all()


def test_a_stream_is_looked_at_from_its_beginning() -> None:
    some, whole = examined(Stream(50), max_samples=10), examined(Stream(50), max_samples=100)
    assert (some.num_checked, some.num_samples) == (10, 11)
    assert (whole.num_checked, whole.num_samples) == (50, 50)
    assert found(Stream(50, fails_at=7))["readable"][1].endswith(
        "the stream failed after 7 samples: OSError: connection lost"
    )


def test_pictures_texts_and_objects_are_samples_too() -> None:
    def make(index: int) -> Any:
        pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) + index
        return {"image": Image.fromarray(pixels), "caption": f"picture {index}", "extra": slice(index)}

    tally = examined(Samples(6, make))
    kinds = {column.name: column.kind for column in tally.summary().columns}
    assert kinds == {"image": "uint8 [4, 4, 3]", "caption": "str", "extra": "bytes"}
    assert judge(tally, Checks()) == []
    assert len(tally.summary().pictures) == 6


# Columns


def test_missing_values_are_an_error_above_the_share_that_is_allowed() -> None:
    batch = table(x=[1.0, None, 3.0, 4.0], y=["a", "b", None, None])
    texts = {f.column: f.text for f in judge(tallied(batch), Checks()) if f.check == "missing"}
    assert texts == {
        "x": "1 value of 4 missing (25.00%): [1]",
        "y": "2 values of 4 missing (50.00%): [2, 3]",
    }
    assert [f.column for f in judge(tallied(batch), Checks(max_missing_fraction=0.25))] == ["y"]


def test_a_column_of_one_value_is_a_warning() -> None:
    severity, text = found_in(table(x=[1.0, 2.0, 3.0], y=["a", "a", "a"]))["constant-column"]
    assert (severity, text) == ("warning", "all 3 samples have one value")
    assert "constant-column" not in found_in(table(x=[1.0]))


def test_values_out_of_range_are_an_error_with_rows_and_extremes() -> None:
    batch = table(age=[1.0, 200.0, 3.0, -5.0], x=[1, 2, 3, 4])
    assert found_in(batch, ranges={"age": (0, 150)})["range"] == (
        "error",
        "2 samples have values outside 0 to 150: [1, 3]; there are -5 to 200",
    )
    assert "range" not in found_in(batch, ranges={"age": (-5, 200)})


def test_labels_outside_the_classes_are_an_error() -> None:
    batch = table(x=[1.0, 2.0, 3.0, 4.0], label=[0, 1, 9, -1])
    assert found_in(batch, num_classes=3)["labels"] == ("error", "2 labels outside 0 to 2: -1 (1), 9 (1)")
    assert "labels" not in found_in(table(x=[1.0, 2.0, 3.0], label=[0, 1, 2]), num_classes=3)


def test_labels_are_the_named_column_or_the_last_one_if_it_is_an_integer() -> None:
    batch = table(kind=[0, 1, 0], x=[1.0, 2.0, 3.0])
    assert tallied(batch).labels == ""
    assert tallied(batch, labels="kind").labels == "kind"
    assert tallied(table(x=[1.0, 2.0], kind=[0, 1])).labels == "kind"
    assert tallied(table(x=[1.0, 2.0], kind=[0, 1], path=["a", "b"]), identifiers=["path"]).labels == "kind"
    assert tallied(table(kind=[0, 1])).labels == ""


def test_lists_of_numbers_are_looked_at_as_arrays() -> None:
    vectors = pa.array([[1.0, 2.0], [3.0, float("nan")], [5.0, 6.0]], pa.list_(pa.float32(), 2))
    ragged = pa.array([[[1], [2, 3]], [], [[4]]], pa.list_(pa.list_(pa.int64())))
    tally = tallied(table(vector=vectors, ragged=ragged))
    assert [column.kind for column in tally.summary().columns] == ["float32 [2]", "int64 [*, *]"]
    assert [(f.check, f.column, f.text) for f in judge(tally, Checks())] == [
        ("finite", "vector", "1 sample has NaN or infinity: [1]")
    ]
    assert tally.columns["ragged"].moments.count == 4


def test_masks_are_held_to_the_classes_too() -> None:
    masks = Samples(4, lambda i: (torch.arange(4.0) + i, torch.tensor([[0, 1], [2, 7 if i == 2 else 0]])))
    assert found(masks, labels="1", num_classes=3)["labels"][1] == "1 label outside 0 to 2: 7 (1)"


def test_a_class_that_is_rare_in_training_is_a_warning() -> None:
    batch = table(x=[float(n) for n in range(100)], label=[int(n > 97) for n in range(100)])
    assert found_in(batch, min_class_fraction=0.05)["balance"] == (
        "warning",
        "less than 5.00% of 100 samples each: 1 (2)",
    )
    assert "balance" not in found_in(batch, min_class_fraction=0.02)


def test_a_class_without_a_sample_is_a_warning() -> None:
    batch = table(x=[1.0, 2.0, 3.0], label=[0, 1, 3])
    assert found_in(batch, num_classes=4)["classes"] == ("warning", "1 class without a sample: 2")


def test_identifiers_do_not_hide_duplicates() -> None:
    batch = table(id=[0, 1, 2], x=[1.5, 2.5, 1.5])
    assert "duplicates" not in found_in(batch)
    assert "duplicates" in found_in(batch, identifiers=["id"])


def test_a_column_that_settings_name_and_no_data_have_is_an_error_with_the_nearest() -> None:
    checks = Checks(labels="lable", ranges={"x": (0, 1)})
    (finding,) = unknown_columns([tallied(table(x=[1.0], label=[1]))], checks)
    assert (finding.severity, finding.check) == ("error", "columns")
    assert finding.text == "checks.labels names 'lable', which no data have; did you mean label?"


# Between data sets


def test_samples_of_the_test_data_that_are_trained_on_are_a_leak() -> None:
    train = examined(images(30), "train")
    leaking = by_check(compare(train, examined(images(12, start=24), "test")))
    assert leaking == {"leak": ("error", "6 samples are in train too, such as 0, which is 24 there")}
    assert compare(train, examined(images(12, start=30), "test")) == []


def test_a_leak_counts_by_inputs_and_says_how_many_have_another_label() -> None:
    train = tallied(table(x=[1.0, 2.0, 3.0, 4.0], label=[0, 1, 0, 1]))
    test = tallied(table(x=[2.0, 3.0, 9.0], label=[1, 1, 1]), "test")
    text = by_check(compare(train, test))["leak"][1]
    assert text == "2 samples are in train too, such as 0, which is 1 there; 1 of them with another label"


def test_classes_that_are_judged_and_never_trained_are_a_warning() -> None:
    train, test = examined(images(30, 3), "train"), examined(images(30, 5, start=90), "test")
    assert by_check(compare(train, test)) == {"classes": ("warning", "has classes that train lacks: [3, 4]")}
    assert compare(test, train) == []


def test_a_class_is_not_missing_where_not_all_of_the_training_data_was_looked_at() -> None:
    train = examined(images(30, 3), "train", max_samples=10)
    assert compare(train, examined(images(30, 5, start=90), "test")) == []


def test_what_is_called_train_is_trained_on_else_the_first() -> None:
    one, other = tallied(table(x=[1.0]), "rows/test"), tallied(table(x=[2.0]), "rows/train")
    assert training_of([one, other]) is other
    assert training_of([one]) is one
    assert training_of([]) is None


# Near duplicates


def photo(seed: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 255, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)


def squeezed(picture: Image.Image, tmp_path: Path) -> Image.Image:
    file = tmp_path / "small.jpg"
    picture.resize((56, 56)).resize((64, 64)).save(file, quality=50)
    return Image.open(file).copy()


def test_a_picture_that_was_compressed_again_is_a_near_leak_and_others_are_none(tmp_path: Path) -> None:
    train = examined(Samples(40, photo), "train", near_duplicates=True)
    copies = Samples(5, lambda i: squeezed(photo(30 + i), tmp_path) if i < 2 else photo(100 + i))
    near = by_check(compare(train, examined(copies, "test", near_duplicates=True)))
    assert near == {
        "near-leak": ("error", "2 samples are almost like one of train, such as 0, which is like 30 there")
    }
    assert compare(train, examined(copies, "test")) == []


def test_blank_pictures_are_no_near_leaks_of_pictures_of_another_brightness() -> None:
    grey = Samples(2, lambda i: np.full((16, 16), 20 + i, np.uint8))
    white = Samples(2, lambda i: np.full((16, 16), 200 + i, np.uint8))
    train = examined(grey, "train", near_duplicates=True)
    assert compare(train, examined(white, "test", near_duplicates=True)) == []


def test_a_text_with_another_case_and_a_word_changed_is_a_near_leak() -> None:
    texts = [
        f"The {name} ran over the hill and slept for {n} hours, while rain fell on the roofs of the town"
        for n, name in enumerate(["fox", "old dog", "horse that nobody owned", "cat"], 3)
    ]
    other = "Nothing in this sentence is like one of the others; it talks about ships and the sea in winter"
    train = tallied(table(text=texts, n=[1.0, 2.0, 3.0, 4.0]), near_duplicates=True)
    copy = texts[1].upper().replace("FELL", "fell!")
    test = tallied(table(text=[copy, other], n=[5.0, 6.0]), "test", near_duplicates=True)
    near = by_check(compare(train, test))
    assert near["near-leak"][1] == "1 sample is almost like one of train, such as 0, which is like 1 there"
