"""Whether the program has changed a data set: what was sent to other processes is then not what it has.

Research code resamples, grows or shuffles its data between epochs. A signature is cheap enough for every
pass: it looks at attributes, a few levels deep, and at a few values of each array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bessemer.utils.bits import bytes_of

_DEPTH = 5
_NUM_VALUES = 64
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def signature(value: Any, depth: int = _DEPTH) -> Any:
    """Return what differs, almost surely, once a data set or anything it is made of was changed.

    Not noticed is a change of a single value of a large NumPy array, or one deeper than five levels.
    """
    if isinstance(value, _PLAIN):
        return value
    identity = id(value), type(value)
    if isinstance(value, torch.Tensor):
        return *identity, value._version, _some_of_tensor(value)
    if isinstance(value, np.ndarray):
        return *identity, value.shape, _some_of_array(value)
    if isinstance(value, list | tuple):
        step = max(1, len(value) // _NUM_VALUES)
        items = [value[place] for place in range(0, len(value), step)]
        return *identity, len(value), tuple(_below(item, depth) for item in items)
    if isinstance(value, Mapping):
        if len(value) > _NUM_VALUES:
            return *identity, len(value)
        return *identity, tuple((key, _below(item, depth)) for key, item in value.items())
    attributes = getattr(value, "__dict__", None)
    if not isinstance(attributes, dict) or isinstance(value, type):
        return identity
    return *identity, tuple((name, _below(item, depth)) for name, item in attributes.items())


def _below(value: Any, depth: int) -> Any:
    return signature(value, depth - 1) if depth else id(value)


def _some_of_tensor(value: torch.Tensor) -> Any:
    if value.device.type != "cpu" or value.layout is not torch.strided or not value.is_contiguous():
        return tuple(value.shape)
    return _some_of_array(bytes_of(value).numpy()) if value.numel() else ()


def _some_of_array(value: np.ndarray[Any, Any]) -> Any:
    if not value.flags.c_contiguous or value.dtype.hasobject:
        return ()
    flat = value.reshape(-1)
    return flat[:: max(1, flat.size // _NUM_VALUES)].tobytes()
