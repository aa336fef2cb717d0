"""Makes the images: a folder for each shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from shapes.settings import Settings

SIZE = 16


def download(settings: Settings) -> None:
    """Write what a user would download: 150 rings and 150 squares on noise."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for number in range(300):
        shape = ("ring", "square")[number % 2]
        row, column, radius = random.integers(5, 11), random.integers(5, 11), random.integers(3, 6)
        distances = np.stack([abs(rows - row), abs(columns - column)])
        inside = abs(np.hypot(*distances) - radius) < 1 if shape == "ring" else distances.max(axis=0) < radius
        image = random.integers(0, 80, (SIZE, SIZE, 3), dtype=np.uint8)
        image[inside] += np.uint8(150)
        file = Path(settings.data.folder) / "shapes" / shape / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
