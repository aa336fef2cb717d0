"""Trains a small convolutional network on prepared scans, and judges it on others."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn, optim

from bessemer import Run
from digitised.settings import Settings


def train(run: Run, settings: Settings) -> None:
    """Train on one split of the prepared data, and count what is right of the other."""
    torch.manual_seed(settings.seed)
    model = run.place(
        nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(8 * 16, 3)
        )
    )
    optimizer = optim.Adam(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(run.source("train"), batch_size=settings.batch_size, shuffle=True)
    test_loader = run.loader(run.source("test"), batch_size=settings.batch_size)
    for _ in run.epochs(settings.epochs):
        model.train()
        for batch in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch["image"].to(run.device)), batch["label"].to(run.device))
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()})
        model.eval()
        totals = run.totals(correct=0, count=0)
        with torch.no_grad():
            for batch in test_loader:
                output = model(batch["image"].to(run.device)).cpu()
                totals.correct += int((output.argmax(dim=1) == batch["label"]).sum())
                totals.count += len(batch["label"])
        run.log({"test/accuracy": totals.correct / totals.count})
