"""Unpacks an archive into a folder of its own: whole or not at all, and nowhere else.

Everything goes into a folder beside the target's place that has no link in it until all files are written,
so that nothing can be written through one. The folder gets its name in one step, when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bessemer.data.downloads.entries import ArchiveError, Entry, entries_of
from bessemer.data.downloads.entry_rules import Parts, check_symlinks, hardlink_place, place_of
from bessemer.data.downloads.remote import BLOCK_BYTES
from bessemer.data.downloads.report import StoppedError, Unpacked

# Below it no ratio is suspicious: a small file of zeros packs a thousand to one.
_RATIO_FROM_BYTES = 64 * 2**20
_NOTES_SHOWN = 3
# Not the archive's fault.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.EACCES})


@dataclass(frozen=True)
class Limits:
    """What an archive may become, so that a bomb does not fill the disk.

    Attributes:
        max_bytes: of all files together.
        max_entries: files, folders and links (count).
        max_ratio: bytes of the files to one byte of the archive.
    """

    max_bytes: int
    max_entries: int
    max_ratio: float


@dataclass
class _Written:
    """What has been written so far."""

    num_entries: int = 0
    num_files: int = 0
    num_bytes: int = 0
    folders: set[Parts] = field(default_factory=lambda: {()})
    files: set[Parts] = field(default_factory=set)
    links: dict[Parts, str] = field(default_factory=dict)


def unpack(
    archive: Path,
    folder: Path,
    limits: Limits,
    stop: threading.Event,
    on_progress: Callable[[int], None] = lambda num_bytes: None,
) -> Unpacked:
    """Unpack an archive into an empty folder.

    Args:
        archive: the file.
        folder: where to; empty, or not there.
        limits: that it must keep.
        stop: ends it.
        on_progress: called with the bytes written.

    Raises:
        ArchiveError: it is damaged, or is not unpacked for a reason that it gives.
        StoppedError: it was asked to stop.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unpacking = _Unpacking(archive.stat().st_size, folder, limits, stop, on_progress)
    with _named(folder), entries_of(archive) as entries:
        for entry in entries:
            unpacking.put(entry)
        return unpacking.finish()


class _Unpacking:
    def __init__(
        self,
        archive_bytes: int,
        folder: Path,
        limits: Limits,
        stop: threading.Event,
        on_progress: Callable[[int], None],
    ) -> None:
        self._archive_bytes = max(1, archive_bytes)
        self._folder = folder
        self._limits = limits
        self._stop = stop
        self._on_progress = on_progress
        self._done = _Written()

    def put(self, entry: Entry) -> None:
        """Write one entry."""
        done = self._done
        done.num_entries += 1
        if done.num_entries > self._limits.max_entries:
            raise ArchiveError(
                f"it has more than {self._limits.max_entries:,} entries (data.max_unpacked_entries)"
            )
        place = place_of(entry)
        if entry.kind == "folder":
            self._make_folder(place)
            return
        self._make_folder(place[:-1])
        if place in done.folders:
            raise ArchiveError(f"{entry.name!r} in it is a folder and something else")
        # The same name again takes the place of the first, as tar has it.
        if place in done.files:
            self._path(place).unlink()
            done.files.discard(place)
            done.num_files -= 1
        done.links.pop(place, None)
        done.num_files += 1
        if entry.kind == "symlink":
            done.links[place] = entry.link
            return
        if entry.kind == "hardlink":
            self._link(entry, place)
        else:
            self._write(entry, place)
        done.files.add(place)

    def finish(self) -> Unpacked:
        """Make the symbolic links, now that nothing is written any more."""
        done = self._done
        check_symlinks(done.links)
        for place, target in done.links.items():
            os.symlink(target, self._path(place))
        return Unpacked(self._folder, done.num_files, done.num_bytes, _clashes(done))

    def _make_folder(self, place: Parts) -> None:
        for depth in range(1, len(place) + 1):
            part = place[:depth]
            if part in self._done.folders:
                continue
            if part in self._done.files or part in self._done.links:
                raise ArchiveError(f"{'/'.join(part)!r} in it is a folder and something else")
            self._path(part).mkdir()
            self._done.folders.add(part)

    def _link(self, entry: Entry, place: Parts) -> None:
        first = hardlink_place(entry)
        if first not in self._done.files or first == place:
            raise ArchiveError(f"{entry.name!r} in it is a second name of {entry.link!r}, which it has not")
        os.link(self._path(first), self._path(place), follow_symlinks=False)

    def _write(self, entry: Entry, place: Parts) -> None:
        assert entry.open is not None
        self._check_size(entry.num_bytes)
        mode = 0o755 if entry.is_executable else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle = os.open(self._path(place), flags, mode)
        with os.fdopen(handle, "wb") as file, entry.open() as content:
            while block := content.read(BLOCK_BYTES):
                if self._stop.is_set():
                    raise StoppedError
                self._check_size(len(block))
                file.write(block)
                self._done.num_bytes += len(block)
                self._on_progress(self._done.num_bytes)

    def _check_size(self, num_more: int) -> None:
        total, limits = self._done.num_bytes + num_more, self._limits
        if total > limits.max_bytes:
            raise ArchiveError(
                f"it unpacks to more than {limits.max_bytes:,} bytes (data.max_unpacked_bytes)"
            )
        if total > max(_RATIO_FROM_BYTES, limits.max_ratio * self._archive_bytes):
            raise ArchiveError(
                f"it unpacks to more than {limits.max_ratio:g} times its own {self._archive_bytes:,} bytes "
                "(data.max_unpacked_ratio)"
            )

    def _path(self, place: Parts) -> Path:
        return self._folder.joinpath(*place)


def _clashes(done: _Written) -> tuple[str, ...]:
    """Name what would be one file on a file system that does not tell capital letters from small ones."""
    seen: dict[str, Parts] = {}
    found = []
    for place in sorted([*done.files, *done.folders, *done.links]):
        first = seen.setdefault("/".join(place).casefold(), place)
        if first != place:
            found.append(f"{'/'.join(first)} and {'/'.join(place)}")
    if not found:
        return ()
    more = f" and {len(found) - _NOTES_SHOWN} more" if len(found) > _NOTES_SHOWN else ""
    names = "; ".join(found[:_NOTES_SHOWN])
    return (f"names that differ in capital letters only, one file on some systems: {names}{more}",)


@contextlib.contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Have one error for all that parsers of archives stumble on; leave nothing of what they began."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ArchiveError | StoppedError) or not isinstance(error, Exception):
            raise
        # Damaged archives make the parsers raise whatever comes: KeyError, struct.error, OverflowError...
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        text = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise ArchiveError(f"it is damaged: {text}") from error
