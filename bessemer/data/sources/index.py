"""Indexes of files: where their groups begin, found once and kept beside the data.

An index is a few arrays of integers. It is kept in `data.folder/.bessemer/index/`, under a name that is
a hash of what it is of, so one of a file that has changed is not found. It is written whole or not at
all; processes that make the same one at the same time write the same. Where the folder cannot be
written, every process makes its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bessemer.data.sources.files import File
from bessemer.utils.files import write_whole

Index = Mapping[str, NDArray[np.int64]]

# Changes when what an index holds does.
_VERSION = 1
_FOLDER = Path(".bessemer") / "index"


def indexed(folder: Path | None, file: File, kind: str, make: Callable[[File], Index]) -> Index:
    """Return the index of a file, made if it is not there.

    Args:
        folder: `data.folder`, or None to keep nothing.
        file: what it is of.
        kind: what it holds, with all that it depends on beside the file.
        make: makes it.
    """
    if folder is None:
        return make(file)
    identity = f"{_VERSION}\0{kind}\0{file.path}\0{file.num_bytes}\0{file.tag}"
    kept = folder / _FOLDER / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.npz"
    # One that was damaged is made again.
    damaged = (OSError, ValueError, EOFError, zipfile.BadZipFile)
    with contextlib.suppress(*damaged), kept.open("rb") as opened, np.load(opened) as arrays:
        return {name: arrays[name] for name in arrays.files}
    index = make(file)
    with contextlib.suppress(OSError):  # a folder that cannot be written
        _write(kept, index)
    return index


def _write(kept: Path, index: Index) -> None:
    def write(part: Path) -> None:
        # By its file: NumPy would put an ending of its own behind a name.
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **index)

    write_whole(kept, write)
