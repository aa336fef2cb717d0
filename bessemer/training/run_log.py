"""What one process of a run writes to the run's logs as lines of JSON: `driver.jsonl`, `worker-<rank>.jsonl`.

In it is what Bessemer says of the run (`event`), what the program and libraries log, and what the program
prints. Of the last two nothing while a restart replays, so no line is twice because of a replay; the lines of
steps that are computed again are there once for each attempt, as the attempt in them says.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from bessemer.training.folders import LOGS_FOLDER, log_file_name
from bessemer.training.hearing import Lines, errors_heard, records_heard
from bessemer.utils.collectives import Group
from bessemer.utils.log_lines import JsonLines, LogFile, Where

OWN_LOGGER, PRINTS_LOGGER = "bessemer", "print"


class RunLog:
    """Writes the log of one process of a run.

    Args:
        run_dir: folder of the run.
        run: name of the run.
        rank: of the worker; None for the driver.
        level: least level that is written, by name.
        where: where the process is; asked at each line.
        told: called with a sentence if lines are lost.

    Attributes:
        is_muted: whether nothing but Bessemer's own words is written now.
        stdout: takes what the program prints.
    """

    def __init__(
        self,
        run_dir: Path,
        run: str,
        rank: int | None,
        level: str = "INFO",
        where: Callable[[], Where] = Where,
        told: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.is_muted: Callable[[], bool] = lambda: False
        self.where = where
        self._file = LogFile(
            run_dir / LOGS_FOLDER / log_file_name(rank), logging.getLevelNamesMapping()[level], told
        )
        self._file.setFormatter(JsonLines(run, rank, lambda: self.where()))
        self._file.addFilter(lambda record: record.name == OWN_LOGGER or not self.is_muted())
        self.stdout = Lines(lambda line: self._printed(line, "stdout"))
        self._stderr = Lines(lambda line: self._printed(line, "stderr"))

    def say(
        self, event: str, message: str, level: int = logging.INFO, error: BaseException | None = None
    ) -> None:
        """Write down something that happens to the run.

        Args:
            event: what it is, in one word.
            message: a sentence.
            level: of `logging`.
            error: whose traceback is written too.
        """
        self._write(OWN_LOGGER, level, message, {"event": event}, error)

    @contextlib.contextmanager
    def hearing(self, prints: bool = True) -> Iterator[None]:
        """Write down what this process logs, and what is printed to standard error if `prints`."""
        with contextlib.ExitStack() as ears:
            ears.callback(self.stdout.end)
            ears.enter_context(records_heard(self._file))
            if prints:
                ears.enter_context(errors_heard(self._stderr))
            yield

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _printed(self, line: str, stream: str) -> None:
        self._write(PRINTS_LOGGER, logging.INFO, line, {"stream": stream})

    def _write(
        self,
        logger: str,
        level: int,
        message: str,
        more: dict[str, str],
        error: BaseException | None = None,
    ) -> None:
        if level < self._file.level:
            return
        exception = (type(error), error, error.__traceback__) if error is not None else None
        record = logging.LogRecord(logger, level, "", 0, message, None, exception)
        record.__dict__.update(more)
        self._file.handle(record)


@contextlib.contextmanager
def worker_log(
    run_dir: Path,
    run: str,
    level: str,
    group: Group,
    where: Where,
    is_muted: Callable[[], bool],
    told: Callable[[str], None],
) -> Iterator[RunLog]:
    """Write what a worker logs and prints to the run's logs, while the block runs.

    Args:
        run_dir: folder of the run.
        run: name of the run.
        level: least level that is written, by name.
        group: this worker among all.
        where: the worker is at the beginning.
        is_muted: whether a restart replays now.
        told: called with a sentence if lines are lost.
    """
    log = RunLog(run_dir, run, group.rank, level, lambda: where, told)
    log.is_muted = is_muted
    try:
        log.say("worker_began", f"worker {group.rank} of {group.size} begins, from step {where.step}")
        with log.hearing():
            yield log
    finally:
        log.close()


def say_ended(log: RunLog, failure: BaseException | None, step: int) -> None:
    """Write how the program ended, after so many steps (count): by an error, a stop, or at its end."""
    if isinstance(failure, Exception):
        log.say("error", f"{type(failure).__name__}: {failure}", logging.ERROR, failure)
    elif failure is not None:
        log.say("stopped", f"the program was stopped after step {step}, as was asked for")
    else:
        log.say("worker_ended", f"the program came to its end after step {step}")
