"""Trains a small convolutional network on images, half of them mirrored by chance."""

from __future__ import annotations

import random
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim

from bessemer import Run
from shapes.settings import Settings


def sample_of(row: dict[str, Any]) -> tuple[Tensor, int]:
    """Make a sample of a row: the image as float32 [3, height, width] in [0, 1], and its class."""
    image = torch.from_numpy(row["image"]).permute(2, 0, 1).float() / 255
    return (image.flip(2) if random.random() < 0.5 else image), row["label"]


def train(run: Run, settings: Settings) -> None:
    """Train on the source that settings.toml declares."""
    torch.manual_seed(settings.seed)
    model = run.place(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(8 * 16, 2)
        )
    )
    optimizer = optim.Adam(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    source = run.source("train", transform=sample_of)
    loader = run.loader(source, batch_size=settings.batch_size, shuffle=True)
    for _ in run.epochs(settings.epochs):
        totals = run.totals(correct=0, count=0)
        for images, labels in loader:
            images, labels = images.to(run.device), labels.to(run.device)
            optimizer.zero_grad()
            output = model(images)
            loss = F.cross_entropy(output, labels)
            loss.backward()
            optimizer.step()
            totals.correct += int((output.argmax(dim=1) == labels).sum())
            totals.count += len(labels)
            run.log({"train/loss": loss.detach()})
        run.log({"train/accuracy": totals.correct / totals.count})
