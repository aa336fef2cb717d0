"""Reads archives: what is in them, one entry after another, as they say it. Nothing is written here.

zip, tar, tar packed with gzip, bzip2, xz or zstd, and a single file packed with one of them. The kind is told
by the content, not by the name. What an entry may be and where it may go is judged in `entry_rules.py`.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, Self

Kind = Literal["file", "folder", "symlink", "hardlink", "other"]

_ENCRYPTED = 0x1
# What servers send in place of a file, to have somebody log in or agree.
_WEB_PAGES = (b"<!doctype html", b"<html", b"<?xml")
_MOST_LINK_BYTES = 4096
_TAR_BLOCK_BYTES = 512
_TAR_NAME = re.compile(r"\.(tar|tgz|tbz2?|txz|tzst)\b")


class ArchiveError(Exception):
    """An archive that cannot be unpacked, with the reason in words."""


@dataclass(frozen=True)
class Entry:
    """One entry of an archive.

    Attributes:
        name: with slashes, as the archive has it.
        kind: a file with content; a folder; a symbolic link; a second name of a file; anything else.
        num_bytes: size of its content as the archive says, which need not be true.
        link: what a link points to.
        is_executable: whether its owner may run it.
        open: gives its content, until the next entry is asked for.
    """

    name: str
    kind: Kind
    num_bytes: int = 0
    link: str = ""
    is_executable: bool = False
    open: Callable[[], IO[bytes]] | None = None


@contextlib.contextmanager
def entries_of(archive: Path) -> Iterator[Iterator[Entry]]:
    """Open an archive.

    Raises:
        ArchiveError: it is none; whatever its parsers stumble on is raised as they raise it.
    """
    with archive.open("rb") as file, contextlib.ExitStack() as stack:
        start = file.read(_TAR_BLOCK_BYTES)
        file.seek(0)
        unpacker = _unpacker_of(start)
        if unpacker is not None:
            with unpacker(file) as content:
                is_tar = _is_tar(content.read(_TAR_BLOCK_BYTES), archive.name)
            file.seek(0)
            content = stack.enter_context(unpacker(file))
            if not is_tar:
                yield iter([Entry(_single_name(archive), "file", open=lambda: content)])
                return
            # As a stream: to go back would mean to unpack all of it again.
            tar = stack.enter_context(tarfile.open(fileobj=content, mode="r|", tarinfo=_Header))
        elif _is_tar(start, archive.name):
            tar = stack.enter_context(tarfile.open(fileobj=file, mode="r:", tarinfo=_Header))
        elif zipfile.is_zipfile(archive):
            # Last: a tar may end in a zip, and looks like one then.
            yield _of_zip(stack.enter_context(zipfile.ZipFile(archive)))
            return
        else:
            what = (
                "a web page"
                if start.lstrip().lower().startswith(_WEB_PAGES)
                else "nothing that is known here"
            )
            raise ArchiveError(f"it is no archive (zip, tar, gz, bz2, xz or zst), but {what}")
        yield _of_tar(tar)


def _unpacker_of(start: bytes) -> Callable[[IO[bytes]], Any] | None:
    if start.startswith(b"\x1f\x8b"):
        return gzip.open
    if start.startswith(b"BZh"):
        return bz2.open
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.open
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd
    return None


@contextlib.contextmanager
def _zstd(file: IO[bytes]) -> Iterator[Any]:
    # Python has zstd from 3.14 on; Arrow always has it.
    import pyarrow

    # It would close the file, which is read twice.
    with pyarrow.CompressedInputStream(pyarrow.PythonFile(_Unclosed(file), mode="r"), "zstd") as content:
        yield content


class _Unclosed:
    """A file whose `close` does nothing."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self.closed = True


class _Header(tarfile.TarInfo):
    """The header of an entry. `tarfile` takes a damaged one for the end of the archive, and says nothing."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise ArchiveError(f"it is damaged: {error}") from error


def _is_tar(block: bytes, name: str) -> bool:
    """Tell whether the first block of a file is the header of a tar, or the end of an empty one."""
    if len(block) == _TAR_BLOCK_BYTES and not any(block):
        return _TAR_NAME.search(name.lower()) is not None  # any file may begin with zeros
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _single_name(archive: Path) -> str:
    """Return the name of the file that was packed alone: that of the archive without the last ending."""
    return (
        archive.stem if archive.suffix in (".gz", ".bz2", ".xz", ".zst", ".gzip") else f"{archive.name}.out"
    )


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        if info.flag_bits & _ENCRYPTED:
            raise ArchiveError(f"{info.filename!r} in it is encrypted, and no password can be given")
        mode = info.external_attr >> 16
        # Archives made under Windows may have its separator.
        name = info.filename.replace("\\", "/")
        kind = _kind_of_mode(mode)
        if name.endswith("/"):
            kind = "folder"
        link = ""
        if kind == "symlink":
            if info.file_size > _MOST_LINK_BYTES:
                raise ArchiveError(f"{name!r} in it is a link with a target of {info.file_size:,} bytes")
            with archive.open(info) as content:
                link = content.read(_MOST_LINK_BYTES).decode("utf-8", "surrogateescape")
        yield Entry(
            name,
            kind,
            info.file_size,
            link,
            bool(mode & stat.S_IXUSR),
            partial(archive.open, info),
        )


def _kind_of_mode(mode: int) -> Kind:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return "symlink"
    if kind == stat.S_IFDIR:
        return "folder"
    return "file" if kind in (0, stat.S_IFREG) else "other"


def _of_tar(archive: tarfile.TarFile) -> Iterator[Entry]:
    for info in archive:
        archive.members.clear()  # type: ignore[attr-defined]  # millions of them need much memory
        kind: Kind = "other"
        if info.isreg() or info.type == tarfile.GNUTYPE_SPARSE:
            kind = "file"
        elif info.isdir():
            kind = "folder"
        elif info.issym():
            kind = "symlink"
        elif info.islnk():
            kind = "hardlink"
        yield Entry(
            info.name,
            kind,
            info.size if kind == "file" else 0,
            info.linkname,
            bool(info.mode & stat.S_IXUSR),
            partial(_content, archive, info),
        )


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    if content is None:
        raise ArchiveError(f"{info.name!r} in it has no content")
    return content
