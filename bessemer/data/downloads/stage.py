"""The stage `download`: all files of the settings, several at a time.

A file that fails does not stop the others, and all failures are told together. Ctrl-C stops them all; what
has come so far is gone on with by the next call.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bessemer.config.data_settings import Data
from bessemer.data.downloads.addresses import shown
from bessemer.data.downloads.memory import Memory
from bessemer.data.downloads.obtaining import Means, obtain, present
from bessemer.data.downloads.plan import Wanted, wanted_files
from bessemer.data.downloads.report import DownloadReport, FileReport, Listener, StoppedError
from bessemer.data.downloads.transfer import Patience
from bessemer.data.downloads.unpacking import Limits
from bessemer.errors import DataError

_LONGEST_GOODBYE_S = 3.0
_LOOK_EVERY_S = 0.2


def means_for(data: Data, listener: Listener, is_forced: bool = False) -> Means:
    """Return what files of these settings are got with."""
    limits = Limits(data.max_unpacked_bytes, data.max_unpacked_entries, data.max_unpacked_ratio)
    return Means(Memory(Path(data.folder)), limits, listener, Patience(), is_forced)


def download(data: Data, means: Means) -> DownloadReport:
    """Get all files of the settings.

    Args:
        data: the settings.
        means: what they are got with; see `means_for`.

    Raises:
        SettingsError: the settings cannot be meant so; nothing was fetched.
        DataError: files could not be got; names all of them.
    """
    wanted = wanted_files(data)
    results = _in_parallel(wanted, means, data.parallel)
    errors = [result for result in results if isinstance(result, Exception)]
    if errors:
        raise _together(errors, len(wanted))
    return DownloadReport(tuple(result for result in results if isinstance(result, FileReport)))


def look(data: Data, means: Means) -> DownloadReport:
    """See what is there, and fetch nothing; an archive that is there is unpacked.

    Raises:
        SettingsError: the settings cannot be meant so.
        DataError: files are missing or are not what they must be; names all of them.
    """
    reports, missing, errors = [], [], []
    for wanted in wanted_files(data):
        try:
            is_there = present(wanted, means) is not None
            if is_there:
                reports.append(obtain(wanted, means))
            else:
                missing.append(wanted)
        except DataError as error:
            errors.append(error)
        except OSError as error:
            errors.append(DataError(f"{wanted.target} cannot be read: {error.strerror or error}"))
    if missing:
        lines = [f"{file.target} (from {_sources(file)})" for file in missing]
        errors.insert(
            0,
            DataError(
                "\n".join([f"{len(missing)} of {len(data.files)} files are missing:", *lines]),
                expected="all files, since nothing is fetched with --offline",
                todo="run bessemer data download without --offline, or put them there",
            ),
        )
    if errors:
        raise _together(errors, len(data.files))
    return DownloadReport(tuple(reports))


def _sources(wanted: Wanted) -> str:
    return " or ".join(shown(place) for place in wanted.places)


def _in_parallel(wanted: Sequence[Wanted], means: Means, num_threads: int) -> list[FileReport | Exception]:
    results: dict[int, FileReport | Exception] = {}
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(wanted)):
        todo.put(number)

    def work(is_done: threading.Event) -> None:
        try:
            while not means.stop.is_set():
                number = todo.get_nowait()
                try:
                    results[number] = obtain(wanted[number], means)
                except StoppedError:
                    return
                except Exception as error:
                    results[number] = error
        except queue.Empty:
            return
        finally:
            is_done.set()

    # Not `Thread.join`: until Python 3.13, one that Ctrl-C interrupts takes the thread for ended.
    ends = [threading.Event() for _ in range(min(num_threads, len(wanted)))]
    try:
        for number, is_done in enumerate(ends):
            # Daemons: one that waits for a silent server must not keep the command from ending.
            threading.Thread(target=work, args=[is_done], name=f"download-{number}", daemon=True).start()
        while not all(is_done.wait(_LOOK_EVERY_S) for is_done in ends):
            pass
    except BaseException:
        means.stop.set()
        until = time.monotonic() + _LONGEST_GOODBYE_S
        for is_done in ends:
            is_done.wait(max(0.0, until - time.monotonic()))
        raise
    return [results[number] for number in sorted(results)]


def _together(errors: Sequence[Exception], num_files: int) -> Exception:
    """Make one error of several; what is no DataError is a fault of ours, and comes first."""
    for error in errors:
        if not isinstance(error, DataError):
            return error
    if len(errors) == 1:
        return errors[0]
    told = [error for error in errors if isinstance(error, DataError)]
    todos = dict.fromkeys(error.todo for error in told if error.todo)
    return DataError(
        "\n".join(
            [f"{len(told)} of {num_files} files could not be got:"]
            + [
                "- " + "\n  ".join([*error.found.splitlines(), f"expected: {error.expected}"])
                for error in told
            ]
        ),
        todo="; ".join(todos) if len(todos) == 1 else "each is told above; the other files are here",
    )
