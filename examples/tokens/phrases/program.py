"""Trains a language model: a sample is `input` and `target`, the same tokens shifted by one."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn, optim

from bessemer import Run
from phrases.data.preprocessing import NUM_TOKENS
from phrases.settings import Settings


def train(run: Run, settings: Settings) -> None:
    """Train on the source that settings.toml declares."""
    torch.manual_seed(settings.seed)
    model = run.place(nn.Sequential(nn.Embedding(NUM_TOKENS, 32), nn.Tanh(), nn.Linear(32, NUM_TOKENS)))
    optimizer = optim.Adam(model.parameters(), lr=settings.lr)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(run.source("train"), batch_size=settings.batch_size, shuffle=True)
    for _ in run.epochs(settings.epochs):
        for batch in loader:
            tokens, following = batch["input"].to(run.device), batch["target"].to(run.device)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(tokens).flatten(0, 1), following.flatten())
            loss.backward()
            optimizer.step()
            run.log({"train/loss": loss.detach()})
