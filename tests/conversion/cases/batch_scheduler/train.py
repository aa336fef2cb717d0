"""A schedule that moves with every batch, gradients that are clipped, a bar that shows progress."""

from argparse import ArgumentParser

import torch
import torch.nn as nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm


def get_options():
    parser = ArgumentParser(description="A cycle of learning rates")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--betas", type=float, nargs="+", default=[0.9, 0.99], help="of AdamW")
    parser.add_argument("--norm", choices=["l1", "l2"], default="l2", help="which norm")
    return parser.parse_args()


def make_net():
    return nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 1))


def fit(net, loader, optimizer, schedule, epochs):
    loss_of = nn.MSELoss()
    for epoch in tqdm(range(epochs), desc="epochs"):
        for x, y in tqdm(loader):
            loss = loss_of(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch} of {epochs}, rate {schedule.get_last_lr()[0]:.5f}")


def main():
    options = get_options()
    x = torch.randn(96, 3)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 16, shuffle=True)
    net = make_net()
    optimizer = AdamW(net.parameters(), lr=1e-3, betas=options.betas)
    schedule = OneCycleLR(optimizer, 1e-2, epochs=options.epochs, steps_per_epoch=len(loader))
    fit(net, loader, optimizer, schedule, options.epochs)


main()
