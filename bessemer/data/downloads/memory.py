"""What is known of files and folders that were downloaded, so that large ones are not read again.

It lies under the data folder, in `.bessemer/downloads.json`: of a file its SHA-256, with the size and the
time of change that it had then; of a folder that an archive was unpacked into, the archive's. What the file
system says differently now is not known any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from bessemer.config.section import Section
from bessemer.data.downloads.locks import exclusive

MEMORY_FOLDER = ".bessemer"
MEMORY_FILE = "downloads.json"


class KnownFile(Section):
    """A file whose content is known.

    Attributes:
        num_bytes, changed_ns: size (bytes) and time of change (ns) when it was read.
        sha256: of its content (hex).
        origin: where it came from, fit to be shown; "" if it was there before.
    """

    num_bytes: int
    changed_ns: int
    sha256: str
    origin: str = ""


class KnownFolder(Section):
    """A folder that an archive was unpacked into.

    Attributes:
        archive_sha256: of the archive (hex).
        origin: where the archive came from, fit to be shown.
        inode: of the folder; it stays when the folder is renamed, and tells it from another.
        num_files, num_bytes: what was put there (counts); a copy of the folder is known by them.
    """

    archive_sha256: str
    origin: str
    inode: int
    num_files: int
    num_bytes: int


class _Known(Section):
    files: dict[str, KnownFile] = Field(default_factory=dict)
    folders: dict[str, KnownFolder] = Field(default_factory=dict)


class Memory:
    """Remembers files and folders by their path from the data folder.

    Args:
        folder: the data folder; None to remember nothing beyond this process.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._known = self._read()

    def file(self, path: Path) -> KnownFile | None:
        """Return what is known of a file, if it has not changed since."""
        known = self._known.files.get(self._name(path))
        about = path.stat()
        if known is None or (known.num_bytes, known.changed_ns) != (about.st_size, about.st_mtime_ns):
            return None
        return known

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file (hex), reading it only if it is not known.

        Raises:
            OSError: the file cannot be read.
        """
        known = self.file(path)
        if known is not None:
            return known.sha256
        with path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        self.keep_file(path, found)
        return found

    def keep_file(self, path: Path, sha256: str, origin: str = "") -> None:
        """Remember a file as it is now."""
        about = path.stat()
        known = KnownFile(num_bytes=about.st_size, changed_ns=about.st_mtime_ns, sha256=sha256, origin=origin)
        self._change(lambda all_known: all_known.files.update({self._name(path): known}))

    def folder(self, path: Path) -> KnownFolder | None:
        """Return which archive a folder was unpacked from, if it is still that folder, or a copy of it."""
        known = self._known.folders.get(self._name(path))
        if known is None or not path.is_dir():
            return None
        if path.stat().st_ino != known.inode and not _has(path, known.num_files, known.num_bytes):
            return None
        return known

    def keep_folder(self, path: Path, known: KnownFolder) -> None:
        """Remember a folder, before it has its name."""
        self._change(lambda all_known: all_known.folders.update({self._name(path): known}))

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self._folder or "/")

    def _change(self, change: Callable[[_Known], Any]) -> None:
        with self._mutex:
            if self._folder is None:
                change(self._known)
                return
            place = self._folder / MEMORY_FOLDER
            # A folder that cannot be written holds good data all the same.
            with contextlib.suppress(OSError):
                place.mkdir(parents=True, exist_ok=True)
                with exclusive(place / f"{MEMORY_FILE}.lock", time.sleep):
                    known = self._read()  # with what other processes have added
                    change(known)
                    new = place / f"{MEMORY_FILE}.new"
                    new.write_text(known.model_dump_json(indent=1) + "\n", encoding="utf-8")
                    new.replace(place / MEMORY_FILE)
            change(self._known)

    def _read(self) -> _Known:
        if self._folder is None:
            return _Known()
        try:
            text = (self._folder / MEMORY_FOLDER / MEMORY_FILE).read_text(encoding="utf-8")
            return _Known.model_validate_json(text)
        except (OSError, ValueError, ValidationError):
            return _Known()


def _has(folder: Path, num_files: int, num_bytes: int) -> bool:
    """Tell whether a folder has as many files and bytes as were put there; more does not matter."""
    sizes = [
        os.lstat(os.path.join(root, name)).st_size for root, _, names in os.walk(folder) for name in names
    ]
    return len(sizes) >= num_files and sum(sizes) >= num_bytes
