"""Fetches a file once: whole or not at all, with a checksum where one is known.

What the `download(settings)` of a project calls. The files of the settings take the same way
(`data/downloads/stage.py`). While `bessemer data download` runs, its mirror, its memory of files that are
there, and its screen are used here too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bessemer.config.data_settings import Data
from bessemer.data.downloads.memory import Memory
from bessemer.data.downloads.obtaining import Means, obtain
from bessemer.data.downloads.plan import wanted_file
from bessemer.data.downloads.report import FileReport
from bessemer.data.downloads.show import Lines
from bessemer.data.downloads.stage import means_for

# Of the process, not of a thread: a project may fetch in threads of its own.
_current: list[tuple[Data, Means, list[FileReport]]] = []


def fetch(url: str, target: str | os.PathLike[str], sha256: str = "") -> Path:
    """Put what a URL gives into a file, unless the file is there.

    Args:
        url: `http`, `https`, `ftp`, `s3`, `gs`, `file`, or whatever else fsspec opens; `package:NAME/PATH`
            for a file of an installed package.
        target: the file; its folder is made.
        sha256: of its content, in hex; "" if it is not known.

    Returns:
        The file.

    Raises:
        DataError: it cannot be fetched, or its content is not what the checksum says.
        SettingsError: nothing opens such a URL.
    """
    path = Path(target)
    if _current:
        data, means, reports = _current[-1]
    else:
        data = Data()
        # What is there is read again each time: beside the data of others nothing is left behind.
        means, reports = replace(means_for(data, Lines()), memory=Memory(None)), []
    wanted = wanted_file(url, path, sha256, data.mirror, Path(data.folder))
    report = obtain(wanted, means)
    reports.append(report)
    return path


@contextlib.contextmanager
def fetching_with(data: Data, means: Means) -> Iterator[list[FileReport]]:
    """Have `fetch` use these settings and means, and yield the list that its reports are added to."""
    reports: list[FileReport] = []
    _current.append((data, means, reports))
    try:
        yield reports
    finally:
        _current.pop()
