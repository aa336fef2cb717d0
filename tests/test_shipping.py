"""A data set reaches other processes whole, and a memory map without its contents."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch.utils.data import Dataset

from bessemer.data.datasets import Recipe
from bessemer.data.shipping import pack, unpack
from bessemer.errors import DataError

SIZE = 300_000


class Mapped(Dataset[Any]):
    def __init__(self, rows: NDArray[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


@pytest.fixture
def mapped(tmp_path: Path) -> np.memmap[Any, Any]:
    whole = np.arange(SIZE, dtype=np.int32).reshape(-1, 10)
    whole.tofile(tmp_path / "rows.bin")
    return np.memmap(tmp_path / "rows.bin", np.int32, mode="r", shape=whole.shape)


def sent(rows: NDArray[Any]) -> tuple[int, NDArray[Any]]:
    packed = pack(Recipe(Mapped(rows), 0, list))
    dataset: Any = unpack(packed).dataset
    return len(packed.payload), dataset.rows


@pytest.mark.parametrize(
    "part",
    [slice(None), slice(1000, None), slice(5, 20_000), slice(7, 8)],
    ids=["all", "from the middle", "a part", "one row"],
)
def test_a_memory_map_and_parts_of_one_travel_by_their_files_name(
    mapped: np.memmap[Any, Any], part: slice
) -> None:
    size, arrived = sent(mapped[part])
    assert size < 5000
    assert isinstance(arrived, np.memmap)
    assert np.array_equal(arrived, mapped[part])


def test_a_map_that_begins_inside_of_a_file_arrives_as_it_was(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.arange(SIZE, dtype=np.float64).reshape(10, -1))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for part in (mapped, mapped[3:], mapped[4]):
        size, arrived = sent(part)
        assert size < 5000
        assert np.array_equal(arrived, part)


def test_what_is_no_plain_part_of_a_map_travels_with_its_contents(mapped: np.memmap[Any, Any]) -> None:
    for part in (mapped[:, 3], mapped[::2], np.asarray(mapped[:100]), mapped[:0]):
        _, arrived = sent(part)
        assert np.array_equal(arrived, part)


def test_a_map_that_is_written_to_travels_with_its_contents(tmp_path: Path) -> None:
    written = np.memmap(tmp_path / "own.bin", np.int32, mode="w+", shape=(100,))
    written[:] = 7
    copied = np.memmap(tmp_path / "own.bin", np.int32, mode="c", shape=(100,))
    copied[3] = 9
    for rows in (written, copied):
        _, arrived = sent(rows)
        assert np.array_equal(arrived, rows)


def test_a_file_that_is_not_there_is_named(mapped: np.memmap[Any, Any]) -> None:
    packed = pack(Recipe(Mapped(mapped), 0, list))
    Path(str(mapped.filename)).unlink()
    with pytest.raises(DataError, match=r"rows\.bin .* cannot be opened here") as caught:
        unpack(packed)
    assert "every node" in caught.value.expected


def test_a_data_set_that_cannot_be_pickled_is_refused_with_what_to_do() -> None:
    rows: Any = threading.Lock()
    with pytest.raises(DataError, match="Mapped cannot be sent to Ray Data") as caught:
        pack(Recipe(Mapped(rows), 0, list))
    assert 'data.source = "inline"' in caught.value.todo


def test_a_process_that_fetches_is_initialised_as_the_research_code_wants() -> None:
    packed = pack(Recipe(Mapped(np.zeros(3)), 0, list, worker_init_fn=_note))
    _noted.clear()
    unpack(packed)
    assert _noted == [0]


_noted: list[int] = []


def _note(worker: int) -> None:
    _noted.append(worker)


class Reading(Dataset[Any]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return Path("row.txt").read_text()


def test_relative_paths_of_a_data_set_are_meant_from_where_it_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "row.txt").write_text("a row")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    packed = pack(Recipe(Reading(), 0, list))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert unpack(packed).dataset[0] == "a row"
