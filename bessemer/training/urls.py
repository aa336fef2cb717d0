"""Which URLs runs can be kept at, how they are opened, and what their errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from bessemer.data.downloads.addresses import scheme_of, shown
from bessemer.errors import BessemerError, SettingsError, StorageError

_T = TypeVar("_T")

# Those whose put is atomic, and what has to be installed for them.
_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "bessemer[s3]"),
    **dict.fromkeys(("gs", "gcs"), "bessemer[gs]"),
    **dict.fromkeys(("abfs", "abfss", "az", "adl"), "adlfs"),
    **{"oss": "ossfs", "oci": "ocifs"},
}
_KINDS = "s3://bucket/prefix, gs://bucket/prefix, abfs://, az://, oss:// or oci://"
_REASONS = {
    "memory": "it is the memory of one process, and no other could go on with a run in it",
    "http": "it cannot be written",
    "https": "it cannot be written",
    "file": "a folder is named by its path alone",
    "local": "a folder is named by its path alone",
}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0
_FINAL = (
    *(FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(ImportError, ValueError, TypeError, AttributeError, NotImplementedError, BessemerError),
)
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/@\s\"']+@")


def is_url(storage_path: str) -> bool:
    """Whether `checkpoint.storage_path` is a URL, and no folder."""
    return "://" in storage_path


def checked_url(url: str) -> str:
    """Return a URL of object storage without a slash at its end.

    Raises:
        SettingsError: runs cannot be kept there; says why.

    >>> checked_url("s3://bucket/runs/")
    's3://bucket/runs'
    """
    scheme = scheme_of(url)
    if scheme not in _PACKAGES or "::" in url:
        reason = _REASONS.get(scheme, "it is no object storage, where a file is put whole or not at all")
        raise SettingsError(
            f"checkpoint.storage_path = {shown(url)!r}: {reason}",
            expected=f"a folder that every node can reach, or object storage: {_KINDS}",
            todo="name a folder without file://, or mount the storage and name its folder",
        )
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError(
            f"checkpoint.storage_path = {shown(url)!r} says more than where runs are",
            expected=f"a place without user, password or options: {_KINDS}",
            todo="give credentials by the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if not parts.netloc:
        raise SettingsError(f"checkpoint.storage_path = {url!r} names no bucket", expected=_KINDS)
    return url.rstrip("/")


def opened(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, which remembers no listing, and the path in it.

    Raises:
        StorageError: the package that opens such URLs is not installed.
    """
    import fsspec

    scheme = scheme_of(url)
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in ("s3", "s3a"):
        # s3fs tries again itself, and so does whoever calls it.
        options["config_kwargs"] = {"retries": {"total_max_attempts": 1}}
    try:
        system, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        package = _PACKAGES.get(scheme, "its fsspec package")
        raise StorageError(
            f"{url} cannot be opened: {error}",
            expected=f"the package that opens {scheme}:// on this machine and on every node",
            todo=f"pip install '{package}'",
        ) from None
    return system, str(path)


def passes(error: BaseException) -> bool:
    """Whether an error of the storage may be gone in a while."""
    return not isinstance(error, _FINAL) and "Credential" not in type(error).__name__


def patiently(work: Callable[[], _T], retry_s: float) -> _T:
    """Do something again while it fails with an error that may pass.

    Args:
        work: what is done.
        retry_s: for how long (seconds); 0: once.
    """
    if retry_s <= 0:
        return work()
    calls = Retrying(
        stop=stop_after_delay(retry_s),
        wait=wait_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
        retry=retry_if_exception(passes),
        reraise=True,
    )
    return calls(work)


def without_credentials(text: str) -> str:
    """Return what a library says with no key, token or password in it.

    >>> without_credentials("no answer from http://me:secret@host/x")
    'no answer from http://***@host/x'
    """
    for name in _SECRETS:
        value = os.environ.get(name, "")
        # One that is shorter stands in ordinary words too, and is no secret.
        if len(value) > 3:
            text = text.replace(value, "***")
    return _CREDENTIALS_IN_URL.sub("***@", text)


def named(url: str, error: BaseException, doing: str) -> StorageError:
    """Return what an error of the storage means.

    Args:
        url: of the storage.
        error: as fsspec raised it.
        doing: what was tried, such as "written".
    """
    if isinstance(error, StorageError):
        return error
    said = without_credentials((str(error).strip().splitlines() or [""])[0]) or type(error).__name__
    found = f"the storage {url} cannot be {doing}: {said}"
    if "Credential" in type(error).__name__:
        expected, todo = "credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on every node"
    elif isinstance(error, PermissionError):
        expected, todo = "permission to list, read, write and delete there", "look at keys and policy"
    elif isinstance(error, FileNotFoundError):
        expected, todo = "a bucket that exists", "make the bucket, or set --checkpoint.storage-path"
    else:
        expected = "storage that answers"
        todo = "see that it runs and that its address is right, such as AWS_ENDPOINT_URL for S3"
    return StorageError(found, expected, todo)
