"""Trains a generator and a discriminator in turn, as the tutorials do.

Both models draw on torch's random generator while they train, so a restart that does not put every
generator back gives other numbers.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim
from torch.utils.data import Dataset

from bessemer import Run
from gan.settings import Settings


class Ring(Dataset[Tensor]):
    """Points on a ring, each a little off it: made from the index alone."""

    def __init__(self, num_points: int) -> None:
        self.num_points = num_points

    def __len__(self) -> int:
        return self.num_points

    def __getitem__(self, index: int) -> Tensor:
        angle = 2 * math.pi * ((index * 0.618033988749895) % 1.0)
        radius = 2.0 + 0.1 * math.sin(7.0 * index)
        return torch.tensor([radius * math.cos(angle), radius * math.sin(angle)])


def network(num_in: int, width: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(num_in, width), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(width, num_out)
    )


def train(run: Run, settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    generator = run.place(network(settings.num_noise, settings.width, 2))
    discriminator = run.place(network(2, settings.width, 1))
    optimizer_g = optim.Adam(generator.parameters(), lr=settings.lr, betas=(0.5, 0.999))
    optimizer_d = optim.Adam(discriminator.parameters(), lr=settings.lr, betas=(0.5, 0.999))
    run.track(
        generator=generator,
        discriminator=discriminator,
        optimizer_g=optimizer_g,
        optimizer_d=optimizer_d,
    )
    loader = run.loader(Ring(settings.num_points), batch_size=settings.batch_size, shuffle=True)
    best = run.carry(loss_d=math.inf, epoch=0)
    for epoch in run.epochs(settings.epochs):
        sums = run.totals(loss_d=0.0, num_points=0)
        for real in loader:
            real = real.to(run.device)
            fake = generator(torch.randn(len(real), settings.num_noise, device=run.device))

            optimizer_d.zero_grad()
            on_real, on_fake = discriminator(real), discriminator(fake.detach())
            loss_d = F.binary_cross_entropy_with_logits(on_real, torch.ones_like(on_real))
            loss_d = loss_d + F.binary_cross_entropy_with_logits(on_fake, torch.zeros_like(on_fake))
            loss_d.backward()  # type: ignore[no-untyped-call]
            optimizer_d.step()

            optimizer_g.zero_grad()
            on_fake = discriminator(fake)
            loss_g = F.binary_cross_entropy_with_logits(on_fake, torch.ones_like(on_fake))
            loss_g.backward()  # type: ignore[no-untyped-call]
            optimizer_g.step()

            sums.loss_d += loss_d.item() * len(real)
            sums.num_points += len(real)
            run.log({"train/loss_d": loss_d.detach(), "train/loss_g": loss_g.detach()})
        mean = sums.loss_d / sums.num_points
        if mean < best.loss_d:
            best.loss_d, best.epoch = mean, epoch
        run.log({"best/loss_d": best.loss_d, "best/epoch": best.epoch})
