"""Makes the scans, and prepares them: a scan in colour becomes a small grey square around its sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from digitised.settings import Settings

SIGNS = ("cross", "plus", "ring")
SCAN, SIDE = 48, 16


def download(settings: Settings) -> None:
    """Write what a user would download: 360 scans of three signs, dark on bright paper."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SCAN, :SCAN]
    for number in range(360):
        sign = SIGNS[number % 3]
        row, column, radius = random.integers(14, 34), random.integers(14, 34), random.integers(8, 12)
        down, right = rows - row, columns - column
        inside = np.maximum(abs(down), abs(right)) < radius
        ink = {
            "cross": inside & (abs(abs(down) - abs(right)) < 2),
            "plus": inside & (np.minimum(abs(down), abs(right)) < 2),
            "ring": abs(np.hypot(down, right) - radius + 2) < 2,
        }[sign]
        scan = random.integers(190, 256, (SCAN, SCAN, 3), dtype=np.uint8)
        scan[ink] = random.integers(0, 90, (int(ink.sum()), 3), dtype=np.uint8)
        file = Path(settings.data.folder) / "scans" / sign / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scan).save(file)


def prepare(row: dict[str, Any]) -> dict[str, Any] | None:
    """Cut out the sign and make it small; scans without ink are dropped.

    Returns:
        `image`, float32 [1, 16, 16] in [0, 1], ink is bright; `label` and `path` as they were.
    """
    grey = np.asarray(Image.fromarray(row["image"]).convert("L"))
    rows, columns = np.nonzero(grey < 128)
    if not len(rows):
        return None
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    small = Image.fromarray(255 - grey).crop(box).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    image = torch.from_numpy(np.asarray(small).copy()).unsqueeze(0).float() / 255
    return {"image": image, "label": row["label"], "path": row["path"]}
