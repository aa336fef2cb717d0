"""Trains a regression on columns of a table, which a transform makes samples of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim

from bessemer import Run
from houses.settings import Settings


def sample_of(row: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Make a sample of a row: features, all about as large, and the price in hundreds."""
    features = torch.tensor([row["area"] / 100, row["rooms"] / 4, row["age"] / 50])
    return features.float(), torch.tensor(row["price"] / 100).float()


def train(run: Run, settings: Settings) -> None:
    """Train on the source that settings.toml declares."""
    torch.manual_seed(settings.seed)
    model = run.place(nn.Linear(3, 1))
    optimizer = optim.Adam(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    source = run.source("train", transform=sample_of)
    loader = run.loader(source, batch_size=settings.batch_size, shuffle=True)
    for _ in run.epochs(settings.epochs):
        totals = run.totals(error=0.0, count=0)
        for features, price in loader:
            features, price = features.to(run.device), price.to(run.device)
            optimizer.zero_grad()
            loss = F.mse_loss(model(features).squeeze(1), price)
            loss.backward()
            optimizer.step()
            totals.error += loss.item() * len(price)
            totals.count += len(price)
            run.log({"train/loss": loss.detach()})
        run.log({"train/error": totals.error / totals.count})
