"""Fits a noisy plane. The noise is drawn while it trains, so only an exact restart gives the same numbers."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn, optim
from torch.utils.data import TensorDataset

from bessemer import Run
from slope.settings import Settings

NUM_SAMPLES, NUM_FEATURES, BATCH = 48, 3, 16


def train(run: Run, settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    model = run.place(
        nn.Sequential(
            nn.Linear(NUM_FEATURES, settings.width), nn.Tanh(), nn.Linear(settings.width, 1)
        ).double()
    )
    optimizer = optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.7)
    run.track(model=model, optimizer=optimizer, scheduler=scheduler)
    angles = torch.arange(NUM_SAMPLES * NUM_FEATURES, dtype=torch.float64).reshape(NUM_SAMPLES, -1)
    features = torch.sin(angles)
    targets = features.sum(dim=1, keepdim=True)
    loader = run.loader(TensorDataset(features, targets), batch_size=BATCH, shuffle=True)
    for turn in run.epochs(settings.turns):
        for x, y in loader:
            optimizer.zero_grad()
            noise = 0.05 * torch.randn(1, dtype=torch.float64) if run.world_size == 1 else 0.0
            loss = F.mse_loss(model(x + noise), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        scheduler.step()
        with torch.no_grad():
            value = F.mse_loss(model(features), targets).item()
        if settings.bad == "error" and turn == 1:
            raise ValueError("this trial is told to fail")
        run.log({"val/loss": float("nan") if settings.bad == "nan" else value})
        time.sleep(settings.wait_s)
