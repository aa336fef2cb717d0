"""One picture: from the bytes of a file to an array, or to an image of Pillow."""

from __future__ import annotations

import io
import warnings
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from bessemer.errors import DataError

ImageType = Literal["array", "pil"]
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")


def decode_picture(data: bytes, image_type: ImageType, name: str) -> Any:
    """Decode a picture as RGB.

    Args:
        data: of the file.
        image_type: what is returned.
        name: of the file, for messages.

    Returns:
        uint8 [height, width, 3], or a `PIL.Image.Image` of mode RGB.

    Raises:
        DataError: it cannot be decoded; names the file.
    """
    try:
        with warnings.catch_warnings():
            # A damaged note of the camera is no damaged picture.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as opened:
                picture = opened.convert("RGB")
    except Exception as error:  # each decoder of Pillow has errors of its own
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "it is of no kind that is known" if unknown else str(error) or type(error).__name__
        raise DataError(
            f"{name} is no picture that can be read: {reason}",
            expected="a whole file of JPEG, PNG or another kind that Pillow knows",
            todo="replace it, or take it out of the folder",
        ) from error
    return np.array(picture) if image_type == "array" else picture
