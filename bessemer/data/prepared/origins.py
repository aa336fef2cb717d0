"""What prepared data depend on, as digests: the inputs, the code that makes samples of them, parameters.

Equal origins make equal data, so what was prepared from an equal one is not made again. Inputs of a data set
are all that it holds and the size and time of each file that it names. Code is what `determinism` read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from torch.utils.data import Dataset, default_collate

from bessemer.data.datasets import Recipe
from bessemer.data.prepared.determinism import Examined
from bessemer.data.prepared.manifest import Origin
from bessemer.data.shipping import pack

_DEPTH = 5


def origin_of(inputs: str, examined: Examined, parameters: Mapping[str, Any]) -> Origin:
    """Put an origin together.

    Args:
        inputs: digest of what is read.
        examined: the code that makes samples.
        parameters: plain values that the result depends on.
    """
    text = json.dumps(parameters, sort_keys=True, default=str)
    return Origin(inputs=inputs, code=examined.code, parameters=hashlib.sha256(text.encode()).hexdigest())


def inputs_of(dataset: Dataset[Any]) -> str:
    """Hash what a data set holds in memory, and the size and time of the files that it names.

    Raises:
        DataError: it cannot be pickled.
    """
    digest = hashlib.sha256(pack(Recipe(dataset, 0, default_collate)).payload)
    for path in sorted(set(_files(getattr(dataset, "__dict__", {}), _DEPTH))):
        stat = os.stat(path)
        digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str | PurePath):
        text = str(value)
        # Asking the system about every text of a large data set would take longer than reading it.
        if ("/" in text or "." in text) and len(text) < 1024 and "\n" not in text and os.path.isfile(text):
            yield os.path.abspath(text)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _files(item, depth - 1)
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from _files(item, depth - 1)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, type | Path):
        yield from _files(vars(value), depth - 1)
