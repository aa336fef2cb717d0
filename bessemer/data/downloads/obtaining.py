"""Gets one file: sees whether it is there, asks one place after another, checks what came, and unpacks it.

Whoever gets a file holds its lock, so of two processes that want the same one waits, and then finds it there.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bessemer.data.downloads.addresses import digest_of, shown
from bessemer.data.downloads.entries import ArchiveError
from bessemer.data.downloads.locks import exclusive
from bessemer.data.downloads.memory import KnownFolder, Memory
from bessemer.data.downloads.part import Origin, Part
from bessemer.data.downloads.plan import Wanted
from bessemer.data.downloads.remote import PlaceError
from bessemer.data.downloads.report import FileReport, Listener, StoppedError
from bessemer.data.downloads.transfer import Patience, Transfer
from bessemer.data.downloads.unpacking import Limits, unpack
from bessemer.errors import DataError

# A place behind which there is another is borne with for less.
_TRIES_BEFORE_THE_NEXT = 3


@dataclass(frozen=True)
class Means:
    """What all files of a download share.

    Attributes:
        memory: of files that are known.
        listener: is told what happens.
        limits: of what archives may become.
        patience: with places.
        is_forced: whether what is there is fetched again.
        stop: ends everything.
    """

    memory: Memory
    limits: Limits
    listener: Listener = field(default_factory=Listener)
    patience: Patience = field(default_factory=Patience)
    is_forced: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def sleep(self, seconds: float) -> None:
        """Wait, unless all is to stop."""
        if self.stop.wait(seconds):
            raise StoppedError


def obtain(wanted: Wanted, means: Means) -> FileReport:
    """Get a file, unless it is there.

    Raises:
        DataError: no place gives it, it is not what its checksum says, or it cannot be unpacked.
        StoppedError: all was asked to stop.
    """
    report = None
    try:
        with _errors_of_disk(wanted.target):
            if not means.is_forced:
                report = present(wanted, means)
            if report is None:
                report = _fetch_alone(wanted, means)
            if wanted.unpack is not None:
                with _errors_of_disk(wanted.unpack):
                    report = _unpack_alone(wanted, wanted.unpack, report, means)
    finally:
        means.listener.ended(wanted.name, report)
    return report


def present(wanted: Wanted, means: Means) -> FileReport | None:
    """Return a report of what is there already; None if the file is not.

    Raises:
        DataError: something else is there.
        OSError: it cannot be read.
    """
    memory, target = means.memory, wanted.target
    known = memory.folder(wanted.unpack) if wanted.unpack is not None else None
    if known is not None and not target.exists():
        # Whoever needs the room may delete an archive that was unpacked.
        origins = {shown(place) for place in wanted.places}
        if known.archive_sha256 == wanted.sha256 or (not wanted.sha256 and known.origin in origins):
            return FileReport(target, "unpacked", sha256=known.archive_sha256, folder=wanted.unpack)
    if not target.exists():
        return None
    if not target.is_file():
        raise DataError(
            f"{target} is there and is no file", expected="a file, or nothing", todo="give another target"
        )
    size = target.stat().st_size
    if not wanted.sha256:
        found = memory.file(target)
        return FileReport(target, "there", size, place=found.origin if found else "", folder=wanted.unpack)
    if memory.file(target) is None:
        means.listener.activity(wanted.name, "checking")
    sha256 = memory.sha256(target)
    if sha256 != wanted.sha256:
        raise DataError(
            f"{target} has the SHA-256 {sha256}",
            expected=f"{wanted.sha256}, which is that of {shown(wanted.places[-1])}",
            todo="delete it and download again (bessemer data download --force does both), or correct "
            "the checksum",
        )
    return FileReport(target, "there", size, sha256, is_checked=True, folder=wanted.unpack)


def _fetch_alone(wanted: Wanted, means: Means) -> FileReport:
    target = wanted.target
    target.parent.mkdir(parents=True, exist_ok=True)

    def waits() -> None:
        means.listener.note(wanted.name, "another process fetches it; waiting for that")

    with exclusive(target.with_name(f".{target.name}.lock"), means.sleep, waits):
        report = None if means.is_forced else present(wanted, means)  # another process may have got it
        return report or _fetch(wanted, means)


def _fetch(wanted: Wanted, means: Means) -> FileReport:
    skipped: list[str] = []
    wrong: list[str] = []
    for number, place in enumerate(wanted.places, 1):
        is_last = number == len(wanted.places)
        part = Part(wanted.target)
        try:
            report = _fetch_from(place, part, wanted, means, is_last)
            if not wanted.sha256 or report.sha256 == wanted.sha256:
                part.finish()
                means.memory.keep_file(wanted.target, report.sha256, shown(place))
                return replace(report, skipped=tuple(skipped))
            part.discard()
            wrong.append(report.sha256)
            reason = f"what it gives has the SHA-256 {report.sha256}"
        except PlaceError as error:
            reason = error.reason
        finally:
            part.close(bool(wanted.sha256))
        skipped.append(f"{shown(place)}: {reason}")
        if not is_last:
            means.listener.note(wanted.name, f"{skipped[-1]}; asking the next place")
    raise _nowhere(wanted, skipped, wrong)


def _fetch_from(place: str, part: Part, wanted: Wanted, means: Means, is_last: bool) -> FileReport:
    patience = means.patience
    if not is_last:
        patience = replace(patience, num_tries=min(patience.num_tries, _TRIES_BEFORE_THE_NEXT))
    begun = time.monotonic()
    transfer = Transfer(
        place,
        part,
        bool(wanted.sha256),
        patience,
        means.stop,
        lambda here, total: means.listener.progress(wanted.name, here, total),
        lambda text: means.listener.note(wanted.name, text),
    )
    done = transfer.run()
    if wanted.sha256 and part.sha256 != wanted.sha256 and done.num_received_bytes < part.num_bytes:
        # Some of it was here before: the file may have changed since, with nothing that told it.
        means.listener.note(wanted.name, "the parts do not make what the checksum says; fetched anew")
        part.begin(Origin(digest_of(place)))
        done = transfer.run()
    return FileReport(
        wanted.target,
        "fetched",
        part.num_bytes,
        part.sha256,
        is_checked=bool(wanted.sha256),
        place=shown(place),
        num_received_bytes=done.num_received_bytes,
        num_resumed_bytes=max(0, part.num_bytes - done.num_received_bytes),
        duration_s=time.monotonic() - begun,
        folder=wanted.unpack,
    )


def _nowhere(wanted: Wanted, skipped: list[str], wrong: list[str]) -> DataError:
    if len(wrong) == len(wanted.places) == 1:
        return DataError(
            f"{shown(wanted.places[0])} has the SHA-256 {wrong[0]}",
            expected=f"{wanted.sha256}, as the settings or the program say",
            todo="correct the checksum if the file has changed for good; nothing was kept",
        )
    where = skipped[0] if len(skipped) == 1 else "\n".join(["none of its places gives it", *skipped])
    expected = f"what is put into {wanted.target}"
    if wrong:
        expected += f", with the SHA-256 {wanted.sha256}"
    return DataError(
        where.replace(": ", " cannot be fetched: ", 1) if len(skipped) == 1 else f"{wanted.name}: {where}",
        expected=expected,
        todo=f"fetch it yourself and put it there, if it has moved: {wanted.target.absolute()}",
    )


def _unpack_alone(wanted: Wanted, folder: Path, report: FileReport, means: Means) -> FileReport:
    if report.status == "unpacked" or _is_unpacked(folder, report, wanted, means):
        return report
    folder.parent.mkdir(parents=True, exist_ok=True)

    def waits() -> None:
        means.listener.note(wanted.name, f"another process unpacks it into {folder}; waiting for that")

    with exclusive(folder.with_name(f".{folder.name}.lock"), means.sleep, waits):
        if _is_unpacked(folder, report, wanted, means):  # another process may have done it
            return report
        _check_replaceable(folder, means.memory.folder(folder), means.is_forced)
        sha256 = report.sha256 or means.memory.sha256(wanted.target)
        return _unpack(wanted, folder, replace(report, sha256=sha256), means)


def _is_unpacked(folder: Path, report: FileReport, wanted: Wanted, means: Means) -> bool:
    known = None if means.is_forced else means.memory.folder(folder)
    return known is not None and known.archive_sha256 == (report.sha256 or means.memory.sha256(wanted.target))


def _check_replaceable(folder: Path, known: KnownFolder | None, is_forced: bool) -> None:
    """See that nothing is in a folder, or what an archive left there if that is to be replaced."""
    is_empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if is_empty or (known is not None and is_forced):
        return
    if known is not None:
        raise DataError(
            f"{folder} was unpacked from another archive, with the SHA-256 {known.archive_sha256}",
            expected="the folder of this archive, or none",
            todo=f"bessemer data download --force replaces {folder}, with all that was added to it",
        )
    raise DataError(
        f"{folder} is there, and was not unpacked here",
        expected="an empty folder, or none",
        todo="move it away, or give another folder as unpack",
    )


def _unpack(wanted: Wanted, folder: Path, report: FileReport, means: Means) -> FileReport:
    new, old = folder.with_name(f".{folder.name}.unpacking"), folder.with_name(f".{folder.name}.old")
    for left in (new, old):  # by a process that was killed
        if left.exists():
            shutil.rmtree(left)
    means.listener.activity(wanted.name, "unpacking")
    try:
        unpacked = unpack(
            wanted.target,
            new,
            means.limits,
            means.stop,
            lambda num_bytes: means.listener.activity(wanted.name, f"unpacking, {num_bytes:,} bytes"),
        )
    except ArchiveError as error:
        raise DataError(
            f"{wanted.target} is not unpacked: {error}",
            expected="an archive that is whole and stays in its folder",
            todo="see where it comes from; nothing of it was left",
        ) from error
    if folder.exists():
        folder.rename(old)
    known = KnownFolder(
        archive_sha256=report.sha256,
        origin=report.place,
        inode=new.stat().st_ino,
        num_files=unpacked.num_files,
        num_bytes=unpacked.num_bytes,
    )
    # Before it has its name: a folder that is there and is not known would be taken for the user's own.
    means.memory.keep_folder(folder, known)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    for text in unpacked.notes:
        means.listener.note(wanted.name, text)
    return replace(report, unpacked=replace(unpacked, folder=folder))


@contextlib.contextmanager
def _errors_of_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
        raise DataError(
            f"{path} cannot be written: {reason}{where}",
            expected="a folder that can be written, with room",
            todo="make room or correct the path; what has come so far is gone on with",
        ) from error
