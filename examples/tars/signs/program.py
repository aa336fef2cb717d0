"""Trains a small convolutional network on the pictures of tar files, fields `png` and `cls`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim

from bessemer import Run
from signs.settings import Settings


def sample_of(row: dict[str, Any]) -> tuple[Tensor, int]:
    """Make a sample of a row: the picture as float32 [3, height, width] in [0, 1], and its label."""
    return torch.from_numpy(row["png"]).permute(2, 0, 1).float() / 255, row["cls"]


def train(run: Run, settings: Settings) -> None:
    """Train on the source that settings.toml declares."""
    torch.manual_seed(settings.seed)
    model = run.place(
        nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(8 * 2 * 2, 3))
    )
    optimizer = optim.Adam(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    source = run.source("train", transform=sample_of)
    loader = run.loader(source, batch_size=settings.batch_size, shuffle=True)
    for _ in run.epochs(settings.epochs):
        totals = run.totals(correct=0, count=0)
        for pictures, labels in loader:
            pictures, labels = pictures.to(run.device), labels.to(run.device)
            optimizer.zero_grad()
            output = model(pictures)
            loss = F.cross_entropy(output, labels)
            loss.backward()
            optimizer.step()
            totals.correct += int((output.argmax(dim=1) == labels).sum())
            totals.count += len(labels)
            run.log({"train/loss": loss.detach()})
        run.log({"train/accuracy": totals.correct / totals.count})
