"""What a place gives of a file: the bytes from some position on, and what is known of them.

One function for every kind of address. A place that fails says why, and whether it may help to ask again;
who asks again, and how often, is decided in `transfer.py`.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.data.downloads.addresses import PACKAGE, scheme_of, without_secrets

BLOCK_BYTES = 2**20
_READ_AHEAD_BYTES = 8 * 2**20
# What a store says of a file's content, in the words of s3fs, gcsfs, and of file systems.
_TELLING = ("ETag", "etag", "md5Hash", "generation", "LastModified", "updated", "modify", "mtime", "ino")
_FINAL = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(ValueError, TypeError, ImportError, NotImplementedError, AttributeError),
)
# By name, since the libraries that have them are loaded for their own addresses only.
_NETWORK = frozenset({"HTTPClientError", "ClientConnectionError", "ClientPayloadError", "TimeoutError"})


class PlaceError(Exception):
    """A place does not give a file.

    Args:
        reason: in words.
        passes: whether it may be otherwise in a while.
        wait_s: how long the place asks to be left alone (seconds).
        is_from_start: whether what is here of the file is of no use.
    """

    def __init__(
        self, reason: str, passes: bool = False, wait_s: float = 0.0, is_from_start: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passes = passes
        self.wait_s = wait_s
        self.is_from_start = is_from_start


@dataclass(frozen=True)
class Answer:
    """What a place gives.

    Attributes:
        blocks: the content from `offset` on.
        offset: first byte that comes; 0 if the place begins again although asked for a later one.
        num_bytes: size of the whole file; None if it is not said.
        validator: changes when the content does; "" if nothing tells.
    """

    blocks: Iterator[bytes]
    offset: int
    num_bytes: int | None
    validator: str


@contextlib.contextmanager
def opened(address: str, offset: int, validator: str, timeout_s: float) -> Iterator[Answer]:
    """Open a file at a place.

    Args:
        address: of the file.
        offset: byte to begin at; above 0 only if the file is still what `validator` says.
        validator: what an earlier answer said; "" for whatever is there.
        timeout_s: longest silence (seconds).

    Raises:
        PlaceError: also while `blocks` are read.
    """
    scheme = scheme_of(address)
    if scheme in ("http", "https"):
        from bessemer.data.downloads.web import opened_web

        with opened_web(address, offset, validator, timeout_s) as answer:
            yield answer
    elif scheme == "package":
        with _opened_store(str(_package_file(address)), offset, validator) as answer:
            yield answer
    else:
        with _opened_store(address, offset, validator) as answer:
            yield answer


def _package_file(address: str) -> Path:
    """Find a file of an installed package, without running the package."""
    package, _, path = address.removeprefix(PACKAGE).partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise PlaceError(f"no package {package} is installed")
    found = [Path(folder) / path for folder in spec.submodule_search_locations or ()]
    for file in found:
        if file.is_file():
            return file
    raise PlaceError(f"the package {package} has no file {path}")


@contextlib.contextmanager
def _opened_store(address: str, offset: int, validator: str) -> Iterator[Answer]:
    """Open a file of whatever fsspec knows."""
    import fsspec

    with _named(address):
        # What a store said before is not asked for: the file may have changed since.
        system, path = fsspec.core.url_to_fs(address, skip_instance_cache=True)
        about = system.info(path)
        if about.get("type") == "directory":
            raise PlaceError("it is a folder, and one file is fetched at a time")
        size = about.get("size")
        found = " ".join(f"{name}={about[name]}" for name in _TELLING if about.get(name) is not None)
        begin = offset if validator == found or not validator else 0
        if size is not None and begin > size:
            begin = 0
        file = system.open(path, "rb", block_size=_READ_AHEAD_BYTES, cache_type="readahead")
    try:
        yield Answer(_blocks_of(file, address, begin, size), begin, size, found)
    finally:
        with contextlib.suppress(Exception):  # what was read is checked by its size and content
            file.close()


def _blocks_of(file: Any, address: str, begin: int, size: int | None) -> Iterator[bytes]:
    with _named(address):
        if begin:
            file.seek(begin)
        at = begin
        while block := file.read(BLOCK_BYTES):
            at += len(block)
            yield block
    if size is not None and at < size:
        raise PlaceError(f"it ended after {at:,} of {size:,} bytes", passes=True)


@contextlib.contextmanager
def _named(address: str) -> Iterator[None]:
    """Tell what passes from what does not, of any error of a library that reads a store."""
    try:
        yield
    except PlaceError:
        raise
    except ImportError as error:
        raise PlaceError(f"a package that opens it is not installed: {error}") from error
    except FileNotFoundError as error:
        raise PlaceError("there is no such file") from error
    except Exception as error:
        text = without_secrets(str(error), address) or type(error).__name__
        kinds = {kind.__name__ for kind in type(error).__mro__}
        is_network = bool(kinds & _NETWORK) or isinstance(error, OSError)
        if "NoCredentialsError" in kinds:
            text += " (a public bucket is read without any if FSSPEC_S3_ANON=true is set)"
        raise PlaceError(
            text.splitlines()[0][:300], passes=is_network and not isinstance(error, _FINAL)
        ) from error
