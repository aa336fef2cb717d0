"""Values of Arrow columns: what they are in rows, and that batches of columns are those of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from source_files import opened, rows_of, write_parquet
from torch.utils.data import default_collate

from bessemer.data.datasets import Fetcher, Recipe
from bessemer.data.order import ListedPlan


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_values_keep_their_dtype_and_lists_become_arrays(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "float": pa.array([1.5, None], pa.float32()),
        "int": pa.array([1, 2], pa.int32()),
        "maybe": pa.array([1, None], pa.int16()),
        "flag": pa.array([True, False]),
        "text": ["a", "b"],
        "coded": pa.array(["u", "v"]).dictionary_encode(),
        "binary": [b"1", b"2"],
        "vector": pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
        "ragged": [[1.0], [2.0, 3.0]],
        "matrix": [[[1, 2], [3, 4]], [[5, 6]]],
        "uneven": [[[1], [2, 3]], [[4]]],
        "record": [{"a": 1, "b": [1]}, None],
    }
    write_parquet(tmp_path / "a.parquet", columns)
    first, second = rows_of(opened(format="parquet", path="a.parquet"))
    assert [first[name].dtype for name in ("float", "int", "maybe", "flag")] == [
        np.float32, np.int32, np.int16, np.bool_,
    ]  # fmt: skip
    assert np.isnan(second["float"])
    assert second["float"].dtype == np.float32
    assert second["maybe"] is None
    assert (first["text"], first["coded"], first["binary"]) == ("a", "u", b"1")
    assert first["vector"].tolist() == [1, 2]
    assert first["vector"].dtype == np.int8
    assert second["ragged"].tolist() == [2.0, 3.0]
    assert first["matrix"].tolist() == [[1, 2], [3, 4]]
    assert [part.tolist() for part in first["uneven"]] == [[1], [2, 3]]
    assert first["record"]["a"] == 1
    assert second["record"] is None


def test_what_a_program_does_to_a_row_is_not_seen_by_the_next_one_who_reads_it(tmp_path: Path) -> None:
    values = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    write_parquet(tmp_path / "a.parquet", {"x": values, "r": [[1.0], [2.0, 3.0]]})
    source = opened(format="parquet", path="a.parquet")
    row = source[1]
    torch.from_numpy(row["x"]).zero_()
    row["r"][:] = 0
    assert source[1]["x"].tolist() == [3.0, 4.0]
    assert source[1]["r"].tolist() == [2.0, 3.0]


def test_columns_of_every_kind_are_collated_as_their_rows_are(tmp_path: Path) -> None:
    kinds = ["float16", "float32", "float64", "int8", "int64", "uint8", "uint16", "uint32", "bool"]
    columns: dict[str, Any] = {kind: np.arange(6).astype(kind) for kind in kinds}
    columns["grid"] = pa.array(np.arange(12).reshape(6, 2).tolist(), pa.list_(pa.int16(), 2))
    columns["ragged"] = [[n, n] for n in range(6)]
    columns["text"] = list("abcdef")
    columns["record"] = [{"a": n, "b": [n]} for n in range(6)]
    write_parquet(tmp_path / "a.parquet", columns, rows_per_group=2)
    source = opened(format="parquet", path="a.parquet")
    ids = (5, 0, 3, 2)
    batch = Fetcher(Recipe(source, 0, default_collate)).fetch(ListedPlan((ids,)), 0, 0, 1).batch
    expected = default_collate([source[place] for place in ids])
    assert repr(batch) == repr(expected)
    assert [batch[kind].dtype for kind in kinds] == [expected[kind].dtype for kind in kinds]
