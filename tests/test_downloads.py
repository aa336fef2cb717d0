"""A file comes whole or not at all, from a server that does what servers do."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.data.downloads.addresses import check_address, file_name, joined, shown, without_secrets
from bessemer.data.downloads.locks import exclusive
from bessemer.data.downloads.memory import Memory
from bessemer.data.downloads.obtaining import Means, obtain
from bessemer.data.downloads.plan import Wanted
from bessemer.data.downloads.report import FileReport, Listener
from bessemer.data.downloads.transfer import Patience
from bessemer.data.downloads.unpacking import Limits
from bessemer.errors import DataError, SettingsError
from file_server import FileServer, file_server

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = bytes(reversed(CONTENT))
QUICK = Patience(num_tries=4, first_wait_s=0.01, longest_wait_s=0.02, longest_asked_s=1.5, silence_s=5)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


class Heard(Listener):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, name: str, text: str) -> None:
        self.notes.append(text)


def means(**how: Any) -> Means:
    chosen = {"listener": Heard(), "patience": QUICK, **how}
    return Means(Memory(None), Limits(2**30, 1000, 200.0), **chosen)


def get(url: str, target: Path, sha256: str = "", **how: Any) -> FileReport:
    places = tuple(how.pop("places", (url,)))
    return obtain(Wanted(target.name, places, target, sha256), means(**how))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Broken connections


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_file_arrives_over_a_line_that_breaks(server: FileServer, tmp_path: Path, has_ranges: bool) -> None:
    url = server.serve("a.bin", CONTENT, drop_after=300_000, num_drops=3, has_ranges=has_ranges)
    report = get(url, tmp_path / "a.bin", SHA256)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.bin"]
    later = [300_000, 600_000, 900_000] if has_ranges else [300_000] * 3
    assert server.ranges() == ["", *(f"bytes={begin}-" for begin in later)]
    assert report.num_received_bytes == (len(CONTENT) if has_ranges else len(CONTENT) + 900_000)


def test_a_line_that_breaks_more_often_than_tried_still_gets_on(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT, drop_after=100_000)
    get(url, tmp_path / "a.bin")
    assert len(server.asked) == 11 > QUICK.num_tries
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.serve("a.bin", CONTENT, drop_after=300_000, has_ranges=False, has_validator=False)
    with pytest.raises(DataError, match="ended after 300,000 of 1,048,576 bytes"):
        get(url, tmp_path / "a.bin")
    assert len(server.asked) == QUICK.num_tries
    assert not names(tmp_path)


def test_without_an_etag_or_checksum_parts_are_not_put_together(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT, drop_after=300_000, num_drops=1, has_validator=False)
    get(url, tmp_path / "a.bin")
    assert server.ranges() == ["", ""]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_what_came_before_a_failure_is_gone_on_with_later(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT, drop_after=300_000, num_drops=1)
    server.files["a.bin"] = replace(server.files["a.bin"], drop_after=300_000)
    with pytest.raises(DataError, match="ended after"):
        get(url, tmp_path / "a.bin", patience=replace(QUICK, num_tries=1))
    assert names(tmp_path) == [".a.bin.part", ".a.bin.part.json"]
    report = get(url, tmp_path / "a.bin")
    assert report.num_resumed_bytes == 300_000
    assert report.num_received_bytes == len(CONTENT) - 300_000
    assert server.asked[1][1]["if-range"] == f'"{SHA256[:16]}"'
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("ignores_if_range", [True, False])
def test_a_file_that_changes_between_two_requests_is_not_glued_together(
    server: FileServer, tmp_path: Path, ignores_if_range: bool
) -> None:
    url = server.serve("a.bin", CONTENT, drop_after=300_000, num_drops=1)
    with pytest.raises(DataError):
        get(url, tmp_path / "a.bin", patience=replace(QUICK, num_tries=1))
    server.serve("a.bin", OTHER, ignores_if_range=ignores_if_range)
    get(url, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == OTHER


def test_parts_that_do_not_belong_together_are_found_by_the_checksum_and_fetched_anew(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.serve("a.bin", OTHER, drop_after=300_000, num_drops=1, has_validator=False)
    with pytest.raises(DataError):
        get(url, tmp_path / "a.bin", SHA256, patience=replace(QUICK, num_tries=1))
    server.serve("a.bin", CONTENT, has_validator=False)
    get(url, tmp_path / "a.bin", SHA256)
    assert server.ranges()[1:] == ["bytes=300000-", ""]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    first = server.serve("a.bin", OTHER, drop_after=300_000, num_drops=1)
    with pytest.raises(DataError):
        get(first, tmp_path / "a.bin", patience=replace(QUICK, num_tries=1))
    get(server.serve("b.bin", CONTENT), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_damaged_note_of_a_part_counts_as_none(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".a.bin.part").write_bytes(b"x" * 1000)
    for note in ("{", "[]", '{"address_sha256": 1}', '{"address_sha256": "", "num_bytes": "1"}'):
        (tmp_path / "a.bin").unlink(missing_ok=True)
        (tmp_path / ".a.bin.part.json").write_text(note)
        get(server.serve("a.bin", CONTENT), tmp_path / "a.bin")
        assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_download_that_was_killed_before_it_had_its_name_asks_for_nothing(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.serve("a.bin", CONTENT)
    with monkeypatch.context() as patch:
        patch.setattr("bessemer.data.downloads.part.Part.finish", _raise_keyboard_interrupt)
        with pytest.raises(KeyboardInterrupt):
            get(url, tmp_path / "a.bin")
    get(url, tmp_path / "a.bin")
    assert len(server.asked) == 1
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def _raise_keyboard_interrupt(_part: object) -> None:
    raise KeyboardInterrupt


# Lies


def test_a_server_that_sends_more_than_it_says_is_not_believed(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT, claimed=len(CONTENT) - 1)
    with pytest.raises(DataError, match="more than the 1,048,575 bytes"):
        get(url, tmp_path / "a.bin")
    assert not names(tmp_path)


def test_a_server_that_sends_less_than_it_says_is_not_believed(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT, claimed=len(CONTENT) + 1, has_ranges=False, has_validator=False)
    with pytest.raises(DataError, match="ended after 1,048,576 of 1,048,577 bytes"):
        get(url, tmp_path / "a.bin")
    assert not names(tmp_path)


def test_a_file_of_unknown_length_arrives(server: FileServer, tmp_path: Path) -> None:
    get(server.serve("a.bin", CONTENT, claimed=-1), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_an_empty_file_arrives(server: FileServer, tmp_path: Path) -> None:
    get(server.serve("a.bin", b""), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == b""


def test_a_packed_answer_is_unpacked_but_not_a_packed_file(server: FileServer, tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT)
    get(server.serve("a.csv", packed, coding="gzip"), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == CONTENT
    get(server.serve("b.csv.gz", packed, coding="gzip"), tmp_path / "b.csv.gz")
    assert (tmp_path / "b.csv.gz").read_bytes() == packed
    assert server.asked[0][1]["accept-encoding"] == "identity"
    with pytest.raises(DataError, match="packed \\(br\\)"):
        get(server.serve("c.csv", packed, coding="br"), tmp_path / "c.csv")
    with pytest.raises(DataError, match="damaged"):
        get(server.serve("d.csv", CONTENT, coding="gzip"), tmp_path / "d.csv")
    assert names(tmp_path) == ["a.csv", "b.csv.gz"]


def test_a_packed_answer_that_breaks_off_is_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    packed = gzip.compress(OTHER)
    url = server.serve("a.csv", packed, coding="gzip", drop_after=1000, num_drops=1, claimed=-1)
    get(url, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == OTHER


# What passes, and what does not


def test_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    heard = Heard()
    get(server.serve("a.bin", CONTENT, statuses=((503, {}), (500, {}))), tmp_path / "a.bin", listener=heard)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [note.partition(";")[0] for note in heard.notes] == [
        "it answers 503 Service Unavailable",
        "it answers 500 Internal Server Error",
    ]


@pytest.mark.parametrize("is_date", [False, True])
def test_a_server_is_left_alone_for_as_long_as_it_asks(
    server: FileServer, tmp_path: Path, is_date: bool
) -> None:
    after = formatdate(time.time() + 2, usegmt=True) if is_date else "1"
    url = server.serve("a.bin", CONTENT, statuses=((429, {"Retry-After": after}),))
    begun = time.monotonic()
    get(url, tmp_path / "a.bin", patience=replace(QUICK, longest_asked_s=5))
    assert time.monotonic() - begun > 0.9


def test_a_server_that_wants_to_be_left_alone_for_too_long_is_given_up(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.serve("a.bin", CONTENT, statuses=((429, {"Retry-After": "3600"}),))
    with pytest.raises(DataError, match="429 Too Many Requests"):
        get(url, tmp_path / "a.bin")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [403, 404, 410, 401])
def test_what_will_not_pass_is_asked_for_once(server: FileServer, tmp_path: Path, status: int) -> None:
    url = server.serve("a.bin", CONTENT, statuses=((status, {}),) * 2)
    with pytest.raises(DataError, match=f"a.bin cannot be fetched: it answers {status}"):
        get(url, tmp_path / "a.bin")
    assert len(server.asked) == 1
    assert not names(tmp_path)


def test_a_server_that_is_not_there_is_asked_several_times(tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(DataError, match="Connection refused"):
        get("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", listener=heard)
    assert len(heard.notes) == QUICK.num_tries - 1


def test_a_silent_server_is_given_up(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT, pause_s=30)
    with pytest.raises(DataError, match="silent for too long"):
        get(url, tmp_path / "a.bin", patience=replace(QUICK, num_tries=1, silence_s=0.2))


def test_a_redirect_is_followed_without_the_password(server: FileServer, tmp_path: Path) -> None:
    server.serve("a.bin", location=f"{server.url}/b.bin")
    server.serve("b.bin", CONTENT, drop_after=300_000, num_drops=1)
    get(f"{server.url.replace('//', '//me:secret@')}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [(path, "authorization" in headers) for path, headers in server.asked] == [
        ("/a.bin", True),
        ("/b.bin", False),
        ("/a.bin", True),
        ("/b.bin", False),
    ]


def test_a_redirect_to_a_file_is_not_followed(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="file"):
        get(server.serve("a.bin", location="file:///etc/passwd"), tmp_path / "a.bin")
    with pytest.raises(DataError, match="redirect"):
        get(server.serve("b.bin", location=f"{server.url}/b.bin"), tmp_path / "b.bin")


# What is there


def test_a_file_that_is_there_is_not_fetched(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT)
    assert get(url, tmp_path / "a.bin", SHA256).status == "fetched"
    report = get(url, tmp_path / "a.bin", SHA256)
    assert (report.status, report.is_checked) == ("there", True)
    assert len(server.asked) == 1


def test_a_file_with_another_checksum_is_kept_and_named(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT)
    (tmp_path / "a.bin").write_bytes(OTHER)
    with pytest.raises(DataError) as caught:
        get(url, tmp_path / "a.bin", SHA256)
    assert hashlib.sha256(OTHER).hexdigest() in caught.value.found
    assert SHA256 in caught.value.expected
    assert (tmp_path / "a.bin").read_bytes() == OTHER
    assert not server.asked


def test_force_keeps_the_old_file_until_the_new_one_is_whole(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(OTHER)
    with pytest.raises(DataError):
        get(server.serve("b.bin"), tmp_path / "a.bin", SHA256, is_forced=True)
    assert (tmp_path / "a.bin").read_bytes() == OTHER
    get(server.serve("a.bin", CONTENT), tmp_path / "a.bin", SHA256, is_forced=True)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_download_with_another_checksum_names_both_and_leaves_nothing(
    server: FileServer, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        get(server.serve("a.bin", OTHER), tmp_path / "a.bin", SHA256)
    assert hashlib.sha256(OTHER).hexdigest() in caught.value.found
    assert SHA256 in caught.value.expected
    assert not names(tmp_path)


def test_a_known_file_is_not_read_again_unless_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data" / "a.bin"
    file.parent.mkdir()
    file.write_bytes(CONTENT)
    assert Memory(file.parent).sha256(file) == SHA256
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", None)
        assert Memory(file.parent).sha256(file) == SHA256
    file.write_bytes(OTHER)
    assert Memory(file.parent).sha256(file) == hashlib.sha256(OTHER).hexdigest()
    moved = tmp_path / "elsewhere"
    shutil.move(file.parent, moved)
    assert Memory(moved).file(moved / "a.bin") is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {"a": 1}}', "\xff"])
def test_a_damaged_memory_knows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / ".bessemer").mkdir()
    (tmp_path / ".bessemer" / "downloads.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "a.bin").write_bytes(CONTENT)
    memory = Memory(tmp_path)
    assert memory.file(tmp_path / "a.bin") is None
    assert memory.sha256(tmp_path / "a.bin") == SHA256
    assert json.loads((tmp_path / ".bessemer" / "downloads.json").read_text())["files"]


# Several places


def test_places_are_asked_in_order_until_one_gives_the_right_file(server: FileServer, tmp_path: Path) -> None:
    places = [
        f"{server.url}/none.bin",
        server.serve("wrong.bin", OTHER),
        "package:rich/none.csv",
        server.serve("right.bin", CONTENT),
    ]
    report = get("", tmp_path / "a.bin", SHA256, places=places)
    assert report.place == places[3]
    assert [line.partition(": ")[0] for line in report.skipped] == places[:3]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_an_error_names_what_each_place_did(server: FileServer, tmp_path: Path) -> None:
    places = [f"{server.url}/none.bin", server.serve("wrong.bin", OTHER), str(tmp_path / "none")]
    with pytest.raises(DataError) as caught:
        get("", tmp_path / "a.bin", SHA256, places=places)
    text = caught.value.found
    assert "none.bin: it answers 404" in text
    assert f"wrong.bin: what it gives has the SHA-256 {hashlib.sha256(OTHER).hexdigest()}" in text
    assert "none: there is no such file" in text
    assert not names(tmp_path)


def test_files_of_this_machine_and_of_packages_are_fetched(tmp_path: Path) -> None:
    (tmp_path / "a file.bin").write_bytes(CONTENT)
    get(str(tmp_path / "a file.bin"), tmp_path / "1.bin", SHA256)
    get((tmp_path / "a file.bin").as_uri().replace("%20", " "), tmp_path / "2.bin", SHA256)
    report = get("package:sklearn/datasets/data/digits.csv.gz", tmp_path / "digits.csv.gz")
    assert gzip.decompress((tmp_path / "digits.csv.gz").read_bytes()).count(b"\n") == 1797
    assert report.num_bytes == 57523
    for address in ("package:sklearn/none.csv", "package:nothing_of_that_name/a", str(tmp_path)):
        with pytest.raises(DataError):
            get(address, tmp_path / "3.bin")


def test_two_that_want_the_same_file_fetch_it_once(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT, pause_s=0.02)
    reports: list[FileReport] = []
    threads = [
        threading.Thread(target=lambda: reports.append(get(url, tmp_path / "a.bin"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.status for report in reports) == ["fetched", "there", "there", "there"]
    assert len(server.asked) == 1
    assert names(tmp_path) == ["a.bin"]


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    held, most = 0, 0
    mutex = threading.Lock()

    def work() -> None:
        nonlocal held, most
        for _ in range(20):
            with exclusive(tmp_path / "lock", lambda _s: time.sleep(0.0005)):
                with mutex:
                    held += 1
                    most = max(most, held)
                time.sleep(0.0005)
                with mutex:
                    held -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not names(tmp_path)


# Errors of this machine


def test_a_full_disk_is_seen_before_anything_comes(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.serve("a.bin", CONTENT)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage._replace(free=1000))
    with pytest.raises(DataError, match="1,048,576 bytes are to come, and 1,000 are free"):
        get(url, tmp_path / "a.bin")
    assert not names(tmp_path)


def test_a_target_that_cannot_be_written_is_named(server: FileServer, tmp_path: Path) -> None:
    url = server.serve("a.bin", CONTENT)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "a.bin", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(DataError, match=target.name[:250]):
            get(url, target)
    assert names(tmp_path) == ["file", "folder"]


# Addresses


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://host/a.zip", "https://host/a.zip"),
        ("https://me:secret@host:1/a.zip", "https://***@host:1/a.zip"),
        ("https://token@host/a.zip", "https://***@host/a.zip"),
        ("s3://bucket/a?X-Amz-Signature=abc&n=1#x", "s3://bucket/a?X-Amz-Signature=***&n=***"),
        ("https://host/a?abc", "https://host/a?***"),
        ("package:sklearn/a.csv", "package:sklearn/a.csv"),
        ("/data/a.csv", "/data/a.csv"),
        ("http://[bad/a?key=1", "http://***"),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, expected: str) -> None:
    assert shown(address) == expected


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=20))
def test_no_text_of_a_library_shows_a_secret(secret: str) -> None:
    address = f"https://me:{secret}@host/a?sig={secret}"
    for text in (address, f"failed: {address}", f"no host me:{secret}@host", f"sig={secret} is old"):
        assert (
            secret not in without_secrets(text, address) or secret in "https://host/a?sig= failed me is old"
        )


def test_an_error_shows_no_secret(server: FileServer, tmp_path: Path) -> None:
    url = f"{server.url.replace('//', '//me:geheim@')}/none.bin?sig=verborgen"
    heard = Heard()
    with pytest.raises(DataError) as caught:
        get(url, tmp_path / "a.bin", SHA256, listener=heard)
    told = f"{caught.value} {heard.notes}"
    assert "none.bin" in told
    assert "geheim" not in told
    assert "verborgen" not in told


@pytest.mark.parametrize(
    "address",
    [
        "htps://host/a",
        "https://",
        "https:///a",
        "https://host:99999/a",
        "package:sklearn",
        "package:sklearn/../a",
        "http://a\nb/c",
        "http://[x/a",
    ],
)
def test_an_address_that_nothing_opens_is_a_mistake_of_the_user(address: str) -> None:
    with pytest.raises(SettingsError):
        check_address(address)


@settings(max_examples=200)
@given(st.text(max_size=40), st.sampled_from(["", "http://", "s3://", "package:", "file:///", "http://h/"]))
def test_no_address_breaks_what_reads_it(text: str, start: str) -> None:
    address = start + text
    shown(address)
    assert "/" not in file_name(address)
    with contextlib.suppress(SettingsError):
        check_address(address)
        joined(address, "a")


def test_a_mirror_is_joined_with_a_name() -> None:
    assert joined("https://host/files/?key=1", "a/b.csv") == "https://host/files/a/b.csv?key=1"
    assert joined("/srv/data", "a/b.csv") == "/srv/data/a/b.csv"
    assert joined("s3://bucket", "b.csv") == "s3://bucket/b.csv"
