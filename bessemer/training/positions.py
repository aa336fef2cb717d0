"""Where every worker is: one small memory-mapped file each, which can be read after its death.

A worker that is killed says nothing. So each writes, before every batch goes to the program, which
batch of which pass it is and what `data.order` needs to compute the sample ids of that batch. The
pages belong to the kernel, so what was written before a SIGKILL is there; two slots are written in
turn, each with a sequence number and a checksum, so that a write that was cut off is not misread.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bessemer.data.order import CanonicalPlan, Ids, Plan, share_of

# told: it ended, and its end was reported; so a worker that dies before it writes is not taken for it.
State = Literal["running", "ended", "failed", "hung", "told"]
_STATES: tuple[State, ...] = ("running", "ended", "failed", "hung", "told")

# Ids of a batch that only the program's own sampler can tell are written down, at most so many.
MAX_LISTED_IDS = 256

_HEADER = struct.Struct("<8sIIIIQ")  # magic, rank, world size, pid, attempt, state
_STATE = struct.Struct("<Q")
_STATE_AT = _HEADER.size - _STATE.size
_MAGIC = b"BESSPOS1"
_HEAD = struct.Struct("<QdqqqqQ")  # sequence, time, step, loader, pass, batch, length of what follows
_CANONICAL = struct.Struct("<BBBBqqQ")  # kind, shard, shuffle, drop_last, num_samples, batch_size, key
_LISTED = struct.Struct("<BBxxxxxxq")  # kind, shard, samples in the worker's part; then their ids
_CHECKSUM = struct.Struct("<I")
_UNKNOWN, _IS_CANONICAL, _IS_LISTED = 0, 1, 2
_SLOT_BYTES = _HEAD.size + _LISTED.size + 8 * MAX_LISTED_IDS + _CHECKSUM.size
_SLOTS_AT = 64
_FILE_BYTES = _SLOTS_AT + 2 * _SLOT_BYTES


@dataclass(frozen=True)
class Position:
    """Where a worker was when it last began something.

    Attributes:
        rank: of the worker.
        world_size: workers of that attempt (count).
        pid: its process.
        attempt: 1 for the first of the driver.
        state: what became of the worker, as far as it could say.
        at: when it began this (seconds since 1970).
        step: optimizer steps that were complete (count).
        loader: number of the loader, or None outside of loops over loaders.
        number: which pass over the loader, from 0.
        batch: which batch of the pass, from 0.
        ids: sample ids of this worker's part of the batch, int64 [samples]; None if unknown.
        num_ids: samples in that part; more than `ids` has where those were too many to write (count).
    """

    rank: int
    world_size: int
    pid: int
    attempt: int
    state: State
    at: float
    step: int
    loader: int | None
    number: int
    batch: int
    ids: Ids | None
    num_ids: int

    @property
    def place(self) -> str:
        """The batch in words, such as `batch 3 of pass 0 of loader 1`."""
        if self.loader is None:
            return "outside of loops over loaders"
        return f"batch {self.batch} of pass {self.number} of loader {self.loader}"


class PositionFile:
    """What one worker writes; used by one thread, `mark` by any.

    Args:
        path: the file; overwritten.
        rank: this worker.
        world_size: number of workers.
        attempt: 1 for the first of the driver.
        first_step: where the attempt goes on from; on the way there, a replay counts no steps (count).

    Raises:
        OSError: there is no room for the file.
    """

    def __init__(self, path: Path, rank: int, world_size: int, attempt: int, first_step: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rank, self._world_size = rank, world_size
        self._first_step = first_step
        # A new file, so that whoever has the one of the attempt before open goes on reading that.
        fresh = path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            # A page without room on the disk would be a SIGBUS at the first write to it.
            os.posix_fallocate(descriptor, 0, _FILE_BYTES)
            self._map = mmap.mmap(descriptor, _FILE_BYTES)
        finally:
            os.close(descriptor)
        _HEADER.pack_into(self._map, 0, _MAGIC, rank, world_size, os.getpid(), attempt, 0)
        fresh.rename(path)
        self._sequence = 0
        self._plan: Plan | None = None
        self._shard = True
        self._described = bytes([_UNKNOWN])
        self.write(first_step)

    def write(
        self,
        step: int,
        loader: int = -1,
        number: int = 0,
        batch: int = 0,
        plan: Plan | None = None,
        shard: bool = True,
    ) -> None:
        """Say what begins now.

        Args:
            step: optimizer steps that are complete (count).
            loader: number of the loader, -1 outside of loops over loaders.
            number: which pass over the loader, from 0.
            batch: which batch of the pass, from 0.
            plan: which samples form the batches; None if unknown.
            shard: whether this worker gets a part of the batch.
        """
        if plan is not self._plan or shard != self._shard or not isinstance(plan, CanonicalPlan):
            self._plan, self._shard = plan, shard
            self._described = self._description(plan, number, batch, shard)
        described = self._described
        step = max(step, self._first_step)
        self._sequence += 1
        record = (
            _HEAD.pack(self._sequence, time.time(), step, loader, number, batch, len(described)) + described
        )
        start = _SLOTS_AT + (self._sequence & 1) * _SLOT_BYTES
        self._map[start : start + len(record) + 4] = record + _CHECKSUM.pack(zlib.crc32(record))

    def mark(self, state: State) -> None:
        """Say what became of this worker."""
        _STATE.pack_into(self._map, _STATE_AT, _STATES.index(state))

    def read(self) -> Position | None:
        """Return what was written last."""
        return _read(self._map[:])

    def _description(self, plan: Plan | None, number: int, batch: int, shard: bool) -> bytes:
        if isinstance(plan, CanonicalPlan):
            return _CANONICAL.pack(
                _IS_CANONICAL,
                shard,
                plan.shuffle,
                plan.drop_last,
                plan.num_samples,
                plan.batch_size,
                plan.key,
            )
        if plan is not None:
            ids = _part(plan.batch(number, batch), self._rank, self._world_size, shard)
            return _LISTED.pack(_IS_LISTED, shard, len(ids)) + ids[:MAX_LISTED_IDS].astype("<i8").tobytes()
        return bytes([_UNKNOWN])


def read_position(path: Path) -> Position | None:
    """Return what a worker wrote last, or None if there is no whole record."""
    try:
        return _read(path.read_bytes())
    except OSError:
        return None


def _read(data: bytes) -> Position | None:
    if len(data) < _FILE_BYTES or not data.startswith(_MAGIC):
        return None
    _, rank, world_size, pid, attempt, state = _HEADER.unpack_from(data)
    records = [_record(data[start : start + _SLOT_BYTES]) for start in (_SLOTS_AT, _SLOTS_AT + _SLOT_BYTES)]
    whole = [record for record in records if record is not None]
    if not whole:
        return None
    head, described = max(whole, key=lambda record: _HEAD.unpack(record[0])[0])
    _, at, step, loader, number, batch, _ = _HEAD.unpack(head)
    ids, num_ids = _ids(described, number, batch, rank, world_size)
    return Position(
        rank=rank,
        world_size=world_size,
        pid=pid,
        attempt=attempt,
        state=_STATES[state] if state < len(_STATES) else "running",
        at=at,
        step=step,
        loader=loader if loader >= 0 else None,
        number=number,
        batch=batch,
        ids=ids,
        num_ids=num_ids,
    )


def mark_told(folder: Path) -> None:
    """Note in every worker's file that how it ended was reported.

    Args:
        folder: the run's folder of positions.
    """
    for path in folder.glob("worker-*.bin"):
        with contextlib.suppress(OSError), open(path, "r+b") as file:
            file.seek(_STATE_AT)
            file.write(_STATE.pack(_STATES.index("told")))


def position_file(folder: Path, rank: int) -> Path:
    """Return the name of a worker's file.

    Args:
        folder: the run's folder of positions.
        rank: of the worker.
    """
    return folder / f"worker-{rank}.bin"


def all_ids(position: Position | None) -> str:
    """Return a line with all ids of a worker's batch that are known, or nothing."""
    if position is None or position.ids is None or not position.num_ids:
        return ""
    left_out = position.num_ids - len(position.ids)
    more = f" and {left_out} more" if left_out else ""
    return f"sample ids: {' '.join(map(str, position.ids.tolist()))}{more}\n"


def _record(slot: bytes) -> tuple[bytes, bytes] | None:
    """Split a slot into its head and the description of its batch; None unless it is whole."""
    length = _HEAD.unpack_from(slot)[-1]
    end = _HEAD.size + length
    if end + _CHECKSUM.size > len(slot) or _HEAD.unpack_from(slot)[0] == 0:
        return None
    if zlib.crc32(slot[:end]) != _CHECKSUM.unpack_from(slot, end)[0]:
        return None
    return slot[: _HEAD.size], slot[_HEAD.size : end]


def _ids(described: bytes, number: int, batch: int, rank: int, world_size: int) -> tuple[Ids | None, int]:
    if described[0] == _IS_CANONICAL:
        _, shard, shuffle, drop_last, num_samples, batch_size, key = _CANONICAL.unpack(described)
        plan = CanonicalPlan(num_samples, batch_size, bool(shuffle), bool(drop_last), key)
        ids = _part(plan.batch(number, batch), rank, world_size, bool(shard))
        return ids, len(ids)
    if described[0] == _IS_LISTED:
        (_, _, num_ids) = _LISTED.unpack_from(described)
        return np.frombuffer(described, "<i8", offset=_LISTED.size).astype(np.int64), num_ids
    return None, 0


def _part(ids: Ids, rank: int, world_size: int, shard: bool) -> Ids:
    start, stop = share_of(len(ids), rank, world_size) if shard else (0, len(ids))
    return ids[start:stop]
