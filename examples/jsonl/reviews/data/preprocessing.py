"""Makes the reviews: one plain file and one that is packed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from reviews.settings import Settings

GOOD = ("wonderful", "kind", "quick", "clean", "lovely")
BAD = ("slow", "rude", "dirty", "cold", "broken")
NEUTRAL = ("the", "room", "was", "food", "and", "very", "staff")


def download(settings: Settings) -> None:
    """Write what a user would download: 600 reviews with a word or two that tell."""
    random = np.random.default_rng(0)
    folder = Path(settings.data.folder) / "reviews"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(600):
        telling = random.choice(GOOD if number % 2 else BAD, size=2).tolist()
        words = random.permutation(telling + random.choice(NEUTRAL, size=6).tolist()).tolist()
        lines.append(json.dumps({"text": " ".join(words), "good": number % 2}) + "\n")
    (folder / "a.jsonl").write_text("".join(lines[:400]), encoding="utf-8")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("".join(lines[400:]).encode(), mtime=0))
