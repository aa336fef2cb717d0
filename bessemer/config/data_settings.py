"""Settings of the data: what is downloaded, read, prepared and checked before the first batch.

Only declares; the stages are in `data/downloads`, `data/sources`, `data/prepared` and
`data/validation`. Relative paths are meant from the folder that the command is started in.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from bessemer.config.section import Section

SourceFormat = Literal["parquet", "csv", "jsonl", "images", "text", "tokens", "tar", "prepared", "torch"]


class DataFile(Section):
    """A file that `bessemer data download` fetches."""

    url: str = Field(
        min_length=1,
        description="Where it is: http(s), ftp, s3, gs, file, or package:NAME/PATH for a file that comes "
        "with an installed package.",
    )
    mirrors: list[str] = Field([], description="Other places of the same file, tried in order.")
    target: str = Field(
        "",
        description="Where it is put; empty: its name under data.folder. Of an archive that is unpacked, "
        "the archive.",
    )
    sha256: str = Field("", description="SHA-256 of its content (hex); empty: not known, not checked.")
    unpack: str = Field(
        "", description="Folder that an archive is unpacked into; empty: it is left as it is."
    )

    @field_validator("sha256")
    @classmethod
    def _is_sha256(cls, value: str) -> str:
        if value and (len(value) != 64 or set(value.lower()) - set("0123456789abcdef")):
            raise ValueError("64 hexadecimal digits, as `sha256sum` prints them")
        return value.lower()


class SourceSettings(Section):
    """A native source: data that are read as they lie, by `run.source(name)`."""

    format: SourceFormat = Field(
        description="parquet, csv, jsonl: a row a sample; images: folders of classes; text: lines; tokens: "
        "windows of a file of numbers; tar: samples that share a name, as WebDataset writes them; prepared: "
        "what `bessemer data preprocess` wrote; torch: a function that returns a torch Dataset.",
    )
    path: str = Field(
        min_length=1,
        description="File, folder or pattern, local or as a URL (s3://...); of format torch: "
        "package.module:function.",
    )
    split: str = Field("", description="Which split of prepared data; empty: the name of the source.")
    columns: list[str] = Field([], description="Columns that are read; empty: all.")
    window_bytes: int = Field(
        256 * 2**20,
        ge=1,
        description="Most memory of the row groups that are shuffled together (bytes); where it holds the "
        "whole data set, a pass is a full shuffle.",
    )
    image_type: Literal["array", "pil"] = Field(
        "array",
        description="What pictures of formats images and tar become: arrays, uint8 [height, width, 3], or "
        "images of Pillow, for transforms that take these.",
    )
    dtype: Literal["uint8", "uint16", "uint32", "int32", "int64"] = Field(
        "uint16", description="Numbers in files of tokens."
    )
    length: int = Field(1024, ge=1, description="Tokens in a sample of format tokens (count).")
    stride: int = Field(
        0, ge=0, description="Tokens from one sample of format tokens to the next (count); 0: length."
    )


class Preparation(Section):
    """What `bessemer data preprocess` makes: rows of a source, through a function, as Parquet shards."""

    source: str = Field("", description="Name of the source that is read, in data.sources; empty: none.")
    function: str = Field(
        "",
        description="What makes a row of a row, as package.module:function; it may return a list of rows, or "
        "None to drop it. Empty: rows as they are.",
    )
    splits: dict[str, float] = Field(
        {"train": 1.0}, description="Fractions of the splits by name; they add up to 1."
    )
    key: str = Field(
        "",
        description="Column of the source that decides a row's split by its hash, so that rows stay where "
        "they are when data grow; empty: all columns together.",
    )
    group: str = Field(
        "",
        description="Column whose equal values stay in one split, such as a patient; takes the place of key.",
    )
    stratify: str = Field(
        "", description="Column of classes, each of which is split in the same fractions; empty: none."
    )
    shard_bytes: int = Field(
        128 * 2**20, ge=1, description="Size that a Parquet shard is planned for (bytes)."
    )

    @field_validator("splits")
    @classmethod
    def _add_up(cls, value: dict[str, float]) -> dict[str, float]:
        if (
            not value
            or any(not 0 < part <= 1 for part in value.values())
            or abs(sum(value.values()) - 1) > 1e-6
        ):
            raise ValueError("fractions above 0 that add up to 1, such as {train = 0.9, test = 0.1}")
        return value


class Checks(Section):
    """What `bessemer data validate` holds data to, beside what it always checks."""

    labels: str = Field(
        "", description="Column of classes; empty: the last part of a sample, if it is an integer."
    )
    identifiers: list[str] = Field(
        [],
        description="Columns that are no content, such as numbers of rows or names of files: duplicates and "
        "leaks are looked for without them.",
    )
    num_classes: int = Field(
        0, ge=0, description="Labels are from 0 to this, exclusive (count); 0: as they are in training."
    )
    ranges: dict[str, tuple[float, float]] = Field(
        {}, description="Least and largest value by column; what is outside is an error."
    )
    min_class_fraction: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Smallest share of a class in the training samples (fraction); less is a warning.",
    )
    max_missing_fraction: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Largest share of missing values in a column (fraction); more is an error.",
    )
    near_duplicates: bool = Field(
        False,
        description="Whether images and texts that are almost alike count as leaks from train to test too.",
    )
    reference: str = Field(
        "", description="Manifest of earlier data that these are compared with (drift); empty: none."
    )
    max_drift: float = Field(
        0.2,
        gt=0,
        description="Largest population stability index of a column against the reference (a number); more "
        "is a warning.",
    )


class Data(Section):
    """Where data are, how batches are made of them and in which order samples come."""

    source: Literal["ray", "inline"] = Field(
        "ray",
        description="ray: Ray Data fetches samples in tasks of the cluster; "
        "inline: the training process fetches them itself, for tiny data. Same batches either way.",
    )
    order: Literal["canonical", "research"] = Field(
        "canonical",
        description="canonical: the order is a function of seed and epoch at any number of workers; "
        "research: torch's own DataLoader in the training process, one worker only.",
    )
    seed: int = Field(0, ge=0, description="Seeds every random generator before the project's own code runs.")
    block_steps: int = Field(
        32, ge=1, description="Most steps that one Ray Data task prepares at a time (count)."
    )
    block_bytes: int = Field(
        32 * 2**20, ge=1, description="Most memory of what one Ray Data task prepares at a time (bytes)."
    )
    tasks_per_worker: int = Field(
        0,
        ge=0,
        description="Ray Data tasks that fetch for one worker at a time (count); 0: the CPUs that training "
        "leaves, 2 to 4.",
    )
    prefetch_blocks: int = Field(
        2, ge=1, description="Blocks of batches held ready in a worker's memory (count)."
    )
    folder: str = Field("data", min_length=1, description="Folder that is downloaded into and prepared in.")
    files: list[DataFile] = Field([], description="Files that are downloaded.")
    mirror: str = Field(
        "",
        description="Place that has the files as they lie under data.folder, asked before their own places: "
        "a URL or a folder; empty: none.",
    )
    parallel: int = Field(4, ge=1, description="Files that are downloaded at the same time (count).")
    max_unpacked_bytes: int = Field(
        2**40, ge=1, description="Largest sum of the files of one archive that is unpacked (bytes)."
    )
    max_unpacked_entries: int = Field(
        20_000_000, ge=1, description="Most files, folders and links of one archive (count)."
    )
    max_unpacked_ratio: float = Field(
        200.0,
        gt=0,
        description="Most bytes that one byte of an archive may unpack to (a number); it counts from 64 MiB "
        "on.",
    )
    sources: dict[str, SourceSettings] = Field({}, description="Native sources by name.")
    cache: Literal["none", "preprocessed"] = Field(
        "none",
        description="preprocessed: samples that are proved to draw no random numbers are computed once, by "
        "`bessemer data preprocess`, and read from its shards in training.",
    )
