"""Trains a recurrent network that spells: each letter of a line from those before it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim

from bessemer import Run
from towns.settings import Settings

LENGTH, END = 16, 0


def letters_of(row: dict[str, Any]) -> Tensor:
    """Make a sample of a row: codes of its letters, int64 [LENGTH], filled up with END."""
    codes = [ord(letter) % 128 for letter in row["text"][: LENGTH - 1]]
    return torch.tensor(codes + [END] * (LENGTH - len(codes)))


class Speller(nn.Module):
    """Tells the next letter at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, 16)
        self.recurrent = nn.GRU(16, 32, batch_first=True)
        self.output = nn.Linear(32, 128)

    def forward(self, letters: Tensor) -> Tensor:
        """Return logits, [batch, places, 128], of letters, int64 [batch, places]."""
        found: Tensor = self.output(self.recurrent(self.embedding(letters))[0])
        return found


def train(run: Run, settings: Settings) -> None:
    """Train on the source that settings.toml declares."""
    torch.manual_seed(settings.seed)
    model = run.place(Speller())
    optimizer = optim.Adam(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    source = run.source("train", transform=letters_of)
    loader = run.loader(source, batch_size=settings.batch_size, shuffle=True)
    for _ in run.epochs(settings.epochs):
        for letters in loader:
            letters = letters.to(run.device)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(letters[:, :-1]).flatten(0, 1), letters[:, 1:].flatten())
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()})
