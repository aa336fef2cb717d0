"""The objects under a URL: read, written whole, created once, listed.

A thin layer over fsspec for the few things that a run needs. An object is put in one piece, so whoever
reads it sees the old one or the new one; nothing is renamed, which object storage does by copying. While
the storage does not answer, an operation is tried again for a bounded time.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from bessemer.errors import StorageError
from bessemer.training.urls import named, opened, patiently
from bessemer.utils.files import write_whole

_T = TypeVar("_T")

# A preflight is not for those who wait: an address that swallows packets is found within this time.
_CHECK_WITHIN_S = 20.0
_PROBE_BYTES = 64 * 1024
_REFUSED_CREATION = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


@dataclass(frozen=True)
class Entry:
    """What a listing says of an object.

    Attributes:
        num_bytes: its size.
        modified_at: when it was put, by the storage's clock (seconds since 1970); None if it does not say.
    """

    num_bytes: int
    modified_at: float | None


class Patient:
    """A file system whose every call is tried again while the storage does not answer.

    Args:
        url: of the storage.
        retry_s: for how long (seconds).

    It has the methods of the fsspec file system, which raise a FileNotFoundError as that does, and a
    StorageError for whatever else goes wrong. `open` is handed through: half a file cannot be gone on with.
    """

    def __init__(self, url: str, retry_s: float) -> None:
        self._url = url
        self._retry_s = retry_s
        self._system = opened(url)[0]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._system, name)
        if name == "open" or not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return patiently(lambda: found(*arguments, **options), self._retry_s)
            except FileNotFoundError:
                raise
            except Exception as error:
                raise named(self._url, error, "used") from None

        return call


class Objects:
    """The objects under a URL, by their names below it.

    Args:
        url: of a folder on object storage.
        retry_s: for how long an operation is tried again while the storage does not answer (seconds).

    Every method raises a StorageError if the storage refuses, or does not answer for so long.
    """

    def __init__(self, url: str, retry_s: float = 0.0) -> None:
        self.url = url
        self._retry_s = retry_s
        self._system, self._root = opened(url)

    def read(self, name: str) -> bytes | None:
        """Return an object's content, or None if there is none."""
        try:
            content: bytes = self._asked(lambda: self._system.cat_file(self._path(name)), "read")
        except FileNotFoundError:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put an object, in place of one of that name."""
        self._done(lambda: self._system.pipe_file(self._path(name), content), "written")

    def create(self, name: str, content: bytes) -> bool:
        """Put an object unless there is one of that name; returns whether it was put.

        Storage that ignores the condition says yes to everybody: whoever must know reads it again.
        """

        def put() -> bool:
            try:
                self._system.pipe_file(self._path(name), content, mode="create")
            except OSError as error:
                said = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code", "")
                if isinstance(error, FileExistsError) or said in _REFUSED_CREATION:
                    return False
                raise
            return True

        return self._done(put, "written")

    def remove(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                self._system.rm_file(self._path(name))

        self._done(remove, "written")

    def list(self, under: str = "") -> dict[str, Entry]:
        """Return all objects, or those in a folder of them, by name."""
        path = self._path(under) if under else self._root
        found = self._done(lambda: self._system.find(path, detail=True), "listed")
        return {
            name[len(self._root) :].lstrip("/"): Entry(int(about.get("size") or 0), _modified_at(about))
            for name, about in found.items()
        }

    def send(self, path: Path, name: str) -> None:
        """Put a file of this machine.

        Raises:
            FileNotFoundError: it is gone.
        """
        if not path.is_file():
            raise FileNotFoundError(path)
        self._done(lambda: self._system.put_file(str(path), self._path(name)), "written")

    def fetch(self, name: str, target: Path) -> bool:
        """Write an object to a file, whole or not at all; returns whether there is such an object."""

        def fetch() -> None:
            write_whole(target, lambda part: self._system.get_file(self._path(name), str(part)))

        try:
            self._asked(fetch, "read")
        except FileNotFoundError:
            return False
        return True

    def check(self) -> None:
        """See that objects can be put, read, listed and removed; takes at most 20 seconds.

        Raises:
            StorageError: one of that is not so.
        """
        probe = f".probe-{os.urandom(4).hex()}"
        failures: list[BaseException] = []

        def check() -> None:
            try:
                self.write(probe, b"x" * _PROBE_BYTES)
                if self.read(probe) is None or probe not in self.list(probe):
                    raise StorageError(
                        f"the storage {self.url} does not give back what was put there",
                        expected="storage where an object can be read once it is put",
                    )
                self.remove(probe)
            except BaseException as error:
                failures.append(error)

        # A thread that hangs is left behind: what it waits for has no other end.
        thread = threading.Thread(target=check, name="bessemer-storage-check", daemon=True)
        thread.start()
        thread.join(_CHECK_WITHIN_S)
        if thread.is_alive():
            raise named(self.url, TimeoutError(f"no answer within {_CHECK_WITHIN_S:.0f} s"), "reached")
        if failures:
            raise failures[0]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _asked(self, work: Callable[[], _T], doing: str) -> _T:
        """Do something; that an object is not there is no error of the storage."""
        try:
            return patiently(work, self._retry_s)
        except FileNotFoundError as error:
            if _says_no_bucket(error):
                raise named(self.url, error, doing) from None
            raise
        except Exception as error:
            raise named(self.url, error, doing) from None

    def _done(self, work: Callable[[], _T], doing: str) -> _T:
        try:
            return patiently(work, self._retry_s)
        except Exception as error:
            raise named(self.url, error, doing) from None


def _says_no_bucket(error: FileNotFoundError) -> bool:
    said = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code", "")
    return said == "NoSuchBucket" or "bucket does not exist" in str(error)


def _modified_at(about: dict[str, Any]) -> float | None:
    """Read when an object was put from what s3fs, gcsfs or adlfs say of it."""
    for name in ("LastModified", "last_modified", "updated", "mtime"):
        value = about.get(name)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                continue
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None
