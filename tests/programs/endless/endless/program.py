"""Trains step by step, with an iterator that is begun anew whenever it is used up.

Everything is float64 and nothing draws random numbers while it trains, so the trajectory is the same
at any number of workers, up to rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim
from torch.utils.data import Dataset

from bessemer import Run
from endless.settings import Settings

NUM_FEATURES = 6


class Waves(Dataset[tuple[Tensor, Tensor]]):
    """A smooth function of a few numbers, all made from the index alone."""

    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        frequencies = torch.arange(1, NUM_FEATURES + 1, dtype=torch.float64)
        features = torch.sin(frequencies * (index + 1))
        return features, (features[0] * features[1] + torch.cos(features[2:]).sum()).unsqueeze(0)


def train(run: Run, settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    model = run.place(
        nn.Sequential(
            nn.Linear(NUM_FEATURES, settings.width), nn.Tanh(), nn.Linear(settings.width, 1)
        ).double()
    )
    optimizer = optim.SGD(model.parameters(), lr=settings.lr, momentum=0.9)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Waves(settings.num_samples), batch_size=settings.batch_size, shuffle=True)
    kept = run.carry(smooth=0.0, rounds=0)
    it = iter(loader)
    for step in run.steps(settings.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * min(1.0, (step + 1) / settings.warm_up)
        try:
            features, target = next(it)
        except StopIteration:
            kept.rounds += 1
            it = iter(loader)
            features, target = next(it)
        optimizer.zero_grad()
        loss = F.mse_loss(model(features.to(run.device)), target.to(run.device))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        kept.smooth = 0.9 * kept.smooth + 0.1 * float(optimizer.param_groups[0]["lr"])
        run.log({"train/loss": loss.detach(), "train/smooth_lr": kept.smooth, "rounds": kept.rounds})
