"""A batch as bytes: how it travels from the task that fetched it to the worker that trains on it.

Pickle protocol 5 with the tensors' memory out of band, so that it is copied once, into a table. It is
copied once more when it is read: what Ray's object store hands out is read-only shared memory, and
research code may write into its batch.
"""

from __future__ import annotations

import io
import pickle  # nosec B403  # for what our own tasks made
from collections.abc import Sequence
from typing import Any, Protocol

import cloudpickle
import torch

from bessemer.utils.bits import bytes_of


class _Buffer(Protocol):
    def __buffer__(self, flags: int, /) -> memoryview: ...


def encode(batch: Any) -> tuple[bytes, list[memoryview]]:
    """Split a batch (any nesting of tensors, arrays and Python values) into a head and buffers.

    The buffers are the memory of the batch itself, one byte an item: nothing is copied.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = io.BytesIO()
    _Pickler(head, protocol=5, buffer_callback=buffers.append).dump(batch)
    return head.getvalue(), [buffer.raw() for buffer in buffers]


def decode(head: bytes | memoryview, buffers: Sequence[bytes | memoryview]) -> Any:
    """Rebuild a batch from what `encode` returned; its tensors own their memory and are writable."""
    # Ray brings it from a task of this run, which could do all that an unpickled object can.
    return pickle.loads(head, buffers=[bytearray(buffer) for buffer in buffers])  # nosec B301


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Sends plain CPU tensors as raw memory; everything else as cloudpickle does."""

    def reducer_override(self, value: Any) -> Any:
        plain = type(value) is torch.Tensor and value.layout is torch.strided
        if plain and value.device.type == "cpu" and not value.requires_grad:
            name, shape = str(value.dtype)[6:], tuple(value.shape)
            if not value.numel():
                return _empty, (name, shape)
            whole = value.resolve_conj().resolve_neg().contiguous()
            memory: Any = bytes_of(whole).numpy()
            return _tensor, (pickle.PickleBuffer(memory), name, shape)
        return super().reducer_override(value)


def _tensor(memory: _Buffer, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.frombuffer(memory, dtype=getattr(torch, dtype)).reshape(shape)


def _empty(dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape, dtype=getattr(torch, dtype))
