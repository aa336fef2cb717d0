"""Everything under the guard; one function reads the options as a global."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train(model, loader, optimizer):
    for step, (x, y) in enumerate(loader, start=1):
        loss = nn.functional.smooth_l1_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % args.log_every == 0:
            print(f"{step}/{len(loader)} loss={loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A guard with a body")
    parser.add_argument("--log-every", type=int, default=2, help="steps between lines")
    parser.add_argument("--epochs", type=int, default=2, help="passes")
    args = parser.parse_args()

    x = torch.randn(64, 2)
    loader = DataLoader(TensorDataset(x, x[:, :1]), batch_size=8)
    model = nn.Linear(2, 1)
    if torch.cuda.is_available():
        model = model.cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(args.epochs):
        train(model, loader, optimizer)
