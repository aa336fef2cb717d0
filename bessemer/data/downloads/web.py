"""Files from web servers, by the standard library's client.

It asks for the bytes as they are, and for later bytes only of the same file (`If-Range`). The answers are not
believed: what is too short, too long, or of another file than asked for is found here.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from bessemer.data.downloads.addresses import file_name, without_secrets
from bessemer.data.downloads.remote import BLOCK_BYTES, Answer, PlaceError

# Some servers refuse what does not call itself a browser.
_AGENT = "Mozilla/5.0 (compatible; bessemer)"
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_PACKED_NAMES = (".gz", ".tgz", ".gzip", ".z", ".svgz")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Goes where a server sends it, but to web servers only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https"):
            raise PlaceError(f"it sends on to an address of {scheme or 'no scheme'}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextlib.contextmanager
def opened_web(url: str, offset: int, validator: str, timeout_s: float) -> Iterator[Answer]:
    """Open a file of a web server; see `remote.opened`."""
    with _named(url):
        answer = _asked(_request(url, offset, validator), timeout_s)
    with contextlib.closing(answer):
        with _named(url):
            read = _read(answer, url, offset, validator)
        # Only what the server does is named: who reads the blocks has errors of his own.
        yield replace(read, blocks=_named_blocks(read.blocks, url))


def _named_blocks(blocks: Iterator[bytes], url: str) -> Iterator[bytes]:
    with _named(url):
        yield from blocks


def _request(url: str, offset: int, validator: str) -> urllib.request.Request:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(
        urlunsplit(parts._replace(netloc=host, fragment="")).replace(" ", "%20"),
        headers={"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
    )
    if at:
        # Not for where the server may send us on to.
        token = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    if offset:
        request.add_header("Range", f"bytes={offset}-")
        if validator:
            request.add_header("If-Range", validator)
    return request


def _asked(request: urllib.request.Request, timeout_s: float) -> http.client.HTTPResponse:
    answer: http.client.HTTPResponse = urllib.request.build_opener(_Redirects).open(
        request, timeout=timeout_s
    )
    return answer


def _read(answer: http.client.HTTPResponse, url: str, offset: int, validator: str) -> Answer:
    found = _validator_of(answer)
    said = answer.headers.get("Content-Length", "")
    length = int(said) if _is_number(said) and not answer.chunked else None
    begin, size = 0, length
    if answer.status == 206:
        match = _RANGE.match(answer.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset or (validator and found and found != validator):
            raise _begin_again("it sent another part than was asked for")
        begin, size = offset, None if match[3] == "*" else int(match[3])
        length = int(match[2]) + 1 - begin
        if size is not None and begin + length != size:
            raise _begin_again("it sent another part than was asked for")
    elif answer.status != 200:
        raise PlaceError(f"it answers {answer.status} {answer.reason}")
    blocks = _checked(answer, begin, length)
    coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("", "identity") or file_name(url).lower().endswith(_PACKED_NAMES):
        # Of a file that is packed itself, servers name that too.
        return Answer(blocks, begin, size, found)
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise PlaceError(f"it sends the file packed ({coding}), though asked not to")
    if begin:
        raise _begin_again("it sends the file packed")
    # Positions in what is unpacked mean nothing to the server: such a file is not resumed.
    return Answer(_decoded(blocks), 0, None, "")


def _begin_again(reason: str) -> PlaceError:
    return PlaceError(reason, passes=True, is_from_start=True)


def _validator_of(answer: http.client.HTTPResponse) -> str:
    """Return what `If-Range` takes: a strong entity tag, or else the time of the last change."""
    tag = answer.headers.get("ETag", "").strip()
    if tag and not tag.startswith("W/"):
        return str(tag)
    return str(answer.headers.get("Last-Modified", "")).strip()


def _checked(answer: http.client.HTTPResponse, begin: int, length: int | None) -> Iterator[bytes]:
    """Yield what comes, and see that it is as long as the server had said."""
    if length is not None and answer.will_close:
        # The client would stop at the length. If the server closes after its last byte, the end is seen.
        answer.length = None
    num_read = 0
    while True:
        try:
            block = answer.read1(BLOCK_BYTES)
        except TimeoutError:
            if num_read == length:
                return  # all is here, only the end was not said
            raise
        if not block:
            break
        num_read += len(block)
        if length is not None and num_read > length:
            raise PlaceError(
                f"it sends more than the {begin + length:,} bytes that it said the file has",
                is_from_start=True,
            )
        yield block
    if length is not None and num_read < length:
        raise PlaceError(f"it ended after {begin + num_read:,} of {begin + length:,} bytes", passes=True)


def _decoded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    for block in blocks:
        while block:
            # In pieces: a few bytes may stand for very many.
            yield decoder.decompress(block, BLOCK_BYTES)
            block = decoder.unconsumed_tail
    if not decoder.eof:
        raise PlaceError("it ended in the middle of a packed file", passes=True)


@contextlib.contextmanager
def _named(url: str) -> Iterator[None]:
    """Tell what passes from what does not, of any error of the client."""
    try:
        yield
    except PlaceError:
        raise
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error) from error
    except urllib.error.URLError as error:
        reason = error.reason if isinstance(error.reason, Exception) else error
        raise PlaceError(_words(reason, url), passes=_passes(reason)) from error
    except http.client.InvalidURL as error:
        raise PlaceError(f"it is no address: {without_secrets(str(error), url)}") from error
    except (http.client.HTTPException, OSError) as error:
        raise PlaceError(_words(error, url), passes=_passes(error)) from error
    except zlib.error as error:
        raise PlaceError(f"what it sends packed is damaged: {error}", passes=True) from error
    except ValueError as error:
        raise PlaceError(_words(error, url)) from error


def _refused(error: urllib.error.HTTPError) -> PlaceError:
    if error.code == 416:
        return _begin_again("it has no bytes behind those that are here")
    words = str(error.reason or http.client.responses.get(error.code, "")).partition("\n")[0]
    reason = f"it answers {error.code} {words}".strip()
    return PlaceError(reason, error.code in _PASSING, _retry_after_s(error.headers.get("Retry-After", "")))


def _retry_after_s(text: str) -> float:
    """Read how long a server wants to be left alone: seconds, or a time."""
    if _is_number(text.strip()):
        return float(text)
    try:
        left = parsedate_to_datetime(text) - datetime.datetime.now(datetime.UTC)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, left.total_seconds())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _passes(error: BaseException) -> bool:
    if isinstance(error, ssl.SSLCertVerificationError):
        return False
    return not (isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME)


def _words(error: BaseException, url: str) -> str:
    if isinstance(error, TimeoutError):
        return "it is silent for too long"
    if isinstance(error, http.client.IncompleteRead):
        return "it ended before its last byte"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return without_secrets(str(error), url) or type(error).__name__
