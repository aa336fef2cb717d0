"""Makes the tokens: phrases of a small grammar, as a flat file of uint16."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from phrases.settings import Settings

NUM_TOKENS = 64


def download(settings: Settings) -> None:
    """Write what a user would download: 20,000 tokens, each of which has two that may follow it."""
    random = np.random.default_rng(0)
    followers = random.integers(0, NUM_TOKENS, (NUM_TOKENS, 2))
    tokens = [0]
    for choice in random.integers(0, 2, 20_000):
        tokens.append(int(followers[tokens[-1], choice]))
    file = Path(settings.data.folder) / "phrases.bin"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.asarray(tokens, "<u2").tofile(file)
