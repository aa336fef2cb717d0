"""Near duplicates: images and texts that are almost like one another, though no byte is the same.

An image has a difference hash (dHash, Krawetz 2013): 64 signs of the differences between neighbours in a
grey picture of 9 x 8. A text has a MinHash (Broder 1997) of its runs of five characters, after case,
accents, punctuation and spaces are made equal. Candidates are found by equal parts of these (four parts
of a dHash: all pairs with at most three different bits share one), and confirmed by a closer look: the
mean difference of grey thumbnails, or the estimated Jaccard similarity.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from bessemer.data.validation.blocks import Block
from bessemer.data.validation.hashing import Hashes, mixed
from bessemer.data.validation.pictures import pictures_of

MAX_COMPARED = 200_000
MAX_BITS = 3
# Of 255 grey levels. JPEG at quality 50 and a change of size stay below it, other pictures do not.
MAX_GREY_DIFFERENCE = 8.0
MIN_SIMILARITY = 0.8
_THUMBNAIL = 16
_NUM_HASHES, _NUM_BANDS = 64, 16
_SHINGLE = 5
_LEAST_LENGTH = 20
_PART = 2**14
# Of pictures with one dHash, such as blank ones, or texts with one band, so many are candidates.
_MAX_ALIKE = 50
_SEEDS = mixed(np.arange(_NUM_HASHES, dtype=np.uint64))
_NOT_WORDS = re.compile(r"[\W_]+")


class Likenesses:
    """Hashes of the images and texts of a data set, of its first 200,000 rows."""

    def __init__(self) -> None:
        self.num_left_out = 0
        self._num = 0
        self._images: list[tuple[int, int, npt.NDArray[np.uint8]]] = []
        self._texts: list[tuple[int, Hashes]] = []

    def add(self, block: Block, without: Collection[str]) -> None:
        """Take in a block's rows, by its first column of images or texts that is not in `without`."""
        room = max(0, MAX_COMPARED - self._num)
        self._num += len(block.rows)
        self.num_left_out += max(0, len(block.rows) - room)
        if not room:
            return
        for column, array in zip(block.columns, block.arrays, strict=True):
            if column.name in without:
                continue
            found = False
            for row, picture in zip(
                block.rows[:room].tolist(), pictures_of(column, array[:room]), strict=False
            ):
                if picture is not None:
                    self._images.append((row, difference_hash(picture), _thumbnail(picture)))
                    found = True
            if column.kind == "str":
                for row, text in zip(block.rows[:room].tolist(), _texts(array[:room]), strict=False):
                    if (signature := text_signature(text)) is not None:
                        self._texts.append((row, signature))
                        found = True
            if found:
                return

    def near(self, other: Likenesses) -> list[tuple[int, int]]:
        """Return (row here, row of the other), one for each row of the other that is like one here."""
        return [*self._near_images(other), *self._near_texts(other)]

    def _near_images(self, other: Likenesses) -> Iterator[tuple[int, int]]:
        if not (self._images and other._images):
            return
        keys = np.array([key for _, key, _ in self._images], np.uint64)
        buckets = _buckets(keys)
        for row, key, small in other._images:
            candidates = {place for part in _parts(key) for place in buckets.get(part, ())}
            for place in sorted(candidates):
                mine, known, thumbnail = self._images[place]
                if (known ^ key).bit_count() > MAX_BITS:
                    continue
                difference = np.abs(thumbnail.astype(np.int16) - small.astype(np.int16)).mean()
                if difference <= MAX_GREY_DIFFERENCE:
                    yield mine, row
                    break

    def _near_texts(self, other: Likenesses) -> Iterator[tuple[int, int]]:
        buckets: dict[tuple[int, bytes], list[int]] = {}
        for place, (_, signature) in enumerate(self._texts):
            for band in _bands(signature):
                bucket = buckets.setdefault(band, [])
                if len(bucket) < _MAX_ALIKE:
                    bucket.append(place)
        for row, signature in other._texts:
            candidates = {place for band in _bands(signature) for place in buckets.get(band, ())}
            for place in sorted(candidates):
                mine, known = self._texts[place]
                if float((known == signature).mean()) >= MIN_SIMILARITY:
                    yield mine, row
                    break


def difference_hash(picture: Image.Image) -> int:
    """Return 64 bits that say, for a grey picture of 9 x 8, where it gets brighter from left to right."""
    grey = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def text_signature(text: str) -> Hashes | None:
    """Return the MinHash of a text, uint64 [64]; None if it is shorter than 20 characters."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = _NOT_WORDS.sub(" ", "".join(sign for sign in plain if not unicodedata.combining(sign))).strip()
    if len(plain) < _LEAST_LENGTH:
        return None
    points = np.frombuffer(plain.encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(points, _SHINGLE)
    shingles = np.zeros(len(windows), np.uint64)
    for place in range(_SHINGLE):
        shingles = mixed(shingles ^ windows[:, place])
    shingles = np.unique(shingles)
    # A long text in parts: each needs 64 words for every run.
    parts = [shingles[start : start + _PART] for start in range(0, len(shingles), _PART)]
    lowest = [mixed(part[:, None] ^ _SEEDS).min(axis=0) for part in parts]
    signature: Hashes = np.minimum.reduce(lowest)
    return signature


def _thumbnail(picture: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(picture.convert("L").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX))


def _texts(array: pa.Array) -> list[str]:
    return [value if isinstance(value, str) else "" for value in array.to_pylist()]


def _parts(key: int) -> list[tuple[int, int]]:
    return [(part, key >> 16 * part & 0xFFFF) for part in range(4)]


def _buckets(keys: Hashes) -> dict[tuple[int, int], list[int]]:
    """Return places by each 16 bits of a key; of many equal keys, such as those of blank pictures, a few."""
    buckets: dict[tuple[int, int], list[int]] = {}
    seen: dict[int, int] = {}
    for place, key in enumerate(keys.tolist()):
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= _MAX_ALIKE:
            for part in _parts(key):
                buckets.setdefault(part, []).append(place)
    return buckets


def _bands(signature: Hashes) -> Iterator[tuple[int, bytes]]:
    for number, band in enumerate(signature.reshape(_NUM_BANDS, -1)):
        yield number, band.tobytes()
