"""Declarations and files that cannot be read are refused, by name and place, before or where they matter."""

from __future__ import annotations

import contextlib
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from source_files import FORMATS, declared, make, opened, picture, rows_of, write_parquet, write_tar

from bessemer.config.settings import Settings
from bessemer.data.sources import lines, opening
from bessemer.data.sources.opening import open_source
from bessemer.errors import BessemerError, DataError, UserError


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(kind: type[BessemerError], **declaration: Any) -> str:
    """What is said when a source is opened and read to its end."""
    with pytest.raises(BessemerError) as caught:
        rows_of(opened(**declaration))
    assert type(caught.value) is kind
    return str(caught.value)


# Declarations


def test_a_name_that_is_not_declared_is_told_the_nearest_one() -> None:
    with pytest.raises(UserError, match="did you mean train"):
        open_source(declared(format="text", path="a.txt"), "trian")
    with pytest.raises(UserError, match="known: none"):
        open_source(Settings(), "train")


@pytest.mark.parametrize("path", ["nothing.csv", "nothing/*.csv", "empty", "file://nothing.csv"])
def test_what_matches_no_file_says_where_it_looked(path: str) -> None:
    Path("empty").mkdir()
    Path("empty/.hidden.csv").write_text("n\n1\n")
    said = refused(UserError, format="csv", path=path)
    assert f"no file matches {path}" in said
    assert str(Path.cwd() / path.removeprefix("file://")) in said


def test_a_url_that_nothing_reads_is_refused() -> None:
    assert "Protocol not known" in refused(UserError, format="csv", path="nowhere://a/b.csv")


def test_a_column_that_is_not_there_is_told_the_nearest_one() -> None:
    write_parquet(Path("a.parquet"), {"label": [1]})
    Path("a.csv").write_text("label\n1\n")
    for name in ("parquet", "csv"):
        assert "did you mean label?" in refused(UserError, format=name, path=f"a.{name}", columns=["lable"])


def test_a_torch_source_is_a_function_that_returns_a_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"package\.module:function"):
        open_source(declared(format="torch", path="rows"), "train")
    monkeypatch.setattr(opening, "resolve_function", lambda name, path: lambda settings: [1, 2])
    with pytest.raises(UserError, match="returned list"):
        open_source(declared(format="torch", path="a:b"), "train")


# Parquet


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"a": [1.5], "b": [1]}, "column 'a' is double and not int64"),
        ({"a": [1]}, "it has no column 'b'"),
        ({"a": [1], "b": [1], "c": [1]}, "it has a column 'c' more"),
    ],
)
def test_parquet_files_of_different_schemas_are_refused_by_name(other: dict[str, Any], reason: str) -> None:
    write_parquet(Path("rows/a.parquet"), {"a": [1], "b": [1]})
    write_parquet(Path("rows/b.parquet"), other)
    said = refused(DataError, format="parquet", path="rows")
    assert "rows/b.parquet has another schema than" in said
    assert reason in said


def test_files_that_differ_in_columns_that_are_not_read_go_together() -> None:
    write_parquet(Path("rows/a.parquet"), {"a": [1], "b": [1]})
    write_parquet(Path("rows/b.parquet"), {"a": [2], "b": ["x"]})
    assert len(rows_of(opened(format="parquet", path="rows", columns=["a"]))) == 2


# Lines


@pytest.mark.parametrize(
    ("format_", "text", "line", "reason"),
    [
        ("csv", "n,x\n1,2\n3,abc\n4,5\n", 3, "int64: invalid value 'abc'"),
        ("csv", 'n,x\n1,"a\nb"\n3,"c"\n4\n', 5, "Expected 2 columns, got 1"),
        ("csv", "n,x\n1,2\n\n\n3,4,5\n", 5, "Expected 2 columns, got 3"),
        ("jsonl", '{"n": 1}\n{"n": 2}\n{"n": "x"}\n', 3, "changed from number to string"),
        ("jsonl", '{"n": 1}\n\n{"n":\n', 3, "Invalid value"),
        ("jsonl", '{"n": 1}\n[2]\n', 2, "changed from object to array"),
        ("jsonl", '{"n": 1}\n{"m": 2}\n', 2, "unexpected field"),
        ("jsonl", '{"n": 1}\n{"n": 2}{"n": 3}\n', 2, "records in"),
    ],
)
def test_a_line_that_does_not_fit_is_named(
    monkeypatch: pytest.MonkeyPatch, format_: str, text: str, line: int, reason: str
) -> None:
    monkeypatch.setattr(lines, "GROUP_BYTES", 1)
    Path(f"a.{format_}").write_text(text)
    said = refused(DataError, format=format_, path=f"a.{format_}")
    assert f"a.{format_}, line {line}: " in said
    assert reason in said


def test_a_text_that_is_not_utf_8_is_named_with_its_line() -> None:
    Path("a.txt").write_bytes(b"ok\n\xff\n")
    assert "a.txt, line 2 is not UTF-8" in refused(DataError, format="text", path="a.txt")
    Path("a.csv").write_bytes(b"n,t\n1,ok\n2,\xff\n")
    assert "a.csv, line 3: " in refused(DataError, format="csv", path="a.csv")


def test_csv_files_with_different_headers_are_refused_by_name() -> None:
    Path("a.csv").write_text("n,x\n1,2\n")
    Path("b.csv").write_text("n,y\n1,2\n")
    said = refused(DataError, format="csv", path="*.csv")
    assert "b.csv has the columns n, y" in said
    assert "n, x, as" in said


@pytest.mark.parametrize("text", ["", "n,n\n1,2\n"])
def test_a_csv_file_without_names_of_columns_is_refused(text: str) -> None:
    Path("a.csv").write_text(text)
    assert "a.csv has" in refused(DataError, format="csv", path="a.csv")


def test_a_quotation_mark_that_is_not_closed_is_refused() -> None:
    Path("a.csv").write_text('n,t\n1,"open\n2,b\n')
    assert "not closed" in refused(DataError, format="csv", path="a.csv")


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_gzip_file_that_is_cut_off_or_none_is_refused(cut: int) -> None:
    Path("a.jsonl.gz").write_bytes(gzip.compress(b'{"n": 1}\n' * 99)[:cut])
    assert "a.jsonl.gz" in refused(DataError, format="jsonl", path="a.jsonl.gz")
    Path("b.jsonl.gz").write_bytes(b'{"n": 1}\n')
    assert "b.jsonl.gz" in refused(DataError, format="jsonl", path="b.jsonl.gz")


@pytest.mark.parametrize(("format_", "text"), [("csv", "n\n"), ("jsonl", "\n\n"), ("text", "")])
def test_files_without_a_row_are_refused(format_: str, text: str) -> None:
    Path("rows").write_text(text)
    assert "rows has no" in refused(UserError, format=format_, path="rows")


# Tokens, images, tars


def test_tokens_that_do_not_fill_a_sample_or_are_none_are_refused() -> None:
    np.arange(4, dtype=np.uint16).tofile("a.bin")
    said = refused(UserError, format="tokens", path="a.bin", length=4)
    assert "its largest file has 4" in said
    assert "at least 5 tokens" in said
    Path("b.bin").write_bytes(b"123")
    assert "no whole number of uint16" in refused(DataError, format="tokens", path="b.bin")
    np.save("c.npy", np.zeros((2, 2)))
    assert "float64 of shape (2, 2)" in refused(DataError, format="tokens", path="c.npy", length=1)
    np.save("d.npy", np.arange(100))
    Path("d.npy").write_bytes(Path("d.npy").read_bytes()[:-8])
    assert "lacks 8 bytes" in refused(DataError, format="tokens", path="d.npy", length=1)
    Path("e.npy").write_bytes(b"nothing")
    assert "e.npy cannot be read" in refused(DataError, format="tokens", path="e.npy", length=1)


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declaration = make("images", tmp_path, monkeypatch)
    bad = tmp_path / "images" / "class0" / "03.png"
    bad.write_bytes(picture(3)[:50])
    assert f"{bad} is no picture" in refused(DataError, **declaration)
    (tmp_path / "images" / "loose.png").write_bytes(picture(1))
    assert "loose.png lies beside folders of classes" in refused(UserError, **declaration)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("1.cls", b"1"), ("2.cls", b"2"), ("1.txt", b"a")], "has members of 1 in two places"),
        ([("1.cls", b"1"), ("1.cls", b"2")], "has 1.cls twice"),
        ([("1.cls", b"one")], "1.cls cannot be decoded"),
        ([("1.json", b"{")], "1.json cannot be decoded"),
        ([("1.npy", b"")], "1.npy cannot be decoded"),
        ([("1.png", b"none")], "1.png is no picture"),
    ],
)
def test_a_tar_with_a_bad_member_is_refused_with_its_name(
    members: list[tuple[str, bytes]], reason: str
) -> None:
    write_tar(Path("a.tar"), members)
    said = refused(DataError, format="tar", path="a.tar")
    assert "a.tar" in said
    assert reason in said


def test_a_compressed_tar_is_refused() -> None:
    Path("a.tar.gz").write_bytes(b"")
    assert "a.tar.gz is compressed" in refused(UserError, format="tar", path="a.tar.gz")


@bounded(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 5000), st.integers(0, 255))
def test_a_tar_that_was_cut_off_or_damaged_is_refused_or_still_whole(place: int, value: int) -> None:
    write_tar(Path("a.tar"), [(f"{n}.txt", b"x" * 300) for n in range(5)])
    whole = Path("a.tar").read_bytes()
    for name, data in (
        ("cut", whole[:place]),
        ("changed", whole[:place] + bytes([value]) + whole[place + 1 :]),
    ):
        Path(f"{name}.tar").write_bytes(data)
        try:
            source = opened(format="tar", path=f"{name}.tar")
            keys = {row["__key__"] for row in rows_of(source)}
        except (DataError, UserError):
            continue
        assert len(keys) == 5 or (name == "cut" and place % 1024 == 0)


# All formats


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_changes_while_it_is_read_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(**make(name, tmp_path, monkeypatch))
    for file in tmp_path.rglob("*"):
        if file.is_file():
            os.utime(file, ns=(1, 1))
    with pytest.raises(DataError, match="has changed since"):
        source[20]


@pytest.mark.parametrize("name", ["parquet", "tar", "csv", "jsonl"])
@bounded(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_rubbish_is_refused_in_words(name: str, data: bytes) -> None:
    Path("rubbish").write_bytes(data)
    with contextlib.suppress(BessemerError):
        rows_of(opened(format=name, path="rubbish"))
