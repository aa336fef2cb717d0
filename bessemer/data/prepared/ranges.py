"""One task of preparing: a range of items becomes a shard for each split, and a record of them.

The record is written when all shards of the range are, so an attempt that was interrupted goes on with the
ranges that have one. All of this runs in any process, without Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch.utils.data import Dataset

from bessemer.config.section import Section
from bessemer.data.datasets import get_sample, sample
from bessemer.data.files import put_file
from bessemer.data.generators import preserved_generators
from bessemer.data.order import mix
from bessemer.data.prepared.shards import ShardRecord, is_whole, write_shard
from bessemer.data.prepared.splits import SplitNumbers
from bessemer.data.shipping import Packed, unpack
from bessemer.errors import DataError


class TaskRecord(Section):
    """The shards of one range of items, by split; written when all of them are."""

    shards: dict[str, ShardRecord]


@dataclass(frozen=True)
class Task:
    """One range of items."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class Shared:
    """What all tasks need.

    Attributes:
        folder: where shards are written.
        prefix: of their names: digits of the origin.
        structure: how a sample is put together.
        splits: as of the work.
        assigned: as of the work.
        seeded: whether items or samples draw random numbers.
    """

    folder: Path
    prefix: str
    structure: str
    splits: tuple[str, ...]
    assigned: SplitNumbers | None
    seeded: bool


class MadeItems(Dataset[list[Any]]):
    """The samples of each item, as a list."""

    def __init__(self, items: Dataset[Any], make: Callable[[Any], Any] | None) -> None:
        self.items = items
        self.make = make

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]

    def __getitem__(self, place: int) -> list[Any]:
        item = get_sample(self.items, place)
        if self.make is None:
            return [item]
        try:
            made = self.make(item)
        except Exception as error:
            path = f" ({item['path']})" if isinstance(item, dict) and "path" in item else ""
            name = getattr(self.make, "__qualname__", type(self.make).__qualname__)
            raise DataError(
                f"{name} failed on item {place}{path}: {type(error).__name__}: {error}",
                expected="a function that makes a sample of every item, or None to drop it",
            ) from error
        if made is None:
            return []
        return made if type(made) is list else [made]


def _shard_names(shared: Shared, task: Task) -> Iterator[tuple[str, str]]:
    for split in shared.splits:
        yield split, f"{split}-{shared.prefix}-{task.number:05d}.parquet"


def _record_file(shared: Shared, task: Task) -> Path:
    return shared.folder / f".{shared.prefix}-{task.number:05d}.json"


def known_record(shared: Shared, task: Task) -> TaskRecord | None:
    """Return the record that an earlier attempt left of a range, if its shards are as it says."""
    try:
        record = TaskRecord.model_validate_json(_record_file(shared, task).read_bytes())
    except (OSError, ValidationError):
        return None
    whole = all(is_whole(shared.folder, shard.shard, thorough=True) for shard in record.shards.values())
    return record if whole else None


def do_range(number: int, start: int, stop: int, packed: Packed, shared: Any) -> str:
    """Do one task in another process; returns its record as JSON."""
    return do(Task(number, start, stop), shared, _unpacked(packed)).model_dump_json()


_last: tuple[bytes, Any] = (b"", None)


def _unpacked(packed: Packed) -> MadeItems:
    global _last
    if _last[0] != packed.payload:
        _last = (packed.payload, unpack(packed).dataset)
    return _last[1]  # type: ignore[no-any-return]


def do(task: Task, shared: Shared, made: MadeItems) -> TaskRecord:
    """Make the shards of a range, and their record.

    Raises:
        DataError: an item failed, samples are not alike, or a file cannot be written.
    """
    samples: dict[str, list[Any]] = {split: [] for split in shared.splits}
    with preserved_generators():
        for place in range(task.start, task.stop):
            split = shared.splits[0 if shared.assigned is None else int(shared.assigned[place])]
            if shared.seeded:
                samples[split] += sample(made, place, mix(0, place))
            else:
                samples[split] += made[place]
    written = {
        split: write_shard(shared.folder, name, samples[split], shared.structure)
        for split, name in _shard_names(shared, task)
        if samples[split]
    }
    record = TaskRecord(shards=written)
    put_file(_record_file(shared, task), record.model_dump_json().encode())
    return record
