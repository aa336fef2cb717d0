"""An archive is unpacked into its folder whole or not at all, and nowhere else, whatever it says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.data.downloads.entries import ArchiveError
from bessemer.data.downloads.entry_rules import check_symlinks
from bessemer.data.downloads.memory import Memory
from bessemer.data.downloads.obtaining import Means, obtain
from bessemer.data.downloads.plan import Wanted
from bessemer.data.downloads.report import FileReport, StoppedError
from bessemer.data.downloads.unpacking import Limits, unpack
from bessemer.errors import DataError

LIMITS = Limits(10**9, 1000, 200.0)
FILES = {"a.txt": b"one", "deep/er/b.txt": b"two" * 1000, "empty": b""}


def tar_of(entries: Mapping[str, bytes | tuple[bytes, str]], mode: str = "w") -> bytes:
    """Make a tar; an entry is its content, or (type, link target)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as tar:  # type: ignore[call-overload]
        for name, what in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                info.size = len(what)
                tar.addfile(info, io.BytesIO(what))
            else:
                info.type, info.linkname = what
                tar.addfile(info)
    return made.getvalue()


def zip_of(entries: Mapping[str, bytes | tuple[int, bytes]], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Make a zip; an entry is its content, or (mode of the file, content)."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", packing) as archive:
        for name, what in entries.items():
            info = zipfile.ZipInfo(name)
            mode, content = what if isinstance(what, tuple) else (stat.S_IFREG | 0o644, what)
            info.external_attr = mode << 16
            info.compress_type = packing
            archive.writestr(info, content)
    return made.getvalue()


def zst(content: bytes) -> bytes:
    return bytes(pyarrow.compress(content, "zstd", asbytes=True))


def unpacked(content: bytes, tmp_path: Path, name: str = "archive", limits: Limits = LIMITS) -> Any:
    archive = tmp_path / name
    archive.write_bytes(content)
    return unpack(archive, tmp_path / "out", limits, threading.Event())


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(zip_of(FILES), id="zip"),
        pytest.param(zip_of(FILES, zipfile.ZIP_LZMA), id="zip with lzma"),
        pytest.param(tar_of(FILES), id="tar"),
        pytest.param(tar_of(FILES, "w:gz"), id="tar.gz"),
        pytest.param(tar_of(FILES, "w:bz2"), id="tar.bz2"),
        pytest.param(tar_of(FILES, "w:xz"), id="tar.xz"),
        pytest.param(zst(tar_of(FILES)), id="tar.zst"),
        pytest.param(
            tar_of({**FILES, "x.zip": zip_of({"no.txt": b"no"}, zipfile.ZIP_STORED)}), id="zip in tar"
        ),
    ],
)
def test_every_kind_of_archive_is_unpacked(content: bytes, tmp_path: Path) -> None:
    report = unpacked(content, tmp_path)
    found = files_in(tmp_path / "out")
    found.pop("x.zip", None)
    assert found == FILES
    assert report.num_bytes >= sum(map(len, FILES.values()))
    assert report.num_files in (3, 4)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.csv.gz", gzip.compress),
        ("a.csv.bz2", bz2.compress),
        ("a.csv.xz", lzma.compress),
        ("a.csv.zst", zst),
    ],
)
@pytest.mark.parametrize("content", [b"1,2\n", b"", b"x" * 1000])
def test_a_single_packed_file_is_unpacked_under_its_name(
    name: str, pack: Callable[[bytes], bytes], content: bytes, tmp_path: Path
) -> None:
    unpacked(pack(content), tmp_path, name)
    assert files_in(tmp_path / "out") == {"a.csv": content}


def test_what_begins_with_zeros_is_no_empty_tar(tmp_path: Path) -> None:
    unpacked(gzip.compress(bytes(3000)), tmp_path, "a.gz")
    assert files_in(tmp_path / "out") == {"a": bytes(3000)}
    (tmp_path / "empty").mkdir()
    unpacked(tar_of({}, "w:gz"), tmp_path / "empty", "a.tar.gz")
    assert not files_in(tmp_path / "empty" / "out")


def test_packed_files_of_several_parts_are_whole(tmp_path: Path) -> None:
    unpacked(gzip.compress(b"one") + gzip.compress(b"two"), tmp_path, "a.gz")
    assert files_in(tmp_path / "out") == {"a": b"onetwo"}


def test_links_in_the_folder_are_kept_and_programs_may_be_run(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        link = tarfile.TarInfo("deep/link")
        link.type, link.linkname = tarfile.SYMTYPE, "../real/a"
        tar.addfile(link)
        run = tarfile.TarInfo("real/a")
        run.size, run.mode = 2, 0o6755
        tar.addfile(run, io.BytesIO(b"#!"))
        second = tarfile.TarInfo("second")
        second.type, second.linkname = tarfile.LNKTYPE, "./real/a"
        tar.addfile(second)
    unpacked(made.getvalue(), tmp_path)
    out = tmp_path / "out"
    assert os.readlink(out / "deep" / "link") == "../real/a"
    assert (out / "deep" / "link").read_bytes() == b"#!"
    assert (out / "second").stat().st_ino == (out / "real" / "a").stat().st_ino
    assert stat.S_IMODE((out / "real" / "a").stat().st_mode) & 0o7100 == 0o100


def test_the_last_of_two_entries_with_one_name_counts(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, kind, what in (
            ("a", tarfile.REGTYPE, b"old"),
            ("b", tarfile.LNKTYPE, b"a"),
            ("a", tarfile.REGTYPE, b"new!"),
        ):
            info = tarfile.TarInfo(name)
            info.type = kind
            info.size = len(what) if kind == tarfile.REGTYPE else 0
            info.linkname = what.decode() if kind == tarfile.LNKTYPE else ""
            tar.addfile(info, io.BytesIO(what) if info.size else None)
    assert unpacked(made.getvalue(), tmp_path).num_files == 2
    assert files_in(tmp_path / "out") == {"a": b"new!", "b": b"old"}


SYM, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
LINK = stat.S_IFLNK | 0o777


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(tar_of({"/abs": b"x"}), "absolute path", id="absolute"),
        pytest.param(zip_of({"/abs": b"x"}), "absolute path", id="absolute in a zip"),
        pytest.param(zip_of({"C:\\a\\b": b"x"}), "absolute path", id="drive"),
        pytest.param(zip_of({"\\\\host\\a": b"x"}), "absolute path", id="host"),
        pytest.param(tar_of({"../up": b"x"}), "leads out", id="up"),
        pytest.param(zip_of({"a/../../up": b"x"}), "leads out", id="up in a zip"),
        pytest.param(zip_of({"..\\up": b"x"}), "leads out", id="up with backslashes"),
        pytest.param(tar_of({"a": (SYM, "/etc/passwd")}), "link out", id="link to an absolute path"),
        pytest.param(tar_of({"a": (SYM, "../up")}), "link out", id="link up"),
        pytest.param(
            tar_of({"a/b/c": (SYM, "../.."), "x": (SYM, "a/b/c/..")}), "link out", id="through a link"
        ),
        pytest.param(tar_of({"a": (SYM, "b"), "b": (SYM, "a")}), "link out", id="circle"),
        pytest.param(tar_of({"a": (SYM, "..")}), "link out", id="link to the folder above"),
        pytest.param(zip_of({"a": (LINK, b"../up")}), "link out", id="link up in a zip"),
        pytest.param(tar_of({"a": (SYM, "b"), "a/x": b"x"}), "folder and something else", id="into a link"),
        pytest.param(
            tar_of({"a": (SYM, "/"), "a/etc/x": b"x"}), "folder and something", id="into a link out"
        ),
        pytest.param(tar_of({"a": b"1", "a/x": b"x"}), "folder and something else", id="into a file"),
        pytest.param(tar_of({"a/x": b"x", "a": b"1"}), "folder and something else", id="over a folder"),
        pytest.param(tar_of({"a": (HARD, "/etc/passwd")}), "link out", id="second name of an absolute path"),
        pytest.param(tar_of({"a": (HARD, "../up")}), "link out", id="second name of something above"),
        pytest.param(tar_of({"a": (HARD, "none")}), "which it has not", id="second name of nothing"),
        pytest.param(tar_of({"a": (HARD, "a")}), "which it has not", id="second name of itself"),
        pytest.param(
            tar_of({"s": (SYM, "b"), "a": (HARD, "s")}), "which it has not", id="second name of a link"
        ),
        pytest.param(tar_of({"a": (tarfile.CHRTYPE, "")}), "a device", id="device"),
        pytest.param(tar_of({"a": (tarfile.FIFOTYPE, "")}), "a device", id="pipe"),
        pytest.param(zip_of({"a": (stat.S_IFBLK | 0o644, b"")}), "a device", id="device in a zip"),
        pytest.param(tar_of({"x/" * 300 + "a": b""}), "folders deep", id="deep"),
        pytest.param(tar_of({"y" * 300: b""}), "damaged", id="long name"),
        pytest.param(b"no archive at all", "no archive", id="text"),
        pytest.param(b"\n<!DOCTYPE html><html>", "no archive .*but a web page", id="web page"),
        pytest.param(b"", "no archive", id="nothing"),
        pytest.param(tar_of(FILES, "w:gz")[:-40], "damaged", id="tar.gz that ends early"),
        pytest.param(tar_of(FILES)[:3000], "damaged", id="tar that ends early"),
        pytest.param(zst(tar_of(FILES))[:-10], "damaged", id="tar.zst that ends early"),
        pytest.param(zip_of(FILES)[:-40], "no archive", id="zip that ends early"),
    ],
)
def test_what_could_do_harm_is_refused_and_leaves_nothing(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveError, match=reason):
        unpacked(content, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    content = bytearray(tar_of(FILES))
    content[1024 + 148 : 1024 + 156] = b"99999999"
    with pytest.raises(ArchiveError, match="damaged"):
        unpacked(bytes(content), tmp_path)


def test_a_damaged_file_in_a_zip_is_found(tmp_path: Path) -> None:
    content = zip_of({"a": b"hello world"}, zipfile.ZIP_STORED)
    with pytest.raises(ArchiveError, match="CRC"):
        unpacked(content.replace(b"hello", b"hallo"), tmp_path)


def test_encrypted_files_are_refused(tmp_path: Path) -> None:
    content = bytearray(zip_of({"a": b"x"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ArchiveError, match="'a' in it is encrypted"):
        unpacked(bytes(content), tmp_path)


@pytest.mark.parametrize(
    ("limits", "setting"),
    [
        (Limits(5000, 10, 200.0), "max_unpacked_bytes"),
        (Limits(10**9, 2, 200.0), "max_unpacked_entries"),
    ],
)
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_limits_are_kept_and_named(
    make: Callable[..., bytes], limits: Limits, setting: str, tmp_path: Path
) -> None:
    content = make({f"{number}": b"x" * 2000 for number in range(3)})
    with pytest.raises(ArchiveError, match=setting):
        unpacked(content, tmp_path, limits=limits)
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_stopped_by_what_it_becomes_not_by_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bessemer.data.downloads.unpacking._RATIO_FROM_BYTES", 100_000)
    bomb = bytearray(zip_of({"a": bytes(3_000_000)}))
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = bomb.index(mark) + at
        bomb[place : place + 4] = (10).to_bytes(4, "little")
    for content in (bytes(bomb), gzip.compress(bytes(3_000_000)), zst(bytes(3_000_000))):
        with pytest.raises(ArchiveError):
            unpacked(content, tmp_path)
        assert not (tmp_path / "out").exists()
    with pytest.raises(ArchiveError, match="max_unpacked_ratio"):
        unpacked(gzip.compress(bytes(3_000_000)), tmp_path)
    unpacked(gzip.compress(os.urandom(3_000_000)), tmp_path)


def test_names_that_differ_in_capital_letters_only_are_told(tmp_path: Path) -> None:
    (note,) = unpacked(tar_of({"Data/a": b"1", "data/b": b"2", "c": b""}), tmp_path).notes
    assert "Data and data" in note
    assert len(files_in(tmp_path / "out")) == 3


def test_unpacking_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of(FILES))
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        unpack(tmp_path / "a.tar", tmp_path / "out", LIMITS, stop)
    assert not (tmp_path / "out").exists()


# Into its place


def get(archive: Path, folder: Path, data: Path, **how: Any) -> FileReport:
    means = Means(Memory(data), LIMITS, **how)
    return obtain(Wanted(archive.name, (str(archive),), data / archive.name, "", folder), means)


def test_a_second_call_unpacks_nothing(tmp_path: Path) -> None:
    archive, data = tmp_path / "a.zip", tmp_path / "data"
    archive.write_bytes(zip_of(FILES))
    first = get(archive, data / "a", data)
    assert first.unpacked is not None
    assert first.unpacked.num_files == 3
    assert files_in(data / "a") == FILES
    (data / "a" / "added").write_text("mine")
    assert get(archive, data / "a", data).unpacked is None
    (data / "a.zip").unlink()
    assert get(archive, data / "a", data).status == "unpacked"
    assert sorted(path.name for path in data.iterdir()) == [".bessemer", "a"]


def test_data_that_cannot_be_written_are_good_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, data = tmp_path / "a.zip", tmp_path / "data"
    archive.write_bytes(zip_of(FILES))
    get(archive, data / "a", data)
    monkeypatch.setattr("os.open", lambda *_: pytest.fail("something is opened to write"))
    assert get(archive, data / "a", data).unpacked is None


def test_a_copy_of_the_data_is_known_and_one_that_lacks_files_is_not(tmp_path: Path) -> None:
    archive, data = tmp_path / "a.zip", tmp_path / "data"
    archive.write_bytes(zip_of(FILES))
    get(archive, data / "a", data)
    other = tmp_path / "other"
    for path in data.rglob("*"):
        copy = other / path.relative_to(data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            copy.write_bytes(path.read_bytes())
    assert Memory(other).folder(other / "a") is not None
    (other / "a" / "a.txt").unlink()
    assert Memory(other).folder(other / "a") is None


def test_a_folder_that_was_not_unpacked_here_is_kept(tmp_path: Path) -> None:
    archive, data = tmp_path / "a.zip", tmp_path / "data"
    archive.write_bytes(zip_of(FILES))
    (data / "a").mkdir(parents=True)
    (data / "a" / "mine").write_text("mine")
    for is_forced in (False, True):
        with pytest.raises(DataError, match="was not unpacked here"):
            get(archive, data / "a", data, is_forced=is_forced)
    assert files_in(data / "a") == {"mine": b"mine"}


def test_another_archive_takes_the_place_only_if_it_is_forced(tmp_path: Path) -> None:
    archive, data = tmp_path / "a.zip", tmp_path / "data"
    archive.write_bytes(zip_of(FILES))
    get(archive, data / "a", data)
    archive.write_bytes(zip_of({"new": b"new"}))
    (data / "a.zip").unlink()
    assert get(archive, data / "a", data).status == "unpacked"  # nothing tells that it has changed
    (data / "a.zip").write_bytes(archive.read_bytes())
    with pytest.raises(DataError, match="was unpacked from another archive"):
        get(archive, data / "a", data)
    assert files_in(data / "a") == FILES
    get(archive, data / "a", data, is_forced=True)
    assert files_in(data / "a") == {"new": b"new"}
    assert sorted(path.name for path in data.iterdir()) == [".bessemer", "a", "a.zip"]


def test_an_archive_that_is_refused_keeps_the_folder_before_it(tmp_path: Path) -> None:
    archive, data = tmp_path / "a.zip", tmp_path / "data"
    archive.write_bytes(zip_of(FILES))
    get(archive, data / "a", data)
    archive.write_bytes(zip_of({"../up": b"new"}))
    with pytest.raises(DataError, match="leads out of the folder"):
        get(archive, data / "a", data, is_forced=True)
    assert files_in(data / "a") == FILES


@pytest.mark.parametrize("moment", ["keep_folder", "rename", "after"])
def test_a_kill_while_the_folder_gets_its_name_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    archive, data = tmp_path / "a.zip", tmp_path / "data"
    archive.write_bytes(zip_of(FILES))
    get(archive, data / "a", data)
    archive.write_bytes(zip_of({"new": b"new"}))

    def dies(*_args: object, **_how: object) -> None:
        raise KeyboardInterrupt

    def dies_at_last(path: Path, target: Path) -> Path:
        if path.name.endswith(".unpacking"):
            raise KeyboardInterrupt
        os.rename(path, target)
        return target

    with monkeypatch.context() as patch:
        if moment == "keep_folder":
            patch.setattr("bessemer.data.downloads.memory.Memory.keep_folder", dies)
        elif moment == "rename":
            patch.setattr("pathlib.Path.rename", dies_at_last)
        else:
            patch.setattr("shutil.rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            get(archive, data / "a", data, is_forced=True)
    get(archive, data / "a", data)
    assert files_in(data / "a") == {"new": b"new"}


# Any archive at all

NAMES = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "A", "é", "c\\..\\d", "C:", "x" * 300, "a\0b", "\n"]),
    min_size=1,
    max_size=4,
).map("/".join)
KINDS = [
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    SYM,
    HARD,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
    tarfile.CONTTYPE,
    b"?",
]
ENTRIES = st.lists(st.tuples(NAMES, st.sampled_from(KINDS), NAMES, st.binary(max_size=5)), max_size=8)


def _tar(entries: list[tuple[str, bytes, str, bytes]], form: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, kind, link, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(content) if kind in (tarfile.REGTYPE, tarfile.CONTTYPE) else 0
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def _zip(entries: list[tuple[str, bytes, str, bytes]]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, kind, link, content in entries:
            info = zipfile.ZipInfo()
            info.filename = name  # its constructor would clean it
            is_link = kind in (SYM, HARD)
            info.external_attr = (LINK if is_link else stat.S_IFREG) << 16
            archive.writestr(info, link.encode() if is_link else content)
    return made.getvalue()


def _attacked(content: bytes) -> None:
    """Unpack into the middle of a tree, and see that nothing around it changes."""
    with tempfile.TemporaryDirectory() as top:
        around = Path(top) / "around"
        around.mkdir()
        for name in ("a", "b", "d"):
            (around / name).write_text("before")
            (Path(top) / name).write_text("before")
        archive, out = Path(top) / "archive", around / "out"
        archive.write_bytes(content)
        try:
            unpack(archive, out, LIMITS, threading.Event())
        except ArchiveError:
            assert not out.exists()
        else:
            for path in out.rglob("*"):
                assert path.resolve().is_relative_to(out.resolve())
        assert {path.name for path in around.iterdir()} - {"out"} == {"a", "b", "d"}
        assert {path.name for path in Path(top).iterdir()} == {"archive", "around", "a", "b", "d"}
        for name in ("a", "b", "d"):
            assert (around / name).read_text() == (Path(top) / name).read_text() == "before"
            assert (around / name).stat().st_nlink == 1


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FUZZ
@given(ENTRIES, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_no_tar_writes_outside_its_folder(entries: list[tuple[str, bytes, str, bytes]], form: int) -> None:
    _attacked(_tar(entries, form))


@FUZZ
@given(ENTRIES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_zip_writes_outside_its_folder(entries: list[tuple[str, bytes, str, bytes]]) -> None:
    _attacked(_zip(entries))


@FUZZ
@given(st.data(), st.sampled_from(["zip", "tar", "gz", "xz", "bz2", "zst"]))
def test_no_damage_makes_anything_but_one_kind_of_error(data: st.DataObject, kind: str) -> None:
    content = bytearray(
        {
            "zip": zip_of(FILES),
            "tar": tar_of(FILES),
            "gz": tar_of(FILES, "w:gz"),
            "xz": tar_of(FILES, "w:xz"),
            "bz2": tar_of(FILES, "w:bz2"),
            "zst": zst(tar_of(FILES)),
        }[kind]
    )
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _attacked(bytes(content[: data.draw(st.integers(0, len(content)))]))


PARTS = st.lists(st.sampled_from(["a", "b", "c", ".."]), min_size=1, max_size=4)


@FUZZ
@given(
    st.dictionaries(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple), PARTS, max_size=5)
)
def test_links_that_pass_the_rule_lead_nowhere_else(links: dict[tuple[str, ...], list[str]]) -> None:
    # No link stands where another needs a folder: that is refused earlier.
    links = {k: v for k, v in links.items() if not any(k[:n] in links for n in range(1, len(k)))}
    targets = {place: "/".join(parts) for place, parts in links.items()}
    try:
        check_symlinks(targets)
    except ArchiveError:
        return
    with tempfile.TemporaryDirectory() as top:
        out = Path(os.path.realpath(top)) / "out"
        out.mkdir()
        for place, target in targets.items():
            out.joinpath(*place).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(target, out.joinpath(*place))
        for place in targets:
            assert Path(os.path.realpath(out.joinpath(*place))).is_relative_to(out)
