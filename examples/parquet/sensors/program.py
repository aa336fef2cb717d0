"""Trains a small network on rows: a batch is a dictionary of tensors, one for each column."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn, optim

from bessemer import Run
from sensors.settings import Settings


def train(run: Run, settings: Settings) -> None:
    """Train on the source that settings.toml declares."""
    torch.manual_seed(settings.seed)
    model = run.place(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2)))
    optimizer = optim.Adam(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(run.source("train"), batch_size=settings.batch_size, shuffle=True)
    for _ in run.epochs(settings.epochs):
        totals = run.totals(correct=0, count=0)
        for batch in loader:
            readings, faulty = batch["readings"].to(run.device), batch["faulty"].to(run.device)
            optimizer.zero_grad()
            output = model(readings)
            loss = F.cross_entropy(output, faulty)
            loss.backward()
            optimizer.step()
            totals.correct += int((output.argmax(dim=1) == faulty).sum())
            totals.count += len(faulty)
            run.log({"train/loss": loss.detach()})
        run.log({"train/accuracy": totals.correct / totals.count})
