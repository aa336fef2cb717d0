"""Makes prepared data: items of any data set, through a function, into shards and a manifest.

Items are cut into ranges, and each range is one task of Ray, which writes one shard for each split that
it has rows of. How items are cut depends on them alone, so the same data make the same files on any
machine. A task whose record lies in the folder is not done again; the manifest is written last, and only
then do older shards go. So at any moment the folder has the old data whole, or the new.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset, default_collate

from bessemer.data.datasets import Recipe, draws, sample
from bessemer.data.generators import preserved_generators
from bessemer.data.order import mix
from bessemer.data.prepared.manifest import (
    MANIFEST_FILE,
    Manifest,
    Origin,
    Split,
    read_manifest,
    write_manifest,
)
from bessemer.data.prepared.ranges import MadeItems, Shared, Task, TaskRecord, do, do_range, known_record
from bessemer.data.prepared.schema import common_column, structure_of
from bessemer.data.prepared.shards import is_whole
from bessemer.data.prepared.splits import SplitNumbers
from bessemer.data.prepared.statistics import merge
from bessemer.data.shipping import pack
from bessemer.data.wire import encode
from bessemer.errors import DataError

_NUM_PROBED = 8
_OURS = re.compile(r"^(\.?)(.+-)?[0-9a-f]{8}-\d{5}(\.parquet|\.json)(-\d+)?$")


@dataclass(frozen=True)
class Work:
    """What is to be prepared.

    Attributes:
        name: of the data, for messages and the manifest.
        items: a map-style data set.
        make: makes a sample of an item, or a list of samples, or None to drop it; None: items are samples.
        origin: what the result depends on.
        splits: names, in order.
        assigned: int16 [items], the split of each; None: all are of the first.
        shard_bytes: size that a shard is planned for (bytes).
    """

    name: str
    items: Dataset[Any]
    make: Callable[[Any], Any] | None
    origin: Origin
    splits: tuple[str, ...]
    assigned: SplitNumbers | None
    shard_bytes: int


@dataclass(frozen=True)
class Made:
    """What came of it.

    Attributes:
        manifest: of the data.
        folder: where they are.
        changes: what made it necessary: inputs, code, parameters, or "new"; empty: nothing was made.
        num_kept: ranges of items that an interrupted attempt had done (count).
    """

    manifest: Manifest
    folder: Path
    changes: tuple[str, ...]
    num_kept: int = 0


Progress = Callable[[int, int], None]


def current(folder: Path, origin: Origin) -> tuple[Manifest | None, tuple[str, ...]]:
    """Return a folder's manifest if it is of this origin and its shards are there; else what changed."""
    try:
        manifest = read_manifest(folder)
    except DataError:
        return None, ("new",) if not (folder / MANIFEST_FILE).exists() else ("manifest",)
    if changed := manifest.origin.differences(origin):
        return None, tuple(changed)
    lost = any(not is_whole(folder, shard) for _, shard in manifest.shards())
    return (None, ("shards",)) if lost else (manifest, ())


def prepare(
    work: Work, folder: Path, connect: Callable[[], None], progress: Progress = lambda done, total: None
) -> Made:
    """Make the shards that are not there yet, and the manifest.

    Args:
        work: what is to be prepared.
        folder: where to; it is made.
        connect: connects to Ray; called only if there is work for more than one task.
        progress: told how many items of how many are done.

    Raises:
        DataError: an item failed, samples are not alike, none is left, or the folder cannot be written.
    """
    manifest, changes = current(folder, work.origin)
    if manifest is not None:
        return Made(manifest, folder, ())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be made: {error.strerror or error}",
            expected="a place for prepared data",
            todo="set data.folder to another place",
        ) from error
    tasks, shared = _planned(work, folder)
    records = {task.number: record for task in tasks if (record := known_record(shared, task)) is not None}
    kept = len(records)
    total = tasks[-1].stop
    done = sum(task.stop - task.start for task in tasks if task.number in records)
    progress(done, total)
    missing = [task for task in tasks if task.number not in records]
    for number, record in _run(missing, shared, work, connect):
        records[number] = record
        done += tasks[number].stop - tasks[number].start
        progress(done, total)
    manifest = _manifest(work, shared.structure, [records[task.number] for task in tasks])
    write_manifest(manifest, folder)
    _tidy(folder, manifest)
    return Made(manifest, folder, changes, kept)


def _planned(work: Work, folder: Path) -> tuple[list[Task], Shared]:
    """Look at a few items, and cut all of them into ranges of about one shard."""
    count = len(work.items)  # type: ignore[arg-type]
    if not count:
        raise DataError(f"there is nothing to prepare in {work.name}", expected="at least one item")
    made = MadeItems(work.items, work.make)
    structure: str | None = None
    sizes: list[int] = []
    with preserved_generators():
        places = np.unique(np.linspace(0, count - 1, min(count, _NUM_PROBED)).astype(np.int64))
        seeded = any(draws(made, int(place)) for place in places[:2])
        # Many items may be dropped before one is kept.
        for place in (*places.tolist(), *range(count)):
            if len(sizes) >= len(places) and structure is not None:
                break
            samples = sample(made, place, mix(0, place))
            if samples and structure is None:
                structure = structure_of(samples[0])
            sizes.append(sum(_size(each) for each in samples))
    if structure is None:
        raise DataError(f"no sample of {work.name} is left", expected="a function that keeps some")
    rows = max(1, int(work.shard_bytes * len(sizes) / max(1, sum(sizes))))
    # All of about one size: a short one at the end would leave processors without work.
    num_tasks = -(-count // rows)
    cuts = [count * number // num_tasks for number in range(num_tasks + 1)]
    tasks = [Task(number, start, stop) for number, (start, stop) in enumerate(itertools.pairwise(cuts))]
    # Records of an attempt that cut the items in another way are of other ranges.
    named = f"{work.origin.model_dump_json()} {count} in {num_tasks}"
    prefix = hashlib.sha256(named.encode()).hexdigest()[:8]
    return tasks, Shared(folder, prefix, structure, work.splits, work.assigned, seeded)


def _size(value: Any) -> int:
    head, buffers = encode(value)
    return len(head) + sum(buffer.nbytes for buffer in buffers)


def _run(
    tasks: Sequence[Task], shared: Shared, work: Work, connect: Callable[[], None]
) -> Iterator[tuple[int, TaskRecord]]:
    """Do tasks; yield their records as they are done."""
    made = MadeItems(work.items, work.make)
    if len(tasks) <= 1:  # Ray takes seconds to start, and would do it no faster
        for task in tasks:
            yield task.number, do(task, shared, made)
        return
    connect()
    from bessemer.data.prepared.tasks import on_ray

    packed = pack(Recipe(made, 0, default_collate))
    for number, record in on_ray(
        [(task.number, task.start, task.stop) for task in tasks], packed, shared, do_range
    ):
        yield number, TaskRecord.model_validate_json(record)


def _manifest(work: Work, structure: str, records: Sequence[TaskRecord]) -> Manifest:
    every = [record for each in records for record in each.shards.values()]
    if not every:
        raise DataError(f"no sample of {work.name} is left", expected="a function that keeps some")
    splits = {}
    for name in work.splits:
        own = [each.shards[name] for each in records if name in each.shards]
        held = own[0].summaries if own else {}
        splits[name] = Split(
            shards=tuple(record.shard for record in own),
            statistics={column: merge([record.summaries[column] for record in own]) for column in held},
        )
    columns = tuple(
        common_column([record.columns[place] for record in every]) for place in range(len(every[0].columns))
    )
    return Manifest(name=work.name, origin=work.origin, columns=columns, structure=structure, splits=splits)


def _tidy(folder: Path, manifest: Manifest) -> None:
    """Remove what earlier data and attempts left; nothing that is not named as we name things."""
    keep = {shard.path for _, shard in manifest.shards()}
    for path in folder.iterdir():
        if path.name not in keep and _OURS.match(path.name) and path.is_file():
            path.unlink(missing_ok=True)
