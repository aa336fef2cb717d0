"""The manifest of prepared data: what is in the shards, how much, and what made them. Pure values.

A folder of prepared data holds `manifest.json` and its shards. The manifest is written last and in one
step, so a folder with a manifest is whole. Who reads one that was damaged gets one error with the
place, never a traceback.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from bessemer.config.section import Section
from bessemer.data.files import put_file
from bessemer.errors import DataError

MANIFEST_FILE = "manifest.json"
# In `data.folder`: a folder for each data set that was prepared.
PREPARED_FOLDER = "prepared"

Kind = Literal["tensor", "array", "scalar", "int", "float", "bool", "str", "bytes", "none"]


class Column(Section):
    """One column of the shards, one leaf of a sample.

    Attributes:
        name: of the column.
        kind: what Python gets: a tensor, a NumPy array or scalar, or a plain value.
        dtype: NumPy's name of an element of a tensor, array or scalar (torch's for bfloat16); else "".
        shape: of one sample's tensor or array, with None for a length that differs from sample to sample;
            None where even the number of axes does; () for everything else.
    """

    name: str = Field(min_length=1)
    kind: Kind
    dtype: str = ""
    shape: tuple[int | None, ...] | None = ()


class Statistics(Section):
    """What a column holds in one split.

    Attributes:
        num_missing: samples without a value (count).
        num_not_finite: samples with NaN or infinity in it (count).
        min, max, mean, std: over all elements that are finite numbers; None where there are none.
        counts: samples by value, of integers and texts with at most 1,000 different values.
        quantiles: of plain numbers, the values at 0, 0.1, ... 1 of the distribution, for drift.
    """

    num_missing: int = Field(0, ge=0)
    num_not_finite: int = Field(0, ge=0)
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    quantiles: tuple[float, ...] = ()


class Shard(Section):
    """One Parquet file, and what it must be.

    Attributes:
        path: in the folder of the manifest, with slashes.
        num_rows: samples (count).
        num_bytes: size of the file (bytes).
        sha256: of the file (hex).
        group_rows: rows of each of its row groups (count); they are read whole.
    """

    path: str = Field(min_length=1)
    num_rows: int = Field(ge=0)
    num_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    group_rows: tuple[int, ...] = ()

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        parts = PurePosixPath(value).parts
        if value.startswith("/") or ".." in parts or "\\" in value or "\0" in value or not parts:
            raise ValueError("a path inside the folder of the manifest")
        return value

    @model_validator(mode="after")
    def _groups_add_up(self) -> Shard:
        if any(count < 0 for count in self.group_rows) or sum(self.group_rows) != self.num_rows:
            raise ValueError(f"row groups of {sum(self.group_rows)} rows in a shard of {self.num_rows}")
        return self


class Split(Section):
    """One part of the data.

    Attributes:
        shards: its files, in order; sample i is row i of all of them together.
        statistics: by column.
    """

    shards: tuple[Shard, ...]
    statistics: dict[str, Statistics] = Field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """Samples (count)."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of its files (bytes)."""
        return sum(shard.num_bytes for shard in self.shards)


class Origin(Section):
    """What prepared data were made from; equal origins make equal data.

    Attributes:
        inputs: of what was read (hex).
        code: of the functions that made samples of it (hex).
        parameters: of the settings that they depend on (hex).
    """

    inputs: str
    code: str
    parameters: str

    def differences(self, other: Origin) -> list[str]:
        """Name the parts that differ: inputs, code, parameters."""
        return [part for part in type(self).model_fields if getattr(self, part) != getattr(other, part)]


class Manifest(Section):
    """All that is known of prepared data.

    Attributes:
        format: version of this form.
        name: what the data are called.
        origin: what they were made from.
        columns: of every shard, in order.
        structure: how columns form a sample: a tree of lists, tuples and dictionaries whose leaves are
            names of columns, as `schema.structure_of` writes it.
        splits: by name.
    """

    format: Literal[1] = 1
    name: str
    origin: Origin
    columns: tuple[Column, ...] = Field(min_length=1)
    structure: str
    splits: dict[str, Split]

    @model_validator(mode="after")
    def _is_consistent(self) -> Manifest:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError("two columns have one name")
        paths = [shard.path for split in self.splits.values() for shard in split.shards]
        if len(set(paths)) < len(paths):
            raise ValueError("a shard is named twice")
        for name, split in self.splits.items():
            if unknown := split.statistics.keys() - set(names):
                raise ValueError(f"split {name} has statistics of unknown columns: {sorted(unknown)}")
        return self

    def shards(self) -> Iterator[tuple[str, Shard]]:
        """Yield (split, shard) of all files."""
        for name, split in self.splits.items():
            for shard in split.shards:
                yield name, shard

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the content: the samples of each split, in order."""
        parts = {name: [shard.sha256 for shard in split.shards] for name, split in self.splits.items()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def write_manifest(manifest: Manifest, folder: Path) -> Path:
    """Write a manifest in one step: it is there whole, or the one before it is.

    Raises:
        DataError: it cannot be written.
    """
    file = folder / MANIFEST_FILE
    put_file(file, (manifest.model_dump_json(indent=1) + "\n").encode())
    return file


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        DataError: there is none, or it is not one; names the file and the first thing that is wrong.
    """
    file = folder / MANIFEST_FILE
    todo = "bessemer data preprocess makes it again"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"there is no {file}", expected="prepared data with a manifest", todo=todo) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} cannot be read: {error}", expected="a manifest in UTF-8", todo=todo
        ) from None
    try:
        return Manifest.model_validate_json(text)
    except (ValidationError, RecursionError) as error:
        found = _first_problem(error) if isinstance(error, ValidationError) else "it is nested too deep"
        raise DataError(
            f"{file} is damaged: {found}", expected="the manifest of `bessemer data preprocess`", todo=todo
        ) from None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
