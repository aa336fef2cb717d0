"""Folders of prepared data as `bessemer data preprocess` leaves them, made without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bessemer.data.prepared.manifest import Manifest, Origin, Split, write_manifest
from bessemer.data.prepared.schema import structure_of
from bessemer.data.prepared.shards import write_shard
from bessemer.data.prepared.statistics import merge

ROWS_A_SHARD = 40


def digits(count: int, start: int = 0) -> list[tuple[torch.Tensor, int]]:
    """Pictures of 8 x 8, no two alike, of three classes."""
    generator = torch.Generator().manual_seed(start)
    return [(torch.rand(1, 8, 8, generator=generator), (start + place) % 3) for place in range(count)]


def prepared_folder(folder: Path, splits: Mapping[str, Sequence[Any]]) -> Manifest:
    """Write samples of some splits as shards of 40 samples, and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    structure = structure_of(next(iter(splits.values()))[0])
    made = {}
    columns: tuple[Any, ...] = ()
    for name, samples in splits.items():
        records = [
            write_shard(folder, f"{name}-{start}.parquet", samples[start : start + ROWS_A_SHARD], structure)
            for start in range(0, len(samples), ROWS_A_SHARD)
        ]
        columns = records[0].columns if records else columns
        made[name] = Split(
            shards=tuple(record.shard for record in records),
            statistics={
                column.name: merge([record.summaries[column.name] for record in records])
                for column in columns
                if records
            },
        )
    origin = Origin(inputs="a", code="b", parameters="c")
    manifest = Manifest(name=folder.name, origin=origin, columns=columns, structure=structure, splits=made)
    write_manifest(manifest, folder)
    return manifest
