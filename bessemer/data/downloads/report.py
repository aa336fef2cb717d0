"""What came of a download, as values, and who is told while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["fetched", "there", "unpacked"]


class StoppedError(Exception):
    """A download was asked to stop; what is here stays for the next one."""


@dataclass(frozen=True)
class Unpacked:
    """What an archive gave.

    Attributes:
        folder: it was unpacked into.
        num_files: regular files and links (count).
        num_bytes: of all files together.
        notes: what is worth knowing, such as names that differ in capital letters only.
    """

    folder: Path
    num_files: int
    num_bytes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileReport:
    """What came of one file.

    Attributes:
        path: of the file.
        status: fetched now; there before; unpacked: only the folder of the archive is there, and is enough.
        num_bytes: its size.
        sha256: of its content (hex); "" if it was there and nobody asked.
        is_checked: whether a checksum was given, and holds.
        place: that it came from, fit to be shown; "" if it was there and that is not known.
        skipped: places that did not give it, with the reason.
        num_received_bytes: that came over the line now.
        num_resumed_bytes: that an earlier call had left.
        duration_s: of the fetching (seconds).
        unpacked: what the archive gave now; None if nothing was unpacked.
        folder: that the archive is unpacked into; None if it is not to be.
    """

    path: Path
    status: Status
    num_bytes: int = 0
    sha256: str = ""
    is_checked: bool = False
    place: str = ""
    skipped: tuple[str, ...] = ()
    num_received_bytes: int = 0
    num_resumed_bytes: int = 0
    duration_s: float = 0.0
    unpacked: Unpacked | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class DownloadReport:
    """What came of a download: the files in the order of the settings."""

    files: tuple[FileReport, ...] = ()

    @property
    def num_fetched(self) -> int:
        """Files that were fetched now (count)."""
        return sum(file.status == "fetched" for file in self.files)

    @property
    def num_received_bytes(self) -> int:
        """Bytes that came over the line now."""
        return sum(file.num_received_bytes for file in self.files)


class Listener:
    """Is told what happens, from several threads; this one says nothing. `show.py` has those that do."""

    def progress(self, name: str, num_bytes: int, total_bytes: int | None) -> None:
        """Bytes of a file are here."""

    def activity(self, name: str, text: str) -> None:
        """Something else is done with a file, that may take a while: it is checked, or unpacked."""

    def note(self, name: str, text: str) -> None:
        """Something that the user should know about a file."""

    def ended(self, name: str, report: FileReport | None) -> None:
        """A file is done; without a report, it failed."""
