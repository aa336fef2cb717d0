"""Reading source code and telling whether it changed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.conversion.sources import fingerprint, read

TREES = st.dictionaries(
    st.sampled_from(["a.py", "b.py", "c/a.py", "c/d.py"]),
    st.binary(max_size=8),
    min_size=1,
    max_size=4,
)


def write(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@settings(deadline=None)
@given(TREES, TREES)
def test_a_fingerprint_changes_if_and_only_if_the_content_does(
    first: dict[str, bytes], second: dict[str, bytes]
) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        same = fingerprint(write(first, Path(one))) == fingerprint(write(second, Path(two)))
    assert same == (first == second)


def test_caches_and_hidden_folders_are_no_source(tmp_path: Path) -> None:
    write({"train.py": b"x = 1\n"}, tmp_path)
    before = fingerprint(tmp_path)
    write({"__pycache__/train.py": b"?", ".venv/lib.py": b"?", "notes.txt": b"?"}, tmp_path)
    assert fingerprint(tmp_path) == before
    assert [source.path for source in read(tmp_path).files] == ["train.py"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path, newline: str) -> None:
    (tmp_path / "train.py").write_bytes(("\ufeffx = 1" + newline).encode())
    (source,) = read(tmp_path / "train.py").files
    assert source.text.startswith("x = 1")
