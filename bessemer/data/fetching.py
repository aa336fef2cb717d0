"""Fetches a file once: whole or not at all, with a checksum where one is known."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from bessemer.errors import DataError

_TIMEOUT_S = 60.0


def fetch(url: str, target: str | os.PathLike[str], sha256: str = "") -> Path:
    """Put what a URL gives into a file, unless the file is there.

    Args:
        url: `http`, `https`, `ftp` or `file`.
        target: the file; its folder is made.
        sha256: of its content, in hex; "" if it is not known.

    Returns:
        The file.

    Raises:
        DataError: it cannot be fetched, or its content is not what the checksum says.
    """
    path = Path(target)
    if path.is_file():
        _check(path, sha256, url)
        print(f"{path} is there")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    part = Path(name)
    try:
        # Some servers refuse what does not call itself a browser.
        request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0"})
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            shutil.copyfileobj(answer, file)
            expected = answer.headers.get("Content-Length")
        size = part.stat().st_size
        if expected is not None and int(expected) != size:
            raise DataError(f"{url} ended after {size} of {expected} bytes", todo="fetch it again")
        _check(part, sha256, url)
        part.chmod(0o644)
        part.replace(path)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DataError(
            f"{url} cannot be fetched: {reason}",
            expected=f"what is put into {path}",
            todo=f"fetch it yourself and put it there, if it has moved: {path.absolute()}",
        ) from error
    finally:
        part.unlink(missing_ok=True)
    print(f"{path} has {path.stat().st_size:,} bytes from {url}")
    return path


def _check(path: Path, sha256: str, url: str) -> None:
    if not sha256:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise DataError(
            f"{path} has the SHA-256 {found}",
            expected=f"{sha256}, which is that of {url}",
            todo="delete it and fetch it again, or correct the checksum",
        )
