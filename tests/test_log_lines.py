"""Lines of JSON in files that stay small, whatever is logged and whatever the disk does."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from bessemer.utils.log_lines import KEYS, JsonLines, LogFile, Where, files_of, utc


def record(message: str, *arguments: object, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("research", level, "", 0, message, arguments, more.pop("exc_info", None))
    made.__dict__.update(more)
    return made


def opened(path: Path, **options: Any) -> LogFile:
    file = LogFile(path, **options)
    file.setFormatter(JsonLines("today", 1, lambda: Where(2, 30, 4)))
    return file


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_says_when_where_and_what(tmp_path: Path) -> None:
    made = record("loss is %s", 0.5)
    made.created = 0.25
    opened(tmp_path / "logs" / "a.jsonl").handle(made)
    (line,) = lines_of(tmp_path / "logs" / "a.jsonl")
    assert tuple(line) == KEYS
    assert line["time"] == utc(0.25) == "1970-01-01T00:00:00.250Z"
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "research", "loss is 0.5")
    assert [line[name] for name in ("run", "attempt", "rank", "step", "epoch")] == ["today", 2, 1, 30, 4]
    assert line["pid"] == os.getpid()
    assert line["node"]


def test_an_exception_is_a_text_of_its_own(tmp_path: Path) -> None:
    try:
        raise ValueError("no more")
    except ValueError as error:
        opened(tmp_path / "a").handle(record("failed", exc_info=(ValueError, error, error.__traceback__)))
    (line,) = lines_of(tmp_path / "a")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].rstrip().endswith("ValueError: no more")


def test_secrets_are_masked_in_messages_and_exceptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "tok-12345678")
    error = ValueError("with tok-12345678")
    opened(tmp_path / "a").handle(record("tok-12345678", exc_info=(ValueError, error, None)))
    assert "tok-12345678" not in (tmp_path / "a").read_text()


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "\ud800 half", "umlaut ä"])
def test_any_text_is_one_line(tmp_path: Path, text: str) -> None:
    opened(tmp_path / "a").handle(record(text))
    assert len(lines_of(tmp_path / "a")) == 1


def test_a_message_that_does_not_fit_its_arguments_is_logged_all_the_same(tmp_path: Path) -> None:
    opened(tmp_path / "a").handle(record("%d of %d", 1))
    assert lines_of(tmp_path / "a")[0]["message"] == "%d of %d (1,)"


def test_a_very_long_message_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    opened(tmp_path / "a").handle(record(f"begin{'x' * 100_000}end"))
    message = lines_of(tmp_path / "a")[0]["message"]
    assert len(message) < 20_000
    assert message.startswith("begin")
    assert message.endswith("end")


def test_files_are_appended_to(tmp_path: Path) -> None:
    for number in range(2):
        file = opened(tmp_path / "a")
        file.handle(record(str(number)))
        file.close()
    assert [line["message"] for line in lines_of(tmp_path / "a")] == ["0", "1"]


def test_a_line_after_one_that_was_cut_off_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"time": "2026')
    opened(tmp_path / "a").handle(record("next"))
    assert json.loads((tmp_path / "a").read_text().splitlines()[1])["message"] == "next"


def test_files_do_not_grow_without_end(tmp_path: Path) -> None:
    file = opened(tmp_path / "a", max_bytes=1000, num_old=2)
    for number in range(100):
        file.handle(record(f"number {number}"))
    kept = [path for path in files_of(tmp_path / "a", 5) if path.exists()]
    assert [path.name for path in kept] == ["a", "a.1", "a.2"]
    assert all(path.stat().st_size <= 1000 for path in kept)
    messages = [line["message"] for path in reversed(kept) for line in lines_of(path)]
    assert messages == [f"number {number}" for number in range(100 - len(messages), 100)]


def test_a_full_disk_costs_lines_and_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    file = opened(tmp_path / "a", told=told.append)

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("bessemer.utils.log_lines.os.write", full)
        file.handle(record("lost"))
        file.handle(record("lost"))
    file.handle(record("kept"))
    assert len(told) == 1
    assert "No space left" in told[0]
    assert [line["message"] for line in lines_of(tmp_path / "a")] == ["kept"]


def test_a_folder_that_cannot_be_made_is_told_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    opened(tmp_path / "file" / "logs" / "a", told=told.append).handle(record("lost"))
    assert len(told) == 1
