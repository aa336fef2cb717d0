"""Content hashes: 64 bits of each sample, computed for a block of rows at a time.

Equal content has equal bits, whatever file, encoding or width of integer it came in. The bits are mixed
with the finaliser of SplitMix64 (Steele, Lea and Flood, 2014). That two of n different samples have
the same bits has odds of n² / 2^65: 3 in a million for 10 million samples, so a hit is taken for
what it is and contents are not compared. Data that somebody made to collide are not thought of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]

# Longer values are hashed one by one: that costs a microsecond each, and then a gigabyte a second.
_LONG_BYTES = 256
_WORD_BYTES = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MISSING = np.uint64(0x5BD1E9955BD1E995)
_NAN = np.uint64(0x7FF8000000000000)


def hash_column(array: pa.Array) -> Hashes:
    """Hash each value of a column.

    Args:
        array: of any Arrow type.

    Returns:
        uint64 [rows].
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if pa.types.is_dictionary(kind):
        words = hash_column(array.dictionary)
        places = array.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        hashes = words[places] if len(words) else np.zeros(len(array), np.uint64)
    elif pa.types.is_null(kind):
        hashes = np.zeros(len(array), np.uint64)
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        numbers = array.fill_null(False if pa.types.is_boolean(kind) else 0)
        hashes = mixed(_words_of_integers(numbers.to_numpy(zero_copy_only=False)))
    elif pa.types.is_floating(kind):
        hashes = mixed(_words_of_floats(array.to_numpy(zero_copy_only=False)))
    elif pa.types.is_temporal(kind) and kind.bit_width in (32, 64):
        integers = array.view(pa.int64() if kind.bit_width == 64 else pa.int32())
        hashes = mixed(_words_of_integers(integers.fill_null(0).to_numpy(zero_copy_only=False)))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        hashes = _hash_lists(array)
    elif pa.types.is_struct(kind):
        hashes = combined([(kind[n].name, hash_column(array.field(n))) for n in range(kind.num_fields)])
        hashes = hashes if kind.num_fields else np.zeros(len(array), np.uint64)
    else:
        hashes = _hash_bytes(array)
    if array.null_count:
        hashes[~array.is_valid().to_numpy(zero_copy_only=False)] = _MISSING
    return hashes


def combined(columns: Sequence[tuple[str, Hashes]]) -> Hashes:
    """Join the hashes of several columns, by name; their order does not count."""
    total = np.zeros(len(columns[0][1]) if columns else 0, np.uint64)
    for name, hashes in columns:
        seed = np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))
        total += mixed(hashes ^ seed)
    return mixed(total)


def mixed(words: Hashes) -> Hashes:
    """Mix the bits of each word: a bijection in which every bit of a word decides about all."""
    words = words + _GOLDEN
    words ^= words >> np.uint64(30)
    words *= _FIRST
    words ^= words >> np.uint64(27)
    words *= _SECOND
    words ^= words >> np.uint64(31)
    return words


def byte_ranges(
    array: pa.Array,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the memory of a binary or text column: bytes, and where each value begins and how long it is.

    A missing value has no length.
    """
    kind = array.type
    if pa.types.is_fixed_size_binary(kind):
        size = kind.byte_width
        memory = _memory(array.buffers()[1])[array.offset * size : (array.offset + len(array)) * size]
        starts = np.arange(len(array), dtype=np.int64) * size
        lengths = np.full(len(array), size, np.int64)
    else:
        wide = pa.types.is_large_binary(kind) or pa.types.is_large_string(kind)
        buffers = array.buffers()
        if len(array) == 0 or buffers[1] is None:
            return np.zeros(0, np.uint8), np.zeros(len(array), np.int64), np.zeros(len(array), np.int64)
        ends = np.frombuffer(buffers[1], np.int64 if wide else np.int32)
        ends = ends[array.offset : array.offset + len(array) + 1].astype(np.int64)
        # Of a slice, the memory of its own values.
        memory = _memory(buffers[2])[ends[0] : ends[-1]]
        starts, lengths = ends[:-1] - ends[0], np.diff(ends)
    if array.null_count:
        lengths = np.where(array.is_valid().to_numpy(zero_copy_only=False), lengths, 0)
    return memory, starts, lengths


def _memory(buffer: pa.Buffer | None) -> npt.NDArray[np.uint8]:
    return np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)


def _words_of_integers(numbers: npt.NDArray[Any]) -> Hashes:
    # An unsigned number above the signed range keeps its bits, which no signed number of the column has.
    return numbers.astype(np.int64, casting="unsafe").view(np.uint64)


def _words_of_floats(numbers: npt.NDArray[Any]) -> Hashes:
    # Minus zero is zero, and one NaN is as good as another.
    words = (numbers.astype(np.float64) + 0.0).view(np.uint64)
    words[np.isnan(numbers)] = _NAN
    return words


def _hash_lists(array: pa.Array) -> Hashes:
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        inner = array.values[array.offset * size : (array.offset + len(array)) * size]
        lengths = np.full(len(array), size, np.int64)
    else:
        ends = array.offsets.to_numpy().astype(np.int64)
        inner, lengths = array.values[int(ends[0]) : int(ends[-1])], np.diff(ends)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.arange(starts[-1], dtype=np.int64) - np.repeat(starts[:-1], lengths)
    return _joined(hash_column(inner) ^ mixed(places.view(np.uint64)), starts[:-1], lengths)


def _joined(words: Hashes, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Hashes:
    """Hash runs of words that lie one after the other."""
    totals = np.zeros(len(starts), np.uint64)
    filled = np.flatnonzero(lengths > 0)
    if len(filled):
        totals[filled] = np.add.reduceat(mixed(words), starts[filled])
    return mixed(totals + lengths.view(np.uint64))


def _hash_bytes(array: pa.Array) -> Hashes:
    kind = array.type
    if not (_is_text(kind) or pa.types.is_fixed_size_binary(kind)):
        # Types without bytes of their own, such as maps and decimals: as they are written.
        array = pa.array([None if value is None else repr(value) for value in array.to_pylist()], pa.string())
    elif pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        array = array.cast(pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary())
    memory, starts, lengths = byte_ranges(array)
    hashes = mixed(lengths.view(np.uint64))
    # A word may be read from any byte on, also from the last ones.
    padded = np.concatenate([memory, np.zeros(_WORD_BYTES, np.uint8)]) if len(memory) else memory
    words = np.ndarray((len(memory),), "<u8", buffer=padded.data if len(memory) else b"", strides=(1,))
    short = np.flatnonzero((lengths > 0) & (lengths <= _LONG_BYTES))
    for offset in range(0, int(lengths[short].max(initial=0)), _WORD_BYTES):
        short = short[lengths[short] > offset]
        left = np.minimum(lengths[short] - offset, _WORD_BYTES)
        mask = np.uint64(2**64 - 1) >> ((_WORD_BYTES - left) * 8).astype(np.uint64)
        hashes[short] = mixed(hashes[short] ^ (words[starts[short] + offset] & mask))
    view = memory.data
    for row in np.flatnonzero(lengths > _LONG_BYTES).tolist():
        part = view[starts[row] : starts[row] + lengths[row]]
        hashes[row] = int.from_bytes(hashlib.blake2b(part, digest_size=8).digest(), "little")
    return hashes


def _is_text(kind: pa.DataType) -> bool:
    checks = (
        "is_string",
        "is_large_string",
        "is_binary",
        "is_large_binary",
        "is_string_view",
        "is_binary_view",
    )
    return any(getattr(pa.types, check)(kind) for check in checks)
