"""The base of a merge: what conversion wrote last, kept in the project as `.bessemer/base.zip`.

One packed file, so that nothing which looks for Python files, imports or words in a project (ruff, mypy,
pytest, an editor) meets each of its files twice.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

FILE = ".bessemer/base.zip"


def packed(files: Mapping[str, bytes]) -> bytes:
    """Pack files, given by their path inside the project. The same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            # Without a date of its own it has that of 1980, which ZIP begins with.
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def read(out: Path) -> dict[str, bytes] | None:
    """Return what conversion wrote into a project, by path; None if that is not there, or broken."""
    try:
        with zipfile.ZipFile(out / FILE) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
        return None
