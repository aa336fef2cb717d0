"""Trains a small network on a torch Dataset that settings.toml names."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn, optim

from bessemer import Run
from rings.settings import Settings


def train(run: Run, settings: Settings) -> None:
    """Train on the source that settings.toml declares."""
    torch.manual_seed(settings.seed)
    model = run.place(nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2)))
    optimizer = optim.Adam(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(run.source("train"), batch_size=settings.batch_size, shuffle=True)
    for _ in run.epochs(settings.epochs):
        totals = run.totals(correct=0, count=0)
        for points, rings in loader:
            points, rings = points.to(run.device), rings.to(run.device)
            optimizer.zero_grad()
            output = model(points)
            loss = F.cross_entropy(output, rings)
            loss.backward()
            optimizer.step()
            totals.correct += int((output.argmax(dim=1) == rings).sum())
            totals.count += len(rings)
            run.log({"train/loss": loss.detach()})
        run.log({"train/accuracy": totals.correct / totals.count})
