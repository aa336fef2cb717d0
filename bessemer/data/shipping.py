"""A recipe as bytes: how the researcher's data set reaches the processes that fetch from it.

A memory map travels as its file's name and place, not as its contents: those may be larger than the
memory of any machine, and each process maps the same pages.
"""

from __future__ import annotations

import io
import mmap
import os
import sys
from dataclasses import dataclass
from typing import Any

import cloudpickle
import numpy as np

from bessemer.data.datasets import Recipe
from bessemer.errors import DataError


@dataclass(frozen=True)
class Packed:
    """A recipe that is unpickled only where its code can be imported.

    Attributes:
        search_path: folders to import from.
        payload: the pickled recipe.
        folder: that relative paths in the recipe are meant from.
    """

    search_path: tuple[str, ...]
    payload: bytes
    folder: str


def pack(recipe: Recipe) -> Packed:
    """Pickle a recipe for other processes.

    Raises:
        DataError: the data set or its collate function cannot be pickled.
    """
    payload = io.BytesIO()
    try:
        _Pickler(payload).dump(recipe)
    except Exception as error:
        raise DataError(
            f"{type(recipe.dataset).__qualname__} cannot be sent to Ray Data: {error}",
            expected="a data set that can be pickled (no open files, locks or connections)",
            todo='open such things lazily in __getitem__, or set data.source = "inline"',
        ) from error
    return Packed(tuple(folder for folder in sys.path if folder), payload.getvalue(), os.getcwd())


def unpack(packed: Packed) -> Recipe:
    """Rebuild a recipe, and initialise this process as the research code wants it.

    Raises:
        DataError: a file that the data set maps into memory is not there.
    """
    sys.path.extend(folder for folder in packed.search_path if folder not in sys.path)
    if os.path.isdir(packed.folder):
        os.chdir(packed.folder)
    recipe: Recipe = cloudpickle.loads(packed.payload)
    if recipe.worker_init_fn is not None:
        recipe.worker_init_fn(0)
    return recipe


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Sends memory maps that only read as the place of their bytes, everything else as cloudpickle does."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is np.memmap and value.mode == "r" and value.flags.c_contiguous:
            begin = _begin_in_file(value)
            if begin is not None:
                return _mapped, (str(value.filename), value.dtype, begin, value.shape)
        return super().reducer_override(value)


def _begin_in_file(view: np.memmap[Any, Any]) -> int | None:
    """Return where in its file the bytes of a map, or of a part of one, begin; None if there is no file."""
    whole: Any = view
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    if not isinstance(whole, np.memmap) or not isinstance(whole.base, mmap.mmap) or not view.filename:
        return None
    address = view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return int(whole.offset + address)


def _mapped(filename: str, dtype: np.dtype[Any], begin: int, shape: tuple[int, ...]) -> Any:
    if 0 in shape:
        return np.empty(shape, dtype)
    try:
        return np.memmap(filename, dtype, mode="r", offset=begin, shape=shape)
    except OSError as error:
        raise DataError(
            f"the data set maps {filename} into memory, which cannot be opened here: {error}",
            expected="a file that every node of the cluster reaches under this name",
            todo='put it on shared storage, or set data.source = "inline"',
        ) from error
