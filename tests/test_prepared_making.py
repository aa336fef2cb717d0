"""Prepared data are made once, whole or not at all, and only again if what made them changes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from bessemer.data.changes import signature
from bessemer.data.prepared.dataset import PreparedDataset
from bessemer.data.prepared.making import Made, Work, prepare
from bessemer.data.prepared.manifest import MANIFEST_FILE, Origin, read_manifest
from bessemer.data.prepared.ranges import Shared, Task, TaskRecord, do
from bessemer.errors import DataError

ORIGIN = Origin(inputs="a", code="b", parameters="c")


class Numbers(Dataset[Any]):
    """Items are (number, label); some of them may fail."""

    def __init__(self, count: int, bad: int = -1) -> None:
        self.count = count
        self.bad = bad

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Any:
        if place == self.bad:
            raise ValueError("no such file")
        return torch.full((100,), float(place)), place % 3


def work(count: int = 50, **changes: Any) -> Work:
    plain = Work("numbers", Numbers(count), None, ORIGIN, ("all",), None, shard_bytes=4000)
    return replace(plain, **changes)


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Do tasks in this process, and note their numbers."""
    done: list[int] = []

    def here(
        ranges: list[tuple[int, int, int]], packed: Any, shared: Shared, do_range: Callable[..., str]
    ) -> Any:
        for number, start, stop in ranges:
            done.append(number)
            yield number, do_range(number, start, stop, packed, shared)

    monkeypatch.setattr("bessemer.data.prepared.tasks.on_ray", here)
    return done


def made(chosen: Work, folder: Path) -> Made:
    return prepare(chosen, folder, lambda: None)


def numbers_of(folder: Path, split: str = "all") -> list[float]:
    found = PreparedDataset(folder, split)
    return [float(found[place][0][0]) for place in range(len(found))]


@pytest.mark.usefixtures("no_ray")
def test_samples_come_in_the_order_of_their_items(tmp_path: Path) -> None:
    result = made(work(), tmp_path / "out")
    assert numbers_of(tmp_path / "out") == [float(place) for place in range(50)]
    assert result.changes == ("new",)
    split = result.manifest.splits["all"]
    assert (split.num_rows, len(split.shards)) == (50, 7)
    assert split.statistics["1"].counts == {"0": 17, "1": 17, "2": 16}


@pytest.mark.usefixtures("no_ray")
def test_shards_are_about_as_large_as_asked_for(tmp_path: Path) -> None:
    result = made(work(400, shard_bytes=40_000), tmp_path)
    sizes = [shard.num_rows * 404 for shard in result.manifest.splits["all"].shards]
    assert all(20_000 < size < 60_000 for size in sizes[:-1])


def test_of_an_unchanged_origin_nothing_is_made_again(tmp_path: Path, no_ray: list[int]) -> None:
    made(work(), tmp_path)
    no_ray.clear()
    assert made(work(), tmp_path).changes == ()
    assert no_ray == []


@pytest.mark.parametrize("part", ["inputs", "code", "parameters"])
@pytest.mark.usefixtures("no_ray")
def test_a_part_of_the_origin_that_changed_is_named_and_the_data_are_made_again(
    tmp_path: Path, part: str
) -> None:
    made(work(), tmp_path)
    changed = made(work(20, origin=ORIGIN.model_copy(update={part: "z"})), tmp_path)
    assert changed.changes == (part,)
    assert len(numbers_of(tmp_path)) == 20
    named = {shard.path for _, shard in changed.manifest.shards()}
    assert {path.name for path in tmp_path.iterdir()} == {MANIFEST_FILE, *named}


@pytest.mark.usefixtures("no_ray")
def test_a_shard_that_is_gone_is_made_again(tmp_path: Path) -> None:
    first = made(work(), tmp_path)
    (tmp_path / first.manifest.splits["all"].shards[2].path).unlink()
    again = made(work(), tmp_path)
    assert again.changes == ("shards",)
    assert again.manifest == first.manifest


def test_an_interrupted_attempt_is_gone_on_with(
    tmp_path: Path, no_ray: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(task: Task, shared: Shared, items: Any) -> TaskRecord:
        if task.number == 4:
            raise KeyboardInterrupt
        return do(task, shared, items)

    monkeypatch.setattr("bessemer.data.prepared.ranges.do", killed)
    with pytest.raises(KeyboardInterrupt):
        made(work(), tmp_path)
    assert not (tmp_path / MANIFEST_FILE).exists()
    monkeypatch.setattr("bessemer.data.prepared.ranges.do", do)
    no_ray.clear()
    result = made(work(), tmp_path)
    assert (result.num_kept, no_ray) == (4, [4, 5, 6])
    assert numbers_of(tmp_path) == [float(place) for place in range(50)]


def test_a_shard_that_was_damaged_since_is_not_gone_on_with(
    tmp_path: Path, no_ray: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bessemer.data.prepared.making.write_manifest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made(work(), tmp_path)
    monkeypatch.undo()
    shard = sorted(tmp_path.glob("*.parquet"))[3]
    shard.write_bytes(b"x" * shard.stat().st_size)
    result = made(work(), tmp_path)
    assert result.num_kept == 6
    assert numbers_of(tmp_path) == [float(place) for place in range(50)]


@pytest.mark.usefixtures("no_ray")
def test_a_failing_item_is_named_and_the_old_data_stay(tmp_path: Path) -> None:
    made(work(), tmp_path)
    broken = work(items=Numbers(50, bad=33), origin=ORIGIN.model_copy(update={"inputs": "z"}))
    with pytest.raises(DataError, match=r"Numbers\[33\] failed: ValueError: no such file"):
        made(broken, tmp_path)
    assert read_manifest(tmp_path).origin == ORIGIN
    assert numbers_of(tmp_path) == [float(place) for place in range(50)]


def halved(item: Any) -> Any:
    number, label = item
    if label == 2:
        return None
    return [{"x": number[:50], "y": label}, {"x": number[50:], "y": label}]


@pytest.mark.usefixtures("no_ray")
def test_a_function_may_drop_items_and_make_several_samples_of_one(tmp_path: Path) -> None:
    made(work(12, make=halved), tmp_path)
    found = PreparedDataset(tmp_path, "all")
    assert [sample["y"] for sample in (found[place] for place in range(len(found)))] == [
        *(0, 0, 1, 1, 0, 0, 1, 1),
        *(0, 0, 1, 1, 0, 0, 1, 1),
    ]
    assert found[0]["x"].shape == (50,)


@pytest.mark.usefixtures("no_ray")
def test_what_a_function_fails_on_is_named(tmp_path: Path) -> None:
    def divide(item: Any) -> Any:
        return 1 / int(item[0][0] != 7)

    with pytest.raises(DataError, match=r"divide failed on item 7: ZeroDivisionError"):
        made(work(make=divide), tmp_path)


def nothing(_item: Any) -> Any:
    return None


@pytest.mark.usefixtures("no_ray")
def test_data_of_which_nothing_is_left_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sample of numbers is left"):
        made(work(make=nothing), tmp_path)
    with pytest.raises(DataError, match="nothing to prepare"):
        made(work(0), tmp_path)


@pytest.mark.usefixtures("no_ray")
def test_rows_go_to_the_splits_that_they_were_assigned_to(tmp_path: Path) -> None:
    assigned = (np.arange(50) % 5 == 0).astype(np.int16)
    made(work(splits=("train", "test"), assigned=assigned), tmp_path)
    assert numbers_of(tmp_path, "test") == [float(place) for place in range(0, 50, 5)]
    assert len(numbers_of(tmp_path, "train")) == 40


class Noise(Dataset[Any]):
    """Draws."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, _place: int) -> Any:
        return torch.rand(200)


@pytest.mark.usefixtures("no_ray")
def test_items_that_draw_are_the_same_each_time_they_are_prepared(tmp_path: Path) -> None:
    one = made(work(items=Noise()), tmp_path / "one").manifest
    torch.rand(7)
    other = made(work(items=Noise(), shard_bytes=9000), tmp_path / "other").manifest
    assert len(one.splits["all"].shards) != len(other.splits["all"].shards)
    first, second = (PreparedDataset(tmp_path / name, "all") for name in ("one", "other"))
    assert all(torch.equal(first[place], second[place]) for place in range(40))
    assert not torch.equal(first[0], first[1])


@pytest.mark.usefixtures("no_ray")
def test_preparing_moves_no_generator(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    made(work(items=Noise()), tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/out cannot be made"):
        made(work(), tmp_path / "file" / "out")


@pytest.mark.usefixtures("no_ray")
def test_a_split_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    made(work(), tmp_path)
    with pytest.raises(DataError, match="has no split 'al'"):
        PreparedDataset(tmp_path, "al")


@pytest.mark.usefixtures("no_ray")
def test_reading_is_no_change_of_the_data_set(tmp_path: Path) -> None:
    made(work(), tmp_path)
    dataset = PreparedDataset(tmp_path, "all")
    assert float(dataset[0][0][0]) == 0.0
    before = signature(dataset)
    assert float(dataset[33][0][0]) == 33.0
    assert signature(dataset) == before
    assert len(pickle.dumps(dataset)) < 10_000


@pytest.mark.usefixtures("no_ray")
def test_a_group_takes_what_its_samples_take(tmp_path: Path) -> None:
    made(work(400, shard_bytes=10**6), tmp_path)
    dataset = PreparedDataset(tmp_path, "all")
    assert 0.8 < dataset.group_bytes / (max(dataset.group_sizes) * 408) < 1.3
