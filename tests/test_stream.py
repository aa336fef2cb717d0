"""What a worker takes from its pipeline is what it is waiting for, or the run stops."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from bessemer.data.stream import _lists, check_rows
from bessemer.errors import DataError


def table(positions: list[int], rank: int = 1, world_size: int = 3) -> Any:
    count = len(positions)
    return pa.table({"position": positions, "rank": [rank] * count, "world_size": [world_size] * count})


def test_rows_in_their_place_pass() -> None:
    check_rows(table([7, 8, 9]), 7, 1, 3)


@pytest.mark.parametrize(
    ("arrived", "found", "expected"),
    [
        (table([8, 9]), "position 8 for worker 1 of 3", "position 7"),
        (table([7, 9]), "position 9", "position 8"),
        (table([7, 7]), "position 7", "position 8"),
        (table([7, 8], rank=2), "for worker 2 of 3", "for worker 1 of 3"),
        (table([7, 8], world_size=2), "for worker 1 of 2", "for worker 1 of 3"),
    ],
    ids=["begins later", "one left out", "one twice", "another worker's", "of another world"],
)
def test_a_row_out_of_place_stops_the_run(arrived: Any, found: str, expected: str) -> None:
    with pytest.raises(DataError, match="Ray Data delivered") as caught:
        check_rows(arrived, 7, 1, 3)
    assert found in caught.value.found
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    "lists",
    [
        [[b"abc", b""], [], [b"de"]],
        [[], []],
        [[bytes(range(256)) * 1000] * 3],
    ],
)
def test_bytes_are_put_into_a_table_as_they_are(lists: list[list[bytes]]) -> None:
    made = _lists([[memoryview(part) for part in parts] for parts in lists])
    made.validate(full=True)
    assert made.to_pylist() == lists
