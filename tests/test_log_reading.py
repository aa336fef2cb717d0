"""The logs of a run are read by time, as they grow, and as they are begun anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bessemer.errors import UserError
from bessemer.observation.lines import LogReader, Wanted, since_of
from left_runs import append


def messages(reader: LogReader) -> list[str]:
    return [line.values["message"] for line in reader.new()]


def test_lines_of_all_processes_come_by_time(tmp_path: Path) -> None:
    append(tmp_path, "worker-0.jsonl", (1, "b"), (3, "d"))
    append(tmp_path, "worker-10.jsonl", (2, "c"))
    append(tmp_path, "driver.jsonl", (0, "a"), (4, "e"))
    assert messages(LogReader(tmp_path, Wanted())) == ["a", "b", "c", "d", "e"]


def test_only_what_is_new_is_read_again_and_a_line_only_when_it_is_whole(tmp_path: Path) -> None:
    file = append(tmp_path, "worker-0.jsonl", (1, "a"))
    reader = LogReader(tmp_path, Wanted())
    assert messages(reader) == ["a"]
    with file.open("a") as opened:
        opened.write('{"time": "2026-01-01T00:00:02.000Z", "level": "INFO", ')
    assert messages(reader) == []
    with file.open("a") as opened:
        opened.write('"message": "b"}\n')
    append(tmp_path, "worker-1.jsonl", (3, "c"))
    assert messages(reader) == ["b", "c"]


def test_a_file_that_another_follows_is_read_to_its_end(tmp_path: Path) -> None:
    file = append(tmp_path, "worker-0.jsonl", (1, "a"))
    reader = LogReader(tmp_path, Wanted())
    assert messages(reader) == ["a"]
    append(tmp_path, "worker-0.jsonl", (2, "b"))
    file.replace(file.with_name("worker-0.jsonl.1"))
    append(tmp_path, "worker-0.jsonl", (3, "c"))
    assert messages(reader) == ["b", "c"]
    assert messages(LogReader(tmp_path, Wanted())) == ["a", "b", "c"]


def test_lines_that_are_none_are_passed_over_and_counted(tmp_path: Path) -> None:
    file = append(tmp_path, "worker-0.jsonl", (1, "a"))
    with file.open("ab") as opened:
        opened.write(b'{"time": "20\n\xff\xfe\n[1]\n\n')
    append(tmp_path, "worker-0.jsonl", (2, "b"))
    reader = LogReader(tmp_path, Wanted())
    assert messages(reader) == ["a", "b"]
    assert reader.num_unreadable == 3


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted("1"), ["w1"]),
        (Wanted("driver"), ["d"]),
        (Wanted("7"), []),
        (Wanted(level="WARNING"), ["w1"]),
        (Wanted(since="2026-01-01T00:00:02.000Z"), ["d", "w1"]),
    ],
)
def test_only_what_is_wanted_is_given(tmp_path: Path, wanted: Wanted, found: list[str]) -> None:
    append(tmp_path, "worker-0.jsonl", (1, "w0"))
    append(tmp_path, "worker-1.jsonl", (3, "w1"), level="ERROR")
    append(tmp_path, "driver.jsonl", (2, "d"))
    assert messages(LogReader(tmp_path, wanted)) == found


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", "2026-01-01T11:58:30.000Z"),
        ("10m", "2026-01-01T11:50:00.000Z"),
        ("1.5 h", "2026-01-01T10:30:00.000Z"),
        ("2d", "2025-12-30T12:00:00.000Z"),
        ("2026-01-01T13:00:00+02:00", "2026-01-01T11:00:00.000Z"),
        ("", ""),
    ],
)
def test_since_is_a_time_ago_or_a_moment(text: str, moment: str) -> None:
    assert since_of(text, datetime(2026, 1, 1, 12, tzinfo=UTC)) == moment


@pytest.mark.parametrize("text", ["yesterday", "10", "10x", "9999999999d"])
def test_another_since_is_the_users_mistake(text: str) -> None:
    with pytest.raises(UserError, match="is no time"):
        since_of(text)
