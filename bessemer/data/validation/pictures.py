"""Samples as pictures: what an image-like column holds, for the report and for near duplicates."""

from __future__ import annotations

import base64
import io
import math
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from bessemer.data.prepared.manifest import Column
from bessemer.data.validation.blocks import Block, Elements, elements, numpy_dtype
from bessemer.data.validation.findings import Picture

_NUM_PICTURES = 8
_THUMBNAIL = 96
_SMALLEST, _LARGEST = 4, 16384
_CHANNELS = (1, 3, 4)
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


class Gallery:
    """The first samples of a data set as small pictures, if it has a column of images."""

    def __init__(self) -> None:
        self.pictures: tuple[Picture, ...] = ()

    def add(self, block: Block, labels: str) -> None:
        """Take pictures of a block's first rows, as long as there are few."""
        wanted = _NUM_PICTURES - len(self.pictures)
        if wanted <= 0:
            return
        columns = list(zip(block.columns, block.arrays, strict=True))
        titles = next((array for column, array in columns if column.name == labels), None)
        for column, array in columns:
            found = pictures_of(column, array[:wanted])
            if any(picture is not None for picture in found):
                self.pictures += tuple(
                    Picture(
                        title=_title(int(row), titles, place, column_of(block, labels)), png=_png(picture)
                    )
                    for place, (row, picture) in enumerate(zip(block.rows, found, strict=False))
                    if picture is not None
                )
                return


def column_of(block: Block, name: str) -> Column | None:
    """Return a block's column by its name, None if it has none."""
    return next((column for column in block.columns if column.name == name), None)


def pictures_of(column: Column, array: pa.Array) -> list[Image.Image | None]:
    """Return the rows of a column as pictures, grey or RGB; None where a row is no picture."""
    if column.kind == "bytes":
        return [_opened(value.as_py()) for value in array]
    shape = column.shape
    if column.kind not in ("tensor", "array") or shape is None or len(shape) not in (2, 3):
        return [None] * len(array)
    numbers = elements(column, array)
    if numbers is None or numpy_dtype(column.dtype) is None:
        return [None] * len(array)
    ends = np.cumsum(numbers.lengths)
    parts = [numbers.flat[end - length : end] for end, length in zip(ends, numbers.lengths, strict=True)]
    return [_drawn(part, shape) for part in parts]


def _drawn(flat: np.ndarray[Any, Any], shape: tuple[int | None, ...]) -> Image.Image | None:
    known = math.prod(size for size in shape if size is not None)
    open_sizes = [place for place, size in enumerate(shape) if size is None]
    if not flat.size or len(open_sizes) > 1 or not known or flat.size % known:
        return None
    sizes = tuple(flat.size // known if size is None else size for size in shape)
    if math.prod(sizes) != flat.size:
        return None
    pixels = flat.reshape(sizes)
    if len(sizes) == 3:
        if sizes[0] in _CHANNELS and sizes[2] not in _CHANNELS:
            pixels = np.moveaxis(pixels, 0, 2)
        elif sizes[2] not in _CHANNELS:
            return None
        pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, :3]
    if not all(_SMALLEST <= size <= _LARGEST for size in pixels.shape[:2]):
        return None
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        scale = 255 / (high - low) if high > low and math.isfinite(high - low) else 0.0
        pixels = (np.nan_to_num(values - low, posinf=0.0, neginf=0.0) * scale).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _opened(data: bytes | None) -> Image.Image | None:
    if not data or not data.startswith(_MAGIC):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data)).convert("RGB")
    except Exception:  # Pillow's decoders raise whatever they meet
        return None


def _png(picture: Image.Image) -> str:
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    memory = io.BytesIO()
    picture.save(memory, "PNG")
    return base64.b64encode(memory.getvalue()).decode()


def _title(row: int, labels: pa.Array | None, place: int, column: Column | None) -> str:
    if labels is None or column is None:
        return f"sample {row}"
    numbers: Elements | None = elements(column, labels[place : place + 1])
    if numbers is None:
        value = labels[place].as_py()
    elif len(numbers.flat) == 1:
        value = numbers.flat[0]
    else:
        return f"sample {row}"
    return f"sample {row}, {column.name} {str(value)[:40]}"
