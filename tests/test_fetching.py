"""A file is fetched once, whole or not at all, and only if it is what its checksum says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bessemer.data.downloads.transfer import Patience
from bessemer.data.fetching import fetch
from bessemer.errors import DataError, SettingsError
from file_server import FileServer, file_server

CONTENT = b"some rows\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    quick = partial(Patience, num_tries=2, first_wait_s=0.01)
    monkeypatch.setattr("bessemer.data.downloads.stage.Patience", quick)
    with file_server() as running:
        yield running


def test_a_file_is_put_where_it_is_wanted_with_its_folder(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.csv"
    assert fetch(server.serve("b.csv", CONTENT), target, SHA256) == target
    assert target.read_bytes() == CONTENT
    assert [x.name for x in target.parent.iterdir()] == ["b.csv"]


def test_a_file_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(CONTENT)
    fetch("http://127.0.0.1:1/nothing-listens-here", tmp_path / "b.csv", SHA256)


def test_what_cannot_be_fetched_whole_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    short = server.serve("short", CONTENT, claimed=20_000, has_validator=False)
    for url in (f"{server.url}/gone", short):
        with pytest.raises(DataError, match=url):
            fetch(url, tmp_path / "b.csv")
        assert not list(tmp_path.iterdir())


def test_another_content_than_the_checksum_says_is_refused(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("b.csv", CONTENT)
    with pytest.raises(DataError, match=SHA256):
        fetch(url, tmp_path / "b.csv", "0" * 64)
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.csv").write_bytes(b"other rows")
    with pytest.raises(DataError, match="delete it"):
        fetch(url, tmp_path / "b.csv", SHA256)


def test_an_address_that_nothing_opens_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing opens htps://"):
        fetch("htps://host/a.csv", tmp_path / "a.csv")


def test_what_happens_is_printed(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.serve("b.csv", CONTENT)
    for _ in range(2):
        fetch(url, tmp_path / "b.csv")
    first, checksum, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / 'b.csv'}: 10.0 kB from {url} in ")
    assert checksum == f"    not checked, no SHA-256 was given; it is {SHA256}"
    assert second == f"{tmp_path / 'b.csv'}: is there, 10.0 kB"
