"""Folders of images as a source: `{"image": ..., "label": ..., "path": ...}`.

Each folder below the root is a class; classes are numbered in the order of their names. Images that lie
in the root itself have no label. Every image is a file of its own, which can be read whenever it is
asked for, so a pass is always a full shuffle and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bessemer.data.sources.base import Row, Source
from bessemer.data.sources.files import find_files, fingerprint_of
from bessemer.data.sources.pictures import SUFFIXES, ImageType, decode_picture
from bessemer.errors import UserError


class ImagesSource(Source):
    """Images of a folder, sorted by path.

    Args:
        path: a folder with a folder of images for each class, or with images.
        image_type: what `image` is: an array, uint8 [height, width, 3], or an image of Pillow.

    Attributes:
        classes: names of the classes, by label; none if the images lie in the root itself.

    Raises:
        UserError: there is no image, or some have a class and some do not.
    """

    def __init__(self, path: str, image_type: ImageType = "array") -> None:
        self._files = tuple(file for file in find_files(path, SUFFIXES) if _is_image(file.name))
        self._image_type = image_type
        if not self._files:
            raise UserError(f"no image matches {path}", expected=f"files of {', '.join(SUFFIXES)}")
        folders = {file.name.partition("/")[0] for file in self._files if "/" in file.name}
        loose = next((file for file in self._files if "/" not in file.name), None)
        if folders and loose is not None:
            raise UserError(
                f"{loose.path} lies beside folders of classes ({', '.join(sorted(folders)[:3])})",
                expected="a folder for each class, or images alone",
                todo="move it into the folder of its class",
            )
        self.classes: tuple[str, ...] = tuple(sorted(folders))
        self._labels = {name: label for label, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return self._sample(self.read_group(index % len(self))[0])

    def gather(self, indices: Sequence[int]) -> None:
        """Return nothing: images lie in files of their own."""

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """One for each image."""
        return (1,) * len(self._files)

    @property
    def group_bytes(self) -> int:
        """Size of the largest file (bytes); nothing is kept of it."""
        return max(1, max(file.num_bytes for file in self._files))

    @property
    def window_rows(self) -> int:
        """All images (count): a pass is a full shuffle."""
        return len(self)

    def fingerprint(self) -> str:
        """Hash names, sizes and tags of the files."""
        return fingerprint_of(self._files, self._image_type)

    def read_group(self, number: int) -> Sequence[Row]:
        """Read one image."""
        file = self._files[number]
        row: Row = {"image": decode_picture(file.read(), self._image_type, file.path)}
        if self.classes:
            row["label"] = self._labels[file.name.partition("/")[0]]
        row["path"] = file.name
        return [row]


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)
