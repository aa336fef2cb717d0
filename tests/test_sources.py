"""One declaration opens each format; rows are what the files say, whatever groups they lie in."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from source_files import FORMATS, NUM_ROWS, declared, make, opened, rows_of, write_parquet, write_tar
from torch.utils.data import Dataset, default_collate

from bessemer.config.settings import Settings
from bessemer.data import changes
from bessemer.data.datasets import Fetcher, Recipe, fingerprint
from bessemer.data.order import ListedPlan
from bessemer.data.shipping import pack, unpack
from bessemer.data.sources import index, lines, opening
from bessemer.data.sources.base import Source
from bessemer.data.sources.files import File
from bessemer.data.sources.opening import open_source
from bessemer.errors import DataError
from loading import lists, loader

every_format = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# All formats


@every_format
def test_rows_come_in_the_order_of_the_files_and_lie_in_several_groups(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(**make(name, tmp_path, monkeypatch))
    number_of = FORMATS[name][1]
    assert [number_of(row) for row in rows_of(source)] == list(range(NUM_ROWS))
    assert number_of(source[-1]) == NUM_ROWS - 1
    assert len(source.group_sizes) > 4
    assert sum(source.group_sizes) == len(source) == NUM_ROWS
    with pytest.raises(IndexError):
        source[NUM_ROWS]


@every_format
def test_a_source_travels_without_what_it_has_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(**make(name, tmp_path, monkeypatch))
    assert len(source) == NUM_ROWS
    before = len(pickle.dumps(source))
    before_signature = changes.signature(source)
    rows = rows_of(source)
    assert changes.signature(source) == before_signature
    assert len(pickle.dumps(source)) < before + 200
    copy = pickle.loads(pickle.dumps(source))
    assert repr(rows_of(copy)) == repr(rows)


@every_format
def test_rows_make_batches_without_a_collate_function(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = default_collate(rows_of(opened(**make(name, tmp_path, monkeypatch)))[:4])
    assert isinstance(batch, dict)
    assert all(len(values) in (2, 4) for values in batch.values())


@every_format
def test_a_batch_made_in_columns_is_what_collating_its_rows_gives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(**make(name, tmp_path, monkeypatch))
    ids = [39, 0, 7, 8, 20, 7]
    plan = ListedPlan((tuple(ids),))
    batch = Fetcher(Recipe(source, 0, default_collate)).fetch(plan, 0, 0, 1).batch
    expected = default_collate([source[place] for place in ids])
    assert (source.gather(ids) is None) is (name in ("images", "text", "tar"))
    assert list(batch) == list(expected)
    for field, values in expected.items():
        if isinstance(values, torch.Tensor):
            assert batch[field].dtype == values.dtype
            assert torch.equal(batch[field], values)
        else:
            assert repr(batch[field]) == repr(values)


@every_format
def test_the_fingerprint_changes_with_a_file_and_is_cheap(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(**(declaration := make(name, tmp_path, monkeypatch)))
    before = source.fingerprint()
    assert opened(**declaration).fingerprint() == before
    file = next(path for path in sorted(tmp_path.rglob("*")) if path.is_file() and path.suffix != ".npz")
    os.utime(file, ns=(1, 1))
    assert opened(**declaration).fingerprint() != before
    assert fingerprint(opened(**declaration)) == fingerprint(opened(**declaration))


def test_a_transform_makes_the_sample_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declaration = make("parquet", tmp_path, monkeypatch)
    found = open_source(declared(**declaration), "train", transform=lambda row: int(row["n"]) * 2)
    assert [found[2], found[39]] == [4, 78]


def make_squares(settings: Settings) -> Dataset[int]:
    class Squares(Dataset[int]):
        def __len__(self) -> int:
            return settings.data.block_steps

        def __getitem__(self, place: int) -> int:
            return place**2

    return Squares()


def test_a_torch_data_set_is_what_a_function_of_the_project_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "resolve_function", lambda name, path: {"it:squares": make_squares}[name])
    settings = declared(format="torch", path="it:squares")
    assert rows_of(open_source(settings, "train"))[:4] == [0, 1, 4, 9]
    assert rows_of(open_source(settings, "train", transform=str))[3] == "9"


# Groups and memory


class Counting(Source):
    """Knows how often each group was read."""

    def __init__(self, sizes: tuple[int, ...], window_rows: int) -> None:
        self.sizes, self.reads = sizes, [0] * len(sizes)
        self.window_bytes = window_rows * 10

    @property
    def group_sizes(self) -> tuple[int, ...]:
        return self.sizes

    @property
    def group_bytes(self) -> int:
        return 10 * max(self.sizes)

    def fingerprint(self) -> str:
        return "0"

    def read_group(self, number: int) -> list[int]:
        self.reads[number] += 1
        first = sum(self.sizes[:number])
        return list(range(first, first + self.sizes[number]))


@bounded(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=20).map(tuple),
    window_rows=st.integers(1, 100),
    batch_size=st.integers(1, 30),
)
def test_a_shuffled_pass_reads_each_group_once_and_keeps_no_more_than_a_window(
    sizes: tuple[int, ...], window_rows: int, batch_size: int
) -> None:
    source = Counting(sizes, window_rows)
    batches = lists(loader(source, batch_size=batch_size, shuffle=True))
    assert sorted(row for batch in batches for row in batch) == list(range(sum(sizes)))
    # Two looks at one sample find out whether it draws random numbers, before the pass.
    assert all(count == 1 for count in source.reads) or sum(source.reads) == len(sizes) + 1
    kept = source._groups
    assert sum(sizes[number] for number in kept._groups) <= max(source.window_rows, max(sizes)) + max(sizes)


def test_a_group_that_cannot_be_read_is_not_kept(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"n": np.arange(20)})
    source = opened(format="parquet", path="a.parquet")
    moved = (tmp_path / "a.parquet").rename(tmp_path / "b")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        source[3]
    moved.rename(tmp_path / "a.parquet")
    assert source[3]["n"] == 3


def test_a_look_at_a_source_reads_few_of_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Counting((10,) * 1000, 50)
    monkeypatch.setattr(Counting, "group_bytes", 40 * 2**20)
    fingerprint(source)
    assert sum(source.reads) == 2


# Columns


def test_only_the_columns_that_are_named_are_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"a": [1], "b": [2], "c": [3]})
    Path("a.csv").write_text("a,b,c\n1,2,3\n")
    for format_ in ("parquet", "csv"):
        (row,) = rows_of(opened(format=format_, path=f"a.{format_}", columns=["c", "a"]))
        assert {name: int(value) for name, value in row.items()} == {"a": 1, "c": 3}


# Lines


@bounded(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(
        st.tuples(st.integers(0, 99), st.text('ab",\n\r é', max_size=12)), min_size=1, max_size=30
    ),
    ending=st.sampled_from(["\n", "\r\n"]),
    group_bytes=st.integers(1, 80),
    chunk_bytes=st.integers(1, 50),
    last=st.booleans(),
)
def test_csv_records_are_found_wherever_groups_and_reads_end(
    monkeypatch: pytest.MonkeyPatch,
    records: list[tuple[int, str]],
    ending: str,
    group_bytes: int,
    chunk_bytes: int,
    last: bool,
) -> None:
    quoted = [f'{number},"{text.replace(chr(34), chr(34) * 2)}"' for number, text in records]
    text = "n,t" + ending + ending.join(quoted) + (ending + ending) * last
    Path("a.csv").write_bytes(text.encode())
    monkeypatch.setattr(lines, "GROUP_BYTES", group_bytes)
    monkeypatch.setattr(lines, "_CHUNK_BYTES", chunk_bytes)
    source = opened(format="csv", path="a.csv")
    assert [(int(row["n"]), str(row["t"])) for row in rows_of(source)] == records


@bounded(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    found=st.lists(st.text("ab é\t", max_size=10), min_size=1, max_size=30),
    ending=st.sampled_from(["\n", "\r\n"]),
    group_bytes=st.integers(1, 80),
    chunk_bytes=st.integers(1, 50),
)
def test_every_line_of_a_text_is_a_sample_the_empty_ones_too(
    monkeypatch: pytest.MonkeyPatch, found: list[str], ending: str, group_bytes: int, chunk_bytes: int
) -> None:
    Path("a.txt").write_bytes("".join(line + ending for line in found).encode())
    monkeypatch.setattr(lines, "GROUP_BYTES", group_bytes)
    monkeypatch.setattr(lines, "_CHUNK_BYTES", chunk_bytes)
    assert [row["text"] for row in rows_of(opened(format="text", path="a.txt"))] == found


def test_numbers_may_be_missing_in_csv_and_texts_are_what_they_say() -> None:
    Path("a.csv").write_text("n,x,t\n1,1.5,NA\n,NA,\n")
    first, second = rows_of(opened(format="csv", path="a.csv"))
    assert (int(first["n"]), float(first["x"]), first["t"]) == (1, 1.5, "NA")
    assert second["n"] is None
    assert np.isnan(second["x"])
    assert second["t"] == ""


def test_a_byte_order_mark_belongs_to_no_value() -> None:
    mark = b"\xef\xbb\xbf"
    Path("a.csv").write_bytes(mark + b"n\n1\n")
    Path("a.jsonl").write_bytes(mark + b'{"n": 1}\n')
    Path("a.txt").write_bytes(mark + b"n\n")
    assert [list(opened(format=name, path=f"a.{name}")[0]) for name in ("csv", "jsonl")] == [["n"], ["n"]]
    assert opened(format="text", path="a.txt")[0] == {"text": "n"}


def test_gzip_files_are_unpacked_and_are_one_group_each() -> None:
    for name, text in (("a.csv.gz", "n\n1\n2\n"), ("a.jsonl.gz", '{"n": 1}\n{"n": 2}\n')):
        Path(name).write_bytes(gzip.compress(text.encode()))
        source = opened(format=name.split(".")[1], path=name)
        assert [int(row["n"]) for row in rows_of(source)] == [1, 2]
        assert source.group_sizes == (2,)


def test_a_json_line_without_a_field_lacks_it_and_times_stay_text() -> None:
    Path("a.jsonl").write_text('{"a": 1, "t": "2020-01-01T00:00:00Z", "n": null}\n\n{"a": 2}\n')
    first, second = rows_of(opened(format="jsonl", path="a.jsonl"))
    assert first == {"a": 1, "t": "2020-01-01T00:00:00Z", "n": None}
    assert second == {"a": 2, "t": None, "n": None}


# Tokens, images, tars


def test_windows_of_tokens_may_overlap_and_stay_in_their_file() -> None:
    np.arange(10, dtype=np.uint16).tofile("a.bin")
    np.save("b.npy", np.arange(100, 105))
    source = opened(format="tokens", path=".", length=4, stride=2)
    assert [row["input"].tolist() for row in rows_of(source)] == [
        [0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [100, 101, 102, 103],
    ]  # fmt: skip
    assert source[2]["target"].tolist() == [5, 6, 7, 8]
    assert source[2]["target"].dtype == np.int64


def test_images_in_the_folder_itself_have_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("images", tmp_path, monkeypatch)
    source = opened(format="images", path="images/class1")
    assert set(source[0]) == {"image", "path"}
    labelled = opened(format="images", path="images", image_type="pil")[39]
    assert (labelled["label"], labelled["path"]) == (1, "class1/39.png")
    assert labelled["image"].size == (3, 2)


def test_members_of_a_tar_are_decoded_by_what_follows_their_first_dot() -> None:
    members = [("./d/1.seg.json", b'{"a": [1]}'), ("./d/1.TXT", "é".encode()), ("./d/1.raw", b"\0")]
    write_tar(Path("a.tar"), [("./d/._1.txt", b"of a Mac"), ("README", b"no field"), *members])
    (row,) = rows_of(opened(format="tar", path="a.tar"))
    assert row == {"__key__": "./d/1", "seg.json": {"a": [1]}, "txt": "é", "raw": b"\0"}


# Indexes


def test_an_index_is_made_once_for_a_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declaration = make("text", tmp_path, monkeypatch)
    made: list[str] = []
    whole = lines._index

    def noted(file: File, *how: bool) -> index.Index:
        made.append(file.name)
        return whole(file, *how)

    monkeypatch.setattr(lines, "_index", noted)
    for _ in range(2):
        opened(**declaration)
    assert made == ["rows.txt"]
    (tmp_path / "rows.txt").write_text("another\n")
    assert rows_of(opened(**declaration)) == [{"text": "another"}]
    assert len(made) == 2
    for file in (tmp_path / "data" / index._FOLDER).iterdir():
        file.write_bytes(file.read_bytes()[:40])
    assert rows_of(opened(**declaration)) == [{"text": "another"}]


def test_a_folder_that_cannot_be_written_costs_only_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declaration = make("tar", tmp_path, monkeypatch)
    (tmp_path / "data").write_text("a file where the folder would be")
    assert len(opened(**declaration)) == NUM_ROWS


def test_a_source_is_read_where_the_recipe_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(**make("tokens", tmp_path, monkeypatch))
    recipe = unpack(pack(Recipe(source, 0, default_collate)))
    assert recipe.dataset[5]["input"].tolist() == source[5]["input"].tolist()
