"""A file is fetched once, whole or not at all, and only if it is what its checksum says."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bessemer.data.fetching import fetch
from bessemer.errors import DataError

CONTENT = b"some rows\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        body = CONTENT[:100] if self.path == "/short" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    served = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()


def test_a_file_is_put_where_it_is_wanted_with_its_folder(server: str, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.csv"
    assert fetch(f"{server}/b.csv", target, SHA256) == target
    assert target.read_bytes() == CONTENT
    assert [x.name for x in target.parent.iterdir()] == ["b.csv"]


def test_a_file_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(CONTENT)
    fetch("http://127.0.0.1:1/nothing-listens-here", tmp_path / "b.csv", SHA256)


@pytest.mark.parametrize("path", ["gone", "short"])
def test_what_cannot_be_fetched_whole_leaves_nothing(server: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match=path):
        fetch(f"{server}/{path}", tmp_path / "b.csv")
    assert not list(tmp_path.iterdir())


def test_another_content_than_the_checksum_says_is_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=SHA256):
        fetch(f"{server}/b.csv", tmp_path / "b.csv", "0" * 64)
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.csv").write_bytes(b"other rows")
    with pytest.raises(DataError, match="delete it"):
        fetch(f"{server}/b.csv", tmp_path / "b.csv", SHA256)
