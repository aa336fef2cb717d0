"""A web server that misbehaves on demand: it breaks off, lies about lengths, changes files, is busy."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Served:
    """A file, and how it is served.

    Attributes:
        content: of the file.
        has_ranges: whether parts of it are given.
        has_validator: whether an ETag is given.
        drop_after: bytes of an answer after which the connection breaks; 0: never.
        num_drops: answers that break (count).
        claimed: Content-Length, where it is a lie; None: the truth; -1: none.
        statuses: answers given first, one a request: (status, headers).
        location: address that is redirected to.
        pause_s: before each block (seconds).
        block_bytes: of a block (bytes).
        coding: Content-Encoding that is said.
        ignores_if_range: gives parts of whatever the file is now.
    """

    content: bytes = b""
    has_ranges: bool = True
    has_validator: bool = True
    drop_after: int = 0
    num_drops: int = 10**9
    claimed: int | None = None
    statuses: tuple[tuple[int, dict[str, str]], ...] = ()
    location: str = ""
    pause_s: float = 0.0
    block_bytes: int = 2**16
    coding: str = ""
    ignores_if_range: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass
class FileServer:
    """Files by path, and what was asked for."""

    url: str = ""
    files: dict[str, Served] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def serve(self, path: str, content: bytes = b"", **how: Any) -> str:
        """Serve a file, and return its address."""
        self.files[path] = Served(content, **how)
        return f"{self.url}/{path}"

    def ranges(self) -> list[str]:
        """Return the ranges that were asked for, "" for whole files."""
        return [headers.get("range", "") for _, headers in self.asked]


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.partition("?")[0].lstrip("/")
            server.asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
            file = server.files.get(name)
            self.close_connection = True
            if file is None:
                self.send_error(404)
                return
            if file.statuses:
                status, headers = file.statuses[0]
                server.files[name] = replace(file, statuses=file.statuses[1:])
                self.send_response(status)
                for key, value in {**headers, "Content-Length": "0", "Connection": "close"}.items():
                    self.send_header(key, value)
                self.end_headers()
                return
            if file.location:
                self.send_response(302)
                self.send_header("Location", file.location)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(name, file)

        def _send(self, name: str, file: Served) -> None:
            tag = f'"{file.sha256[:16]}"'
            wanted = self.headers.get("Range", "")
            condition = self.headers.get("If-Range", tag)
            begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and file.has_ranges else 0
            if condition != tag and not file.ignores_if_range:
                begin = 0
            if begin and begin >= len(file.content):
                self.send_error(416)
                return
            body = file.content[begin:]
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header(
                    "Content-Range", f"bytes {begin}-{len(file.content) - 1}/{len(file.content)}"
                )
            if file.has_validator:
                self.send_header("ETag", tag)
            if file.coding:
                self.send_header("Content-Encoding", file.coding)
            if file.claimed != -1:
                self.send_header("Content-Length", str(len(body) if file.claimed is None else file.claimed))
            self.send_header("Connection", "close")
            self.end_headers()
            end = len(body)
            if file.drop_after and file.num_drops > 0:
                end = file.drop_after
                server.files[name] = replace(file, num_drops=file.num_drops - 1)
            with contextlib.suppress(OSError):  # who asked is gone
                for at in range(0, min(end, len(body)), file.block_bytes):
                    if file.pause_s:
                        server.released.wait(file.pause_s)
                    self.wfile.write(body[at : min(at + file.block_bytes, end)])
                    self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True


@contextlib.contextmanager
def file_server() -> Iterator[FileServer]:
    """Run a server on this machine."""
    server = FileServer()
    listening = _Server(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        listening.shutdown()
        thread.join()
        listening.server_close()
