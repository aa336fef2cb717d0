"""The files of a source: found once, by name, folder or pattern, and opened where they are read.

What is remote is reached through fsspec, by its URL; credentials and endpoints come from the environment,
as `AWS_ACCESS_KEY_ID` and `AWS_ENDPOINT_URL` do. A local file that has changed since it was found is
refused; to ask for the tag of a remote one each time would cost as much as a small read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import fsspec

from bessemer.errors import BessemerError, DataError, UserError

_REMOTE_BLOCK_BYTES = 2**20
_MAGIC = "*?["


@dataclass(frozen=True)
class File:
    """One file, and what it was when it was found.

    Attributes:
        path: absolute, or a URL.
        name: below the folder or pattern that it was found by; for messages and rows.
        num_bytes: its size (bytes).
        tag: changes with its content: an ETag, or the time of its last change.
    """

    path: str
    name: str
    num_bytes: int
    tag: str

    @property
    def is_local(self) -> bool:
        """Whether it lies in this machine's file system."""
        return "://" not in self.path

    @contextlib.contextmanager
    def open(self, cache: str = "readahead") -> Iterator[IO[bytes]]:
        """Open it to read; errors of reading it become a `DataError` with its name.

        Args:
            cache: how a remote file is read ahead, in fsspec's words; "none" where ranges are known.

        Raises:
            DataError: it cannot be read, or is not what was found.
        """
        with self.reading():
            if self.is_local:
                found = os.stat(self.path)
                if (found.st_size, str(found.st_mtime_ns)) != (self.num_bytes, self.tag):
                    raise DataError(
                        f"{self.path} has changed since it was opened",
                        expected=f"{self.num_bytes:,} bytes, as it had",
                        todo="start again when nothing writes to it",
                    )
                with open(self.path, "rb") as file:
                    yield file
                return
            system, path = filesystem(self.path)
            more = {"size": self.num_bytes, "block_size": _REMOTE_BLOCK_BYTES, "cache_type": cache}
            with system.open(path, "rb", **more) as file:
                yield file

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Read a range of it.

        Args:
            start: first byte.
            stop: byte to end before; None for its end.

        Raises:
            DataError: it cannot be read, or has fewer bytes.
        """
        stop = self.num_bytes if stop is None else stop
        with self.reading():
            if self.is_local:
                with self.open() as file:
                    file.seek(start)
                    found = file.read(stop - start)
            elif start < stop:
                system, path = filesystem(self.path)
                found = system.cat_file(path, start=start, end=stop)
            else:
                found = b""
            if len(found) != stop - start:
                raise DataError(f"{self.path} ends after {start + len(found):,} bytes", f"{stop:,} or more")
            return found

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what goes wrong with the file system into a `DataError` that names this file."""
        try:
            yield
        except Exception as error:
            if isinstance(error, BessemerError) or not _is_of_reading(error):
                raise
            raise DataError(
                f"{self.path} cannot be read: {str(error) or type(error).__name__}",
                expected="a whole file that may be read",
                todo="make it again, or leave it out of the pattern",
            ) from error


def find_files(path: str, suffixes: Sequence[str] = ()) -> tuple[File, ...]:
    """Find what a file name, a folder or a pattern stands for, sorted by path.

    Args:
        path: local or a URL; of a folder all files in it and below count, hidden ones do not.
        suffixes: ends of names that count in a folder, such as `.csv`; none: all.

    Raises:
        UserError: there is no such file; says what was looked for.
        DataError: the place cannot be reached.
    """
    system, root = filesystem(path)
    with _looking(path):
        found, base = _found(system, root, suffixes)
    files = [_file(system, path, base, name, info) for name, info in sorted(found.items())]
    if not files:
        wanted = " or ".join(f"*{suffix}" for suffix in suffixes)
        inside = f" with {wanted} in it" if wanted else ""
        raise UserError(
            f"no file matches {path}",
            expected=f"a file, a pattern, or a folder{inside}; looked in {_shown(system, root)}",
            todo="correct the path in settings.toml, or make the data: bessemer data download",
        )
    return tuple(files)


def filesystem(path: str) -> tuple[Any, str]:
    """Return the file system of a path, and the path in it.

    Raises:
        UserError: nothing that is installed reads such URLs.
    """
    try:
        system, inside = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"{path} cannot be opened: {error}",
            expected="a local path, or a URL of a kind that fsspec knows",
            todo="for s3:// install bessemer[s3], for gs:// bessemer[gs]",
        ) from error
    return system, str(inside)


def fingerprint_of(files: Sequence[File], *more: object) -> str:
    """Hash names, sizes and tags of files, and what else is given.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(repr(more).encode())
    for file in files:
        digest.update(f"{file.name}\0{file.num_bytes}\0{file.tag}\n".encode())
    return digest.hexdigest()[:16]


def _found(system: Any, root: str, suffixes: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Return what is known of each file by its path, and the folder that names are told from."""
    if any(sign in root for sign in _MAGIC) and not system.exists(root):
        found = system.glob(root, detail=True)
        base = root[: min(root.find(sign) for sign in _MAGIC if sign in root)].rpartition("/")[0]
        return {name: info for name, info in found.items() if info["type"] == "file"}, base
    if not system.exists(root):
        return {}, root
    if system.isdir(root):
        below = system.find(root, detail=True)
        base = root.rstrip("/")
        kept = {
            name: info
            for name, info in below.items()
            if not any(part.startswith(".") for part in name.removeprefix(base).split("/"))
            and (not suffixes or name.lower().endswith(tuple(suffixes)))
        }
        return kept, base
    return {root: system.info(root)}, root.rpartition("/")[0]


def _file(system: Any, asked: str, base: str, name: str, info: dict[str, Any]) -> File:
    local = "://" not in asked or asked.startswith(("file://", "local://"))
    if local:
        tag = str(os.stat(name).st_mtime_ns)
    else:
        known = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated")
        tag = next((str(info[key]).strip('"') for key in known if info.get(key)), "")
    path = name if local else system.unstrip_protocol(name)
    return File(path, name.removeprefix(base).lstrip("/"), int(info["size"] or 0), tag)


def _is_of_reading(error: Exception) -> bool:
    own = type(error).__module__.partition(".")[0] in ("botocore", "aiohttp", "fsspec", "zlib")
    return own or isinstance(error, OSError | EOFError | ValueError)


@contextlib.contextmanager
def _looking(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each file system has errors of its own, such as botocore's
        raise DataError(
            f"{path} cannot be listed: {str(error) or type(error).__name__}",
            expected="a place that can be reached and may be read",
            todo="check its name, the credentials and the endpoint (AWS_ENDPOINT_URL for S3)",
        ) from error


def _shown(system: Any, root: str) -> str:
    return root if "file" in system.protocol else str(system.unstrip_protocol(root))
