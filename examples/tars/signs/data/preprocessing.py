"""Makes the tar files: a picture, its label and a note for each sample."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from signs.settings import Settings

SIZE = 12


def download(settings: Settings) -> None:
    """Write what a user would download: three files of 100 signs, bars that stand, lie or cross."""
    random = np.random.default_rng(0)
    folder = Path(settings.data.folder) / "signs"
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(3):
        with tarfile.open(folder / f"signs-{part:06}.tar", "w") as tar:
            for number in range(100):
                label = int(random.integers(3))
                image = random.integers(0, 100, (SIZE, SIZE, 3), dtype=np.uint8)
                place = random.integers(2, SIZE - 2)
                if label in (0, 2):
                    image[:, place] = 255
                if label in (1, 2):
                    image[place, :] = 255
                picture = io.BytesIO()
                Image.fromarray(image).save(picture, "png")
                name = f"{part:03}-{number:03}"
                _add(tar, f"{name}.png", picture.getvalue())
                _add(tar, f"{name}.cls", str(label).encode())
                _add(tar, f"{name}.json", json.dumps({"part": part}).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
