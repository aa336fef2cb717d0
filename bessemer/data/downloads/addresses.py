"""Addresses of files: what they may be, what of them may be shown, and the name that a file gets. Pure.

An address is a URL that fsspec can open (`http`, `s3`, `gs`, `ftp`, `file`, ...), `package:NAME/PATH` for a
file that comes with an installed package, or a path on this machine.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from bessemer.errors import SettingsError, nearest

PACKAGE = "package:"
_HIDDEN = "***"
# One letter is the drive of a Windows path.
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)(://|::)")
_KNOWN = "http(s)://, ftp://, s3://, gs://, file://, package:NAME/PATH, or a path"


def scheme_of(address: str) -> str:
    """Return an address's scheme in small letters: `package`, `https`, ..., or "" of a path."""
    if address.startswith(PACKAGE):
        return "package"
    found = _SCHEME.match(address)
    return found[1].lower() if found else ""


def check_address(address: str) -> None:
    """See that something could be fetched from an address.

    Raises:
        SettingsError: nothing opens such an address.
    """
    from fsspec.registry import available_protocols

    scheme = scheme_of(address)
    known = {*available_protocols(), "package", ""}
    if scheme not in known:
        raise SettingsError(
            f"{shown(address)}: nothing opens {scheme}://", expected=_KNOWN, todo=nearest(scheme, known)
        )
    if scheme == "package":
        package, _, path = address.removeprefix(PACKAGE).partition("/")
        if not package or not path or ".." in PurePosixPath(path).parts:
            raise SettingsError(
                f"{address} names no file of a package",
                expected=f"{PACKAGE}NAME/PATH, such as package:sklearn/datasets/data/digits.csv.gz",
            )
    elif scheme:
        try:
            parts = urlsplit(address)
            is_whole = scheme not in ("http", "https") or bool(parts.hostname and parts.port != 0)
        except ValueError:
            is_whole = False
        if not is_whole or re.search(r"[\x00-\x1f\x7f]", address):
            raise SettingsError(
                f"{shown(address)} is no whole address", expected="a URL such as https://host/path/file"
            )


def shown(address: str) -> str:
    """Return an address that is fit for a screen or a log: without passwords, keys and signatures.

    >>> shown("https://me:secret@host/a.zip?id=7&sig=xyz")
    'https://***@host/a.zip?id=***&sig=***'
    """
    if not scheme_of(address) or address.startswith(PACKAGE):
        return address
    try:
        parts = urlsplit(address)
    except ValueError:
        return f"{scheme_of(address)}://{_HIDDEN}"
    user, at, host = parts.netloc.rpartition("@")
    pieces = [piece.partition("=") for piece in parts.query.split("&") if piece]
    query = "&".join(f"{name}={_HIDDEN}" if equals else _HIDDEN for name, equals, _ in pieces)
    netloc = f"{_HIDDEN}@{host}" if at and user else host
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


def without_secrets(text: str, address: str) -> str:
    """Return what a library says of an address, with nothing in it that `shown` would hide."""
    if not scheme_of(address):
        return text
    text = text.replace(address, shown(address))
    try:
        parts = urlsplit(address)
    except ValueError:
        return text
    user = parts.netloc.rpartition("@")[0]
    values = [value for _, value in parse_qsl(parts.query)]
    for secret in (parts.query, user, parts.password or "", *values):
        # One that is shorter stands in ordinary words too, and is no secret.
        if len(secret) > 3:
            text = text.replace(secret, _HIDDEN).replace(unquote(secret), _HIDDEN)
    return text


def digest_of(address: str) -> str:
    """Return what tells an address from others without saying what it is (hex)."""
    return hashlib.sha256(address.encode()).hexdigest()


def file_name(address: str) -> str:
    """Return the name of the file at an address; "" if it names none.

    >>> file_name("https://host/files/a%20b.zip?download=1")
    'a b.zip'
    """
    scheme = scheme_of(address)
    try:
        path = unquote(urlsplit(address).path) if scheme not in ("", "package") else address
    except ValueError:
        return ""
    name = path.replace("\\", "/").rpartition("/")[2]
    return "" if name in (".", "..") or "\0" in name else name


def joined(place: str, name: str) -> str:
    """Return the address of a file, by its relative name, in a folder or below a URL."""
    if not scheme_of(place):
        return str(Path(os.path.expanduser(place)) / name)
    parts = urlsplit(place)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
