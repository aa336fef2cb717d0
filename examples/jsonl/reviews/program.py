"""Trains a bag of words on texts: the collate function makes a batch of texts of any length."""

from __future__ import annotations

import zlib
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim

from bessemer import Run
from reviews.settings import Settings

NUM_BUCKETS = 1024


def collate(rows: list[dict[str, Any]]) -> tuple[Tensor, Tensor, Tensor]:
    """Join rows: the buckets of all their words, where each row begins, and what it is."""
    words = [[zlib.crc32(word.encode()) % NUM_BUCKETS for word in row["text"].split()] for row in rows]
    starts = torch.tensor([0, *(len(row) for row in words[:-1])]).cumsum(0)
    buckets = torch.tensor([bucket for row in words for bucket in row])
    return buckets, starts, torch.tensor([int(row["good"]) for row in rows])


def train(run: Run, settings: Settings) -> None:
    """Train on the source that settings.toml declares."""
    torch.manual_seed(settings.seed)
    model = run.place(nn.EmbeddingBag(NUM_BUCKETS, 2))
    optimizer = optim.Adam(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(run.source("train"), batch_size=settings.batch_size, shuffle=True, collate_fn=collate)
    for _ in run.epochs(settings.epochs):
        totals = run.totals(correct=0, count=0)
        for buckets, starts, good in loader:
            good = good.to(run.device)
            optimizer.zero_grad()
            output = model(buckets.to(run.device), starts.to(run.device))
            loss = F.cross_entropy(output, good)
            loss.backward()
            optimizer.step()
            totals.correct += int((output.argmax(dim=1) == good).sum())
            totals.count += len(good)
            run.log({"train/loss": loss.detach()})
        run.log({"train/accuracy": totals.correct / totals.count})
