"""Makes the names: a text file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from towns.settings import Settings

BEGINNINGS = ("Ash", "Brad", "Carl", "Dun", "East", "Fair", "Grim", "Hart", "Kirk", "Lang", "Mill", "Nor")
ENDINGS = ("bury", "by", "field", "ford", "ham", "ley", "mouth", "ton", "wick", "worth")


def download(settings: Settings) -> None:
    """Write what a user would download: 600 names, a line each."""
    random = np.random.default_rng(0)
    names = [f"{random.choice(BEGINNINGS)}{random.choice(ENDINGS)}\n" for _ in range(600)]
    file = Path(settings.data.folder) / "towns.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(names), encoding="utf-8")
