"""What `bessemer data download` does: the files of the settings, then the project's `download(settings)`."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console

from bessemer.config.project import Project
from bessemer.config.settings import Settings
from bessemer.data.downloads.report import DownloadReport
from bessemer.data.downloads.show import shown_on, summary_of
from bessemer.data.downloads.stage import download, look, means_for
from bessemer.data.fetching import fetching_with
from bessemer.errors import BessemerError, DataError, UserError


def run_download(
    console: Console,
    project: Project,
    settings: Settings,
    own: Callable[[Settings], Any] | None,
    is_offline: bool = False,
    is_forced: bool = False,
) -> DownloadReport:
    """Download all that a project needs, and show it.

    Args:
        console: where it is shown.
        project: the project.
        settings: its settings.
        own: the project's function, which may call `fetch`; None if it has none.
        is_offline: fetch nothing, and fail if a file of the settings is missing.
        is_forced: fetch again what is there.

    Raises:
        UserError: the settings or options cannot be meant so.
        DataError: not everything could be got.
    """
    if is_offline and is_forced:
        raise UserError(
            "--offline and --force contradict each other",
            expected="one of them",
            todo="leave out --offline to fetch again",
        )

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    room = f"{project.package_dir.name}/data/preprocessing.py of project {project.name}"
    data = settings.data
    if not data.files and own is None:
        say(f"nothing to download: {room} defines no download(settings), and data.files is empty")
        return DownloadReport()
    with shown_on(console) as listener:
        means = means_for(data, listener, is_forced)
        if is_offline:
            report = look(data, means)
            say(f"nothing of data.files is missing: {len(report.files)} there")
            if own is not None:
                say(
                    f"what download(settings) in {room} fetches is not known: it is not called with --offline"
                )
            return report
        report = download(data, means)
        if own is not None:
            with fetching_with(data, means) as fetched, _named(room):
                own(settings)
            report = DownloadReport((*report.files, *fetched))
    summary = f": {summary_of(report)}" if report.files else ""
    say(f"download of {project.name} is done{summary}")
    return report


@contextlib.contextmanager
def _named(room: str) -> Iterator[None]:
    """Say where the project's own code failed; what it raises on purpose through `fetch` is said already."""
    try:
        yield
    except BessemerError:
        raise
    except Exception as error:
        frames = [x for x in traceback.extract_tb(error.__traceback__) if x.filename != __file__]
        place = next((x for x in reversed(frames) if x.filename == frames[0].filename), None)
        line = f", line {place.lineno}: {place.line}" if place is not None else ""
        raise DataError(
            f"download(settings) in {room} failed{line}\n{type(error).__name__}: {error}",
            expected="a function that returns when all it fetches is there",
            todo="bessemer --debug data download shows where it came from",
        ) from error
