"""The table of predictions while it is made: each worker writes its part, the driver joins them.

A row is a sample. However many workers there were, the joined table has the samples in the order of
their ids, each of them once, so whatever is computed from it is the same at any number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bessemer.errors import DataError
from bessemer.judgement.outputs import Rows

# Rows are held until they take this much memory.
_FLUSH_BYTES = 64 * 2**20
SAMPLE = "sample"
SLICE_PREFIX = "slice:"


@dataclass(frozen=True)
class About:
    """What is known of the predictions for one loader.

    Attributes:
        loader: its number in the program.
        split: what the data are called.
        dataset: class of the data set.
        num_dataset: samples in it, None if it does not say (count).
        num_expected: samples of the batches that went to the program, of all workers (count).
        num_different: samples among them that are not the same one (count).
        fingerprint: of the data; "" where samples have no positions.
        classes: names of the classes, where the data set tells them.
        model: which of the placed models was watched.
        kind: how its output was read, "" if it was not.
        reason: why predictions could not be observed, "" if they were.
        num_nan: samples with NaN in the output (count).
        first_nan: id of the first of them, -1 if there is none.
        remarks: what one should know of it.
        world_size: workers that have a part (count).
    """

    loader: int
    split: str
    dataset: str = ""
    num_dataset: int | None = None
    num_expected: int = 0
    num_different: int = 0
    fingerprint: str = ""
    classes: tuple[str, ...] = ()
    model: str = ""
    kind: str = ""
    reason: str = ""
    num_nan: int = 0
    first_nan: int = -1
    remarks: tuple[str, ...] = ()
    world_size: int = 1


@dataclass(frozen=True)
class Predictions:
    """The joined table.

    Attributes:
        about: what it is of.
        samples: int64 [N], ascending ids.
        columns: [N, ...] by name: `loss`, and what `outputs` gives for the kind.
        slices: names [N] by slice.
        inputs: of the samples with the largest losses, by id, as the model got them.
    """

    about: About
    samples: NDArray[np.int64]
    columns: Rows
    slices: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    inputs: dict[int, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    def part(self, mask: NDArray[np.bool_]) -> Predictions:
        """Return the rows where `mask` [N] holds."""
        return Predictions(
            self.about,
            self.samples[mask],
            {name: values[mask] for name, values in self.columns.items()},
            {name: values[mask] for name, values in self.slices.items()},
            self.inputs,
        )


class PartWriter:
    """Writes one worker's rows for one loader, as they come.

    Args:
        folder: of all parts.
        loader: its number.
        rank: the worker.
    """

    def __init__(self, folder: Path, loader: int, rank: int) -> None:
        self._base = folder / f"loader-{loader}-{rank}"
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, ids: NDArray[np.int64], rows: Rows, slices: Mapping[str, Sequence[str]]) -> None:
        """Add a row for each sample.

        Args:
            ids: int64 [N].
            rows: arrays [N, ...].
            slices: names [N].
        """
        columns = {SAMPLE: ids, **rows, **{SLICE_PREFIX + name: values for name, values in slices.items()}}
        table = pa.table({name: _column(values) for name, values in columns.items()})
        self._held.append(table)
        self._held_bytes += table.nbytes
        if self._held_bytes > _FLUSH_BYTES:
            self._flush()

    def close(self, about: About, inputs: Mapping[int, NDArray[Any]]) -> None:
        """Write what is held, and what is known of it."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
        if inputs:
            arrays: dict[str, Any] = {str(number): value for number, value in inputs.items()}
            np.savez(self._base.with_suffix(".npz"), **arrays)
        self._base.with_suffix(".json").write_text(json.dumps(asdict(about)), encoding="utf-8")

    def _flush(self) -> None:
        if not self._held:
            return
        table = pa.concat_tables(self._held)
        if self._writer is None:
            self._base.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._base.with_suffix(".parquet"), table.schema)
        self._writer.write_table(table)
        self._held, self._held_bytes = [], 0


def joined(folder: Path) -> list[Predictions]:
    """Join the parts of all workers, for each loader that the program went over, in order of their numbers.

    Raises:
        DataError: a part is missing, or a sample is not there exactly once.
    """
    found: dict[int, dict[int, About]] = {}
    for file in folder.glob("loader-*.json"):
        _, loader, rank = file.stem.split("-")
        values = json.loads(file.read_text(encoding="utf-8"))
        about = About(**{**values, "classes": tuple(values["classes"]), "remarks": tuple(values["remarks"])})
        found.setdefault(int(loader), {})[int(rank)] = about
    return [_joined(folder, loader, found[loader]) for loader in sorted(found)]


def _joined(folder: Path, loader: int, parts: Mapping[int, About]) -> Predictions:
    about = next(iter(parts.values()))
    missing = sorted(set(range(about.world_size)) - parts.keys())
    if missing:
        raise DataError(
            f"worker {missing[0]} has written no part of the predictions for {about.split}",
            expected=f"{about.world_size} parts in {folder}",
            todo="evaluate again; on several nodes the storage must be shared",
        )
    about = _summed(parts)
    if about.num_different < about.num_expected and not about.reason:
        again = f"{about.num_expected:,} samples came, and {about.num_different:,} of them are different ones"
        about = replace(about, reason=again)
    if about.reason:
        return Predictions(about, np.zeros(0, np.int64), {})
    tables = [
        pq.read_table(file)
        for file in (folder / f"loader-{loader}-{rank}.parquet" for rank in sorted(parts))
        if file.is_file()
    ]
    if not tables:
        return Predictions(replace(about, reason="no batch came"), np.zeros(0, np.int64), {})
    if any(not table.schema.equals(tables[0].schema) for table in tables):
        reason = "its outputs have different shapes in different batches"
        return Predictions(replace(about, reason=reason), np.zeros(0, np.int64), {})
    table = pa.concat_tables(tables)
    ids = table[SAMPLE].to_numpy()
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    _check_once(ids, about)
    columns = {name: _array(table[name])[order] for name in table.column_names if name != SAMPLE}
    return Predictions(
        about,
        ids,
        {name: values for name, values in columns.items() if not name.startswith(SLICE_PREFIX)},
        {
            name.removeprefix(SLICE_PREFIX): values
            for name, values in columns.items()
            if name.startswith(SLICE_PREFIX)
        },
        dict(_inputs(folder, loader, parts)),
    )


def _summed(parts: Mapping[int, About]) -> About:
    """Put together what the workers know, each of its part."""
    first = parts[min(parts)]
    seen = next((about for about in parts.values() if about.kind), first)
    reasons = [about.reason for about in parts.values() if about.reason]
    nans = [about.first_nan for about in parts.values() if about.num_nan]
    return replace(
        first,
        kind=seen.kind,
        model=seen.model,
        reason=reasons[0] if reasons else "",
        num_nan=sum(about.num_nan for about in parts.values()),
        first_nan=min(nans, default=-1),
    )


def _check_once(ids: NDArray[np.int64], about: About) -> None:
    again = ids[1:][ids[1:] == ids[:-1]]
    if len(again) or len(ids) != about.num_expected:
        what = f"sample {again[0]} came twice" if len(again) else f"{len(ids)} of {about.num_expected} came"
        raise DataError(
            f"the predictions for {about.split} are not one for each sample: {what}",
            expected="each sample from one worker",
            todo="evaluate again; on several nodes the storage must be shared",
        )


def _inputs(folder: Path, loader: int, parts: Mapping[int, About]) -> Iterator[tuple[int, NDArray[Any]]]:
    for rank in sorted(parts):
        file = folder / f"loader-{loader}-{rank}.npz"
        if file.is_file():
            with np.load(file) as arrays:
                yield from ((int(name), arrays[name]) for name in arrays.files)


def write_table(predictions: Predictions, file: Path) -> None:
    """Write a joined table as one Parquet file."""
    slices = {SLICE_PREFIX + name: values for name, values in predictions.slices.items()}
    columns = {SAMPLE: predictions.samples, **predictions.columns, **slices}
    pq.write_table(pa.table({name: _column(values) for name, values in columns.items()}), file)


def read_table(file: Path, about: About) -> Predictions:
    """Read what `write_table` wrote.

    Raises:
        DataError: the file is damaged or missing.
    """
    try:
        table = pq.read_table(file)
        columns = {name: _array(table[name]) for name in table.column_names}
        samples = columns.pop(SAMPLE)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(
            f"{file} cannot be read: {error}",
            expected="the predictions of `bessemer evaluate`",
            todo="evaluate again",
        ) from None
    slices = {name: columns.pop(name) for name in list(columns) if name.startswith(SLICE_PREFIX)}
    return Predictions(
        about, samples, columns, {name.removeprefix(SLICE_PREFIX): v for name, v in slices.items()}
    )


def _column(values: Any) -> pa.Array:
    array = np.asarray(values)
    if array.ndim < 2:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    if not pa.types.is_fixed_size_list(column.type):
        values: NDArray[Any] = column.to_numpy()
        return values.astype(np.str_) if values.dtype == object else values
    flat = np.concatenate([np.asarray(chunk.flatten()) for chunk in column.chunks])
    return flat.reshape(-1, column.type.list_size)
