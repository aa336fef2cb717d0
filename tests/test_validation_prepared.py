"""Prepared data are held against their manifest; whatever lies there, there are findings and no crash."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from prepared_folders import digits, prepared_folder

from bessemer.config.data_settings import Checks
from bessemer.data.prepared.manifest import MANIFEST_FILE, Manifest, read_manifest, write_manifest
from bessemer.data.validation.between import compare
from bessemer.data.validation.drift import drift
from bessemer.data.validation.findings import Finding
from bessemer.data.validation.judging import judge
from bessemer.data.validation.prepared import examine_prepared, prepared_folders

Found = dict[tuple[str, str], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits: train of three shards, test of one."""
    prepared_folder(tmp_path / "rows", {"train": digits(100), "test": digits(30, start=1000)})
    return tmp_path / "rows"


def found_in(folder: Path, **checks: Any) -> Found:
    asked = Checks(**checks)
    examined = examine_prepared(folder, asked)
    findings = list(examined.findings)
    for tally in examined.tallies:
        findings += judge(tally, asked)
    for other in examined.tallies[1:]:
        findings += compare(examined.tallies[0], other)
    return {(finding.dataset, finding.check): finding.text for finding in findings}


def edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest by hand."""
    plain = json.loads((folder / MANIFEST_FILE).read_text())
    change(plain)
    (folder / MANIFEST_FILE).write_text(json.dumps(plain))


def rewritten(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a shard, and have the manifest agree with its hash and rows."""
    path = folder / name
    pq.write_table(change(pq.read_table(path)), path)

    def agree(plain: dict[str, Any]) -> None:
        for split in plain["splits"].values():
            for shard in split["shards"]:
                if shard["path"] == name:
                    rows = pq.read_metadata(path).num_rows
                    shard.update(num_rows=rows, group_rows=[rows], num_bytes=path.stat().st_size)
                    shard["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    edited(folder, agree)


def test_good_prepared_data_have_no_finding_and_are_described(folder: Path) -> None:
    assert found_in(folder) == {}
    train, test = examine_prepared(folder, Checks()).tallies
    assert (train.name, train.num_samples, train.num_checked) == ("rows/train", 100, 100)
    assert (test.name, test.num_samples, test.num_checked) == ("rows/test", 30, 30)
    assert train.class_counts == {"0": 34, "1": 33, "2": 33}
    values = torch.stack([pixels for pixels, _ in digits(100)]).double()
    column = train.summary().columns[0]
    assert column.kind == "float32 [1, 8, 8]"
    assert column.mean == pytest.approx(float(values.mean()), rel=1e-12)
    assert column.std == pytest.approx(float(values.std(correction=0)), rel=1e-12)
    assert len(train.summary().pictures) == 8


def test_statistics_are_those_that_the_manifest_has(folder: Path) -> None:
    for tally in examine_prepared(folder, Checks()).tallies:
        split = read_manifest(folder).splits[tally.name.partition("/")[2]]
        for column in tally.summary().columns:
            known = split.statistics[column.name]
            assert (column.min, column.max) == (known.min, known.max)
            assert column.mean == pytest.approx(known.mean)
            assert column.std == pytest.approx(known.std)


def test_a_missing_shard_is_an_error_by_name(folder: Path) -> None:
    (folder / "train-40.parquet").unlink()
    assert found_in(folder) == {("rows/train", "shards"): "train-40.parquet is missing"}


def test_a_truncated_shard_is_an_error_by_name_with_both_sizes(folder: Path) -> None:
    path = folder / "train-40.parquet"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    found = found_in(folder)
    assert f"{size // 2:,} bytes instead of {size:,}" in found["rows/train", "hash"]
    assert found["rows/train", "shards"].startswith("train-40.parquet is no whole Parquet file: ")


def test_a_flipped_bit_is_an_error_with_both_hashes(folder: Path) -> None:
    path = folder / "test-0.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    expected, now = hashlib.sha256(path.read_bytes()).hexdigest(), hashlib.sha256(data).hexdigest()
    path.write_bytes(data)
    text = found_in(folder)["rows/test", "hash"]
    assert text == f"test-0.parquet has the SHA-256 {now[:12]}… instead of {expected[:12]}…"
    # What is in such a file is nobody's promise: it is not read.
    assert [tally.num_checked for tally in examine_prepared(folder, Checks()).tallies] == [100, 0]


def test_a_file_that_the_manifest_does_not_name_is_a_warning(folder: Path) -> None:
    shutil.copy(folder / "test-0.parquet", folder / "more.parquet")
    assert found_in(folder) == {("rows", "extra-shards"): "more.parquet is not in the manifest"}


def test_other_counts_than_in_the_manifest_are_an_error(folder: Path) -> None:
    def change(plain: dict[str, Any]) -> None:
        plain["splits"]["test"]["shards"][0].update(num_rows=31, group_rows=[31])

    edited(folder, change)
    assert found_in(folder)["rows/test", "counts"] == "test-0.parquet has 30 rows instead of 31"


def test_other_row_groups_than_in_the_manifest_are_an_error(folder: Path) -> None:
    edited(folder, lambda plain: plain["splits"]["test"]["shards"][0].update(group_rows=[10, 20]))
    assert "other row groups" in found_in(folder)["rows/test", "counts"]


def test_another_dtype_than_in_the_manifest_is_an_error(folder: Path) -> None:
    edited(folder, lambda plain: plain["columns"][0].update(dtype="int32"))
    text = found_in(folder)["rows/test", "schema"]
    assert text == "test-0.parquet: column '0' holds tensor float32 instead of tensor int32"


def test_another_kind_of_column_than_in_the_manifest_is_an_error(folder: Path) -> None:
    rewritten(folder, "test-0.parquet", lambda table: table.set_column(1, "1", pa.array(["a"] * 30)))
    assert found_in(folder)["rows/test", "schema"] == "test-0.parquet: column '1' holds string instead of int"


def test_a_column_too_few_or_too_many_is_an_error(folder: Path) -> None:
    rewritten(folder, "test-0.parquet", lambda table: table.rename_columns(["0", "label"]))
    text = found_in(folder)["rows/test", "schema"]
    assert "column '1' is missing" in text
    assert "1 column more than in the manifest: label" in text


def test_a_tensor_of_too_few_bytes_is_an_error_with_its_row(folder: Path) -> None:
    def shorten(table: pa.Table) -> pa.Table:
        raw = [value.as_py() for value in table["0"]]
        raw[3] = raw[3][:-4]
        return table.set_column(0, "0", pa.array(raw, pa.large_binary()))

    rewritten(folder, "test-0.parquet", shorten)
    text = found_in(folder)["rows/test", "schema"]
    assert text == "1 sample has not the bytes of float32[1, 8, 8]: [3]"


def test_numbers_that_are_not_finite_are_found_in_the_right_row(tmp_path: Path) -> None:
    samples = digits(60)
    samples[45][0][0, 3, 3] = float("nan")
    prepared_folder(tmp_path / "rows", {"train": samples})
    assert found_in(tmp_path / "rows") == {("rows", "finite"): "1 sample has NaN or infinity: [45]"}


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    prepared_folder(tmp_path / "rows", {"train": digits(5), "test": []})
    assert found_in(tmp_path / "rows") == {("rows/test", "empty"): "there is no sample"}


def test_a_leak_over_shards_is_found(tmp_path: Path) -> None:
    train = digits(100)
    prepared_folder(tmp_path / "rows", {"train": train, "test": [*digits(10, start=500), train[77]]})
    text = "1 sample is in rows/train too, such as 10, which is 77 there"
    assert found_in(tmp_path / "rows") == {("rows/test", "leak"): text}


def test_tensors_of_different_shapes_texts_and_missing_values_are_read(tmp_path: Path) -> None:
    samples = [
        {"wave": np.arange(n + 1, dtype=np.float64), "text": f"row {n}", "n": None if n == 3 else n}
        for n in range(9)
    ]
    prepared_folder(tmp_path / "rows", {"all": samples})
    assert found_in(tmp_path / "rows") == {("rows", "missing"): "1 value of 9 missing (11.11%): [3]"}
    (tally,) = examine_prepared(tmp_path / "rows", Checks()).tallies
    wave = tally.summary().columns[0]
    assert (wave.kind, wave.max) == ("float64 [*]", 8.0)


def test_without_a_manifest_there_is_one_finding(tmp_path: Path) -> None:
    (finding,) = examine_prepared(tmp_path, Checks()).findings
    assert (finding.check, finding.severity) == ("manifest", "error")
    assert "there is no" in finding.text


def test_folders_with_a_manifest_are_found(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "data" / "prepared"
    shutil.copytree(folder, place / "rows")
    (place / "unfinished").mkdir()
    assert prepared_folders(tmp_path / "data") == [place / "rows"]


def test_a_shard_that_is_a_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.parquet"
    shutil.move(folder / "test-0.parquet", outside)
    (folder / "test-0.parquet").symlink_to(outside)
    assert "lies outside of" in found_in(folder)["rows/test", "shards"]


# Drift


def shifted(count: int, seed: int, shift: float = 0.0, classes: int = 3) -> list[dict[str, Any]]:
    generator = random.Random(seed)
    return [
        {
            "x": generator.gauss(shift, 1),
            "kind": generator.choice("abcdefgh"[:classes]),
            "n": generator.random(),
        }
        for _ in range(count)
    ]


def drifted(tmp_path: Path, samples: list[dict[str, Any]], num_before: int = 2000) -> list[Finding]:
    reference = prepared_folder(tmp_path / "before", {"train": shifted(num_before, 0)})
    prepared_folder(tmp_path / "now", {"train": samples})
    (tally,) = examine_prepared(tmp_path / "now", Checks()).tallies
    return list(drift(tally, "train", reference, 0.2))


def test_columns_that_are_spread_otherwise_are_drift_and_others_are_not(tmp_path: Path) -> None:
    found = drifted(tmp_path, shifted(2000, 1, shift=1.0, classes=5))
    assert {(finding.check, finding.severity, finding.column) for finding in found} == {
        ("drift", "warning", "x"),
        ("drift", "warning", "kind"),
    }
    by_column = {finding.column: finding.text for finding in found}
    assert "values above" in by_column["x"]
    assert "values 'd' were 0.0% of samples and are" in by_column["kind"]


@pytest.mark.parametrize("count", [20, 200, 2000])
def test_data_of_the_same_distribution_do_not_drift_however_few(tmp_path: Path, count: int) -> None:
    assert drifted(tmp_path, shifted(count, 1)) == []


def test_columns_that_come_and_go_are_drift(tmp_path: Path) -> None:
    samples = [{"x": row["x"], "more": row["n"], "kind": row["kind"]} for row in shifted(500, 2)]
    texts = [finding.text for finding in drifted(tmp_path, samples)]
    assert texts == ["the reference has a column 'n' that is gone", "the reference has no column 'more'"]


# Whatever comes


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "rows"
    prepared_folder(folder, {"train": digits(50), "test": digits(10, start=1000)})
    return folder


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def damaged_copy(pristine: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(pristine, place)
    return place


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_manifest_is_a_finding_and_nothing_is_written(
    pristine: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = damaged_copy(pristine, tmp_path / "rows")
    raw = bytearray((folder / MANIFEST_FILE).read_bytes())
    way = data.draw(st.sampled_from(["cut", "flip", "noise"]))
    if way == "cut":
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    elif way == "flip":
        for _ in range(data.draw(st.integers(1, 5))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    else:
        raw = bytearray(data.draw(st.binary(max_size=200)))
    (folder / MANIFEST_FILE).write_bytes(raw)
    before = listing(tmp_path)
    found_in(folder)
    assert listing(tmp_path) == before


WORDS = ["float64", "bfloat16", "object", "V8", "<U3", "tensor", "array", "scalar", "bytes", "none"]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**70), st.floats(), st.text(max_size=6), st.just([]),
    st.just({}), st.sampled_from(WORDS),
    st.lists(st.one_of(st.none(), st.integers(-1, 5)), max_size=3), st.just("../../etc/passwd"),
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_manifest_that_says_anything_is_findings_and_no_crash(
    pristine: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = damaged_copy(pristine, tmp_path / "rows")

    def change(plain: dict[str, Any]) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            node: Any = plain
            while True:
                keys = list(node) if isinstance(node, dict) else list(range(len(node)))
                key = data.draw(st.sampled_from(keys))
                if isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
                    node = node[key]
                    continue
                node[key] = data.draw(VALUES)
                return

    edited(folder, change)
    before = listing(tmp_path)
    found_in(folder)
    assert listing(tmp_path) == before


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_shard_is_a_finding_by_its_name_also_where_the_manifest_agrees(
    pristine: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = damaged_copy(pristine, tmp_path / "rows")
    path = folder / "test-0.parquet"
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    for _ in range(data.draw(st.integers(1, 4))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assume(raw != path.read_bytes())
    path.write_bytes(raw)
    assert "test-0.parquet" in found_in(folder)["rows/test", "hash"]
    manifest = read_manifest(folder)
    agreeing = _agreeing(manifest, hashlib.sha256(raw).hexdigest(), len(raw))
    write_manifest(agreeing, folder)
    # What is in it may be anything now, and some of it may even be read.
    found_in(folder)


def _agreeing(manifest: Manifest, sha256: str, num_bytes: int) -> Manifest:
    plain = manifest.model_dump()
    plain["splits"]["test"]["shards"][0].update(sha256=sha256, num_bytes=num_bytes)
    return Manifest.model_validate(plain)
