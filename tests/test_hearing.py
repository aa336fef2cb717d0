"""What a process says is heard, and what it says to others does not change by it."""

from __future__ import annotations

import contextlib
import io
import logging
import logging.config
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bessemer.training.hearing import RAYS_PRINT, Lines, errors_heard, records_heard


class Ear(logging.Handler):
    def __init__(self, level: int = logging.INFO) -> None:
        super().__init__(level)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """A root logger as in a new process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_records_of_all_loggers_are_heard_from_a_level_on() -> None:
    ear, logger = Ear(), logging.getLogger("research.deep")
    with records_heard(ear):
        logger.debug("no")
        logger.info("yes")
        logging.warning("root")
    logger.warning("after")
    assert ear.heard == ["yes", "root"]


def test_a_logger_that_passes_nothing_on_is_heard_too() -> None:
    ear, logger = Ear(), logging.getLogger("research.private")
    logger.propagate = False
    with records_heard(ear):
        logger.info("yes")
    assert ear.heard == ["yes"]


def test_basic_config_of_the_program_works_as_without() -> None:
    said, ear = io.StringIO(), Ear()
    logging.getLogger().handlers[:] = []  # those of pytest
    with records_heard(ear):
        logging.basicConfig(stream=said, level=logging.INFO, format="%(message)s")
        logging.getLogger("research").info("hello")
    assert said.getvalue() == "hello\n"
    assert ear.heard == ["hello"]


def test_a_configuration_that_takes_all_handlers_away_takes_no_hearing() -> None:
    ear = Ear()
    with records_heard(ear):
        logging.config.dictConfig(
            {"version": 1, "disable_existing_loggers": False, "root": {"level": "INFO", "handlers": []}}
        )
        logging.getLogger("research").info("hello")
    assert ear.heard == ["hello"]


def test_handlers_of_the_program_get_no_records_that_they_did_not_get_before() -> None:
    said, ear = io.StringIO(), Ear()
    handler = logging.StreamHandler(said)
    logging.getLogger("research").addHandler(handler)
    try:
        with records_heard(ear):
            logging.getLogger("research").info("quiet")
            logging.getLogger("research").warning("loud")
    finally:
        logging.getLogger("research").removeHandler(handler)
    assert said.getvalue() == "loud\n"
    assert ear.heard == ["quiet", "loud"]


def test_afterwards_logging_is_as_it_was() -> None:
    before, level = logging.Logger.callHandlers, logging.getLogger().level
    with contextlib.suppress(ValueError), records_heard(Ear()):
        raise ValueError
    assert logging.Logger.callHandlers is before
    assert logging.getLogger().level == level


def test_what_rays_print_logs_is_heard_as_print_alone() -> None:
    ear, names = Ear(), {}  # type: ignore[var-annotated]
    exec(f"import logging\ndef {RAYS_PRINT}(text): logging.getLogger().log(20, text)", names)
    with records_heard(ear):
        names[RAYS_PRINT]("printed")
        logging.getLogger().info("logged")
    assert ear.heard == ["logged"]


def test_rays_print_has_the_name_that_it_is_known_by() -> None:
    from ray.train.v2._internal.logging import patch_print

    assert patch_print.redirected_print.__name__ == RAYS_PRINT


def lines_from(*pieces: str) -> list[str]:
    heard: list[str] = []
    lines = Lines(heard.append)
    for piece in pieces:
        lines.write(piece)
    lines.end()
    return heard


@pytest.mark.parametrize(
    ("pieces", "heard"),
    [
        (["one\ntwo\n"], ["one", "two"]),
        (["on", "e", "\n", "two"], ["one", "two"]),
        (["\n", "  \n"], []),
        (["\r 1%", "\r 50%", "\r100%", "\n"], ["100%"]),
        (["\r 1%\r", " 50%\r", "100%\r"], ["100%"]),
        (["dos\r\n"], ["dos"]),
    ],
)
def test_lines_are_heard_when_they_are_whole_and_bars_once(pieces: list[str], heard: list[str]) -> None:
    assert lines_from(*pieces) == heard


def test_standard_error_is_heard_and_written_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    number: Any = sys.stderr.fileno if hasattr(sys.stderr, "fileno") else None
    with errors_heard(Lines(heard.append)):
        print("careful", file=sys.stderr)
        assert (number is None) or sys.stderr.fileno is not None
    assert heard == ["careful"]
    assert capsys.readouterr().err == "careful\n"


def test_a_record_that_a_handler_prints_is_heard_once(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    ear, lines = Ear(), Lines(heard.append)
    logging.getLogger().handlers[:] = []  # those of pytest
    with records_heard(ear), errors_heard(lines):
        logging.basicConfig(stream=sys.stderr, level=logging.INFO)
        logging.getLogger("research").info("once")
    assert ear.heard == ["once"]
    assert heard == []
    assert "once" in capsys.readouterr().err
